"""MiniCPM-V 4.6 against transformers."""

from dataclasses import replace

import numpy as np
import pytest
from transformers import MiniCPMV4_6Config, MiniCPMV4_6ForConditionalGeneration
from transformers.models.minicpmv4_6.image_processing_pil_minicpmv4_6 import MiniCPMV4_6ImageProcessorPil
from transformers.models.minicpmv4_6.processing_minicpmv4_6 import MiniCPMV4_6Processor
from transformers.models.minicpmv4_6.video_processing_minicpmv4_6 import MiniCPMV4_6VideoProcessor
from transformers.video_utils import VideoMetadata

from engine.models.clips.plan import ClipFacts
from engine.models.processors.sliced import frames_by_second
from engine.models.recipes.slices import SliceRecipe
from tests.reference import tiny
from tests.reference.clip_parity import ClipParity
from tests.reference.parity import Case, VisionParity
from tests.reference.running import RunnerParity
from tests.reference.spelling import Spelling

WORDS = {
    "image": "<|image_pad|>",
    "video": "<|video_pad|>",
    "image_start": "<image>",
    "image_end": "</image>",
    "slice_start": "<slice>",
    "slice_end": "</slice>",
    "image_id_start": "<image_id>",
    "image_id_end": "</image_id>",
}

TEXT = {key: value for key, value in tiny.TEXT.items() if key not in ("model_type", "head_dim")} | {
    "head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 777.0,
        "partial_rotary_factor": 0.75,
        "mrope_section": [2, 2, 2],
    },
    "linear_key_head_dim": 18,
    "linear_value_head_dim": 22,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}

VISION = tiny.VISION | {"patch_size": 4, "image_size": 20}

PICTURE = {"patch_size": 4, "scale_resolution": 40, "max_slice_nums": 4}


def converted(state):
    """What mlx-community makes of the decoder's norms and convolutions, and of kernels."""
    changed = {}
    for name, tensor in state.items():
        if "language_model" in name and name.endswith(
            ("layernorm.weight", "_norm.weight", "language_model.norm.weight")
        ):
            tensor = tensor + 1
        changed[name] = tensor.movedim(2, 1) if name.endswith("conv1d.weight") else tensor
    return changed


SPELLINGS = (
    Spelling("transformers-4", (), old_config=True),
    Spelling(
        "mlx-community",
        (
            ("model.language_model.", "language_model.model."),
            ("lm_head.", "language_model.lm_head."),
            ("model.vision_tower.vit_merger.", "vit_merger."),
            ("model.", ""),
        ),
        old_config=True,
        mlx_layout=True,
        rework=converted,
    ),
)


def minicpmv(text_config=None, vision_config=None, **changes):
    def build(tokenizer):
        tokens = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(WORDS[name]) for name in ("image", "video")}
        return MiniCPMV4_6ForConditionalGeneration(
            MiniCPMV4_6Config(
                text_config=TEXT | {"vocab_size": len(tokenizer)} | (text_config or {}),
                vision_config=VISION | (vision_config or {}),
                **{"insert_layer_id": 1} | tokens | changes,
            )
        )

    return build


def processor(**changes):
    def build(tokenizer):
        tokenizer.pad_token = "<|endoftext|>"
        for name, word in WORDS.items():
            setattr(tokenizer, f"{name}_token", word)
            setattr(tokenizer, f"{name}_token_id", tokenizer.convert_tokens_to_ids(word))
        pictures = MiniCPMV4_6ImageProcessorPil(**PICTURE | changes)
        clips = MiniCPMV4_6VideoProcessor(**PICTURE | {"max_num_frames": 6} | changes)
        return MiniCPMV4_6Processor(pictures, clips, tokenizer)

    return build


BASE = Case(
    "minicpmv4_6",
    minicpmv(),
    (*WORDS.values(), "<|endoftext|>"),
    processor(),
    SPELLINGS,
    one="User:<|image_pad|>\nWhat is it?\nAssistant:",
    two="User:<|image_pad|>\nAnd <|image_pad|>\nthis?\nAssistant:",
)


def patches(packed):
    """The reference keeps them side by side, as one long picture."""
    channels, side, _ = packed[0].shape
    return packed[0].numpy().reshape(channels, side, -1, side).transpose(2, 1, 3, 0)


class SliceParity(VisionParity, ClipParity):
    clip = "User:<|video_pad|>\nWhat happens?\nAssistant:"
    both = "User:<|image_pad|>\nThen <|video_pad|>\nand <|image_pad|>\nthis?\nAssistant:"
    # A clip is looked at a picture at a time in any case.
    test_a_clip_in_pieces = None

    def pixels_of(self, inputs):
        return patches(inputs["pixel_values"])

    def clip_pixels_of(self, inputs):
        return patches(inputs["pixel_values_videos"])


class TestSlices(SliceParity, RunnerParity):
    case = BASE


class TestMoreFeatures(SliceParity):
    """Nothing is merged in the tower; pictures have no numbers; the head is tied."""

    case = replace(
        BASE,
        name="minicpmv4_6, 4x",
        model=minicpmv(
            {"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 8},
            {"hidden_act": "gelu"},
            tie_word_embeddings=True,
            downsample_mode="4x",
        ),
        processor=processor(downsample_mode="4x", use_image_id=False),
        spellings=(),
    )


class TestWholePictures(SliceParity):
    case = replace(
        BASE,
        name="minicpmv4_6, no slices",
        model=minicpmv(insert_layer_id=0),
        processor=processor(slice_mode=False),
        spellings=(),
    )


def test_sizes_and_grids_are_those_of_the_reference():
    """Of many shapes, at the sizes that published checkpoints ask for."""
    recipe, reference = SliceRecipe.read({}), MiniCPMV4_6ImageProcessorPil()
    rng = np.random.default_rng(1)
    for size in [*rng.integers(1, 200, (300, 2)), *rng.integers(200, 3000, (500, 2)), np.array((1000, 1000))]:
        size = tuple(size.tolist())
        grid = reference.get_sliced_grid(size, 9, 448)
        assert recipe.grid(size) == (grid and tuple(grid))
        for grow in (False, True):
            assert recipe.whole_size(size, grow=grow) == reference.find_best_resize(size, 448, 14, "16x", grow)
        if grid:
            rows, columns = grid
            height, width = recipe.slice_size(size, (rows, columns))
            theirs = reference.get_refine_size(size, grid, 448, 14, "16x", allow_upscale=True)
            assert (rows * height, columns * width) == theirs


@pytest.mark.parametrize("fps", [12.0, 23.976, 25.0, 29.97, 30.0, 60.0])
def test_frames_are_those_of_the_reference(fps):
    """Of short clips, of some just as long as there are frames, and of longer ones."""
    reference = MiniCPMV4_6VideoProcessor()
    for count in (1, 7, 30, 61, 300, int(128 * fps), int(128 * fps) + 1, 9000):
        metadata = VideoMetadata(total_num_frames=count, fps=fps, duration=count / fps)
        facts = ClipFacts(np.arange(count) / fps, (40, 60), count / fps)
        assert frames_by_second(facts, 1.0, 128) == [int(index) for index in reference.sample_frames(metadata)]


def test_frames_that_somebody_asks_for():
    facts = ClipFacts(np.arange(300) / 30, (40, 60), 10.0)
    assert frames_by_second(facts, 0.5, 128) == [0, 60, 120, 180, 240]
    assert frames_by_second(facts, 4.0, 3) == [0, 147, 297]
