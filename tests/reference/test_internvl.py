"""InternVL in transformers' form, with pictures and clips, against transformers."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from transformers import InternVLConfig, InternVLForConditionalGeneration
from transformers.image_utils import OPENAI_CLIP_STD
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.internvl.processing_internvl import InternVLProcessor
from transformers.models.internvl.video_processing_internvl import InternVLVideoProcessor

from engine.loading.config import normalise, read_config
from engine.models.clips.frame_sampling import MiddleOfSteps
from engine.models.clips.plan import ClipWish
from engine.models.families.internvl import FAMILY
from tests.reference import tiny
from tests.reference.clip_parity import ClipParity
from tests.reference.clips import drawn_clip, facts_of
from tests.reference.ours import Ours
from tests.reference.parity import TOLERANCE, Case, Pair, VisionParity, difference
from tests.reference.spelling import Spelling, kernels_last

BEFORE = (
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", ""),
)

SPELLINGS = (
    Spelling("transformers-4", BEFORE, old_config=True),
    Spelling("mlx-community", BEFORE, old_config=True, rework=kernels_last),
)

SPECIALS = ("<img>", "</img>", "<IMG_CONTEXT>", "<video>")

SIZE = {"height": 32, "width": 32}

VISION = tiny.VISION | {"image_size": [32, 32], "patch_size": [8, 8]}


def internvl(text_config=None, vision_config=None, **changes):
    def build(tokenizer):
        return InternVLForConditionalGeneration(
            InternVLConfig(
                text_config=tiny.TEXT | {"model_type": "qwen2", "vocab_size": len(tokenizer)} | (text_config or {}),
                vision_config=VISION | (vision_config or {}),
                image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
                **{"tie_word_embeddings": False} | changes,
            )
        )

    return build


def processor(features=4, **changes):
    pictures = GotOcr2ImageProcessorPil(**{"size": SIZE, "image_mean": [0.4, 0.5, 0.6]} | changes)

    clips = InternVLVideoProcessor(
        size=SIZE, num_frames=4, resample=2, image_std=[0.3, 0.2, 0.4], do_sample_frames=True
    )

    def build(tokenizer):
        names = ("start_image_token", "end_image_token", "context_image_token", "video_token")
        for name, token in zip(names, SPECIALS, strict=True):
            setattr(tokenizer, name, token)
            setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
        return InternVLProcessor(pictures, tokenizer, clips, features)

    return build


BASE = Case(
    "internvl",
    internvl({"num_key_value_heads": 1}),
    SPECIALS,
    processor(),
    SPELLINGS,
    one="User:<IMG_CONTEXT>\nWhat is it?\nAssistant:",
    two="User:<IMG_CONTEXT>\nAnd <IMG_CONTEXT>\nthis?\nAssistant:",
)


class TestInternVL(ClipParity, VisionParity):
    case = BASE
    clip = "User:<video>\nWhat is happening?\nAssistant:"
    both = "User:<IMG_CONTEXT>\nAnd <video>\nand <IMG_CONTEXT>\nthen?\nAssistant:"
    test_a_clip_in_pieces = None

    def clip_pixels_of(self, inputs):
        return inputs["pixel_values"].numpy()


class TestLargerTower(VisionParity):
    """Another norm, normalised queries, no biases; an earlier layer's features; Qwen3, tied; at least two tiles."""

    case = replace(
        BASE,
        name="internvl: larger tower, qwen3",
        model=internvl(
            {"model_type": "qwen3", "num_key_value_heads": 4, "head_dim": 16},
            {"norm_type": "rms_norm", "use_qk_norm": True, "use_mask_token": True, "num_attention_heads": 3},
            vision_feature_layer=-2,
            tie_word_embeddings=True,
        ),
        processor=processor(max_patches=5, min_patches=2),
    )


class TestExperts(VisionParity):
    """A norm behind the tower, biases, sixteen patches a feature, and no tiles."""

    case = replace(
        BASE,
        name="internvl: biases, qwen3_moe",
        model=internvl(
            {"model_type": "qwen3_moe", "moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2},
            {"attention_bias": True, "use_mean_pooling": False, "hidden_act": "gelu_new"},
            downsample_ratio=0.25,
        ),
        processor=processor(1, max_patches=1),
    )
    test_a_picture_in_every_spelling = None


class TestFramesOfClips:
    """Those in the middle of even stretches."""

    @pytest.mark.parametrize("number", [1, 3, 8, 13, 32])
    def test_the_frames_of_clips_of_many_lengths(self, number):
        theirs, ours = InternVLVideoProcessor(num_frames=number), MiddleOfSteps.read({"num_frames": number}, group=1)
        for count in [*range(number, 300), 1799, 5400, 86399]:
            facts = facts_of(np.broadcast_to(np.uint8(0), (count, 1, 1, 3)), 29.97)
            indices = theirs.sample_frames(type("Metadata", (), {"total_num_frames": count})())
            assert ours(facts, ClipWish()) == indices.tolist()

    def test_a_wish_is_heard(self):
        choose, facts = MiddleOfSteps.read({"num_frames": 8}, group=1), facts_of(drawn_clip(60, (2, 4)), 10.0)
        assert choose(facts, ClipWish(fps=0.5, max_frames=3)) == [10, 30, 50]
        assert choose(facts, ClipWish(max_frames=2)) == [15, 45]


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000), (1, 1)])
def test_hairlines_and_dots_are_tiled_as_by_the_reference(tmp_path, size):
    pair = Pair(BASE, tmp_path)
    pictures = [Image.new("RGB", size, "red")]
    assert difference(pair.ours.logits(BASE.one, pictures), pair.logits(BASE.one, pictures)) < TOLERANCE


def test_without_preprocessor_files_tiles_are_the_towers(tmp_path):
    pair = Pair(BASE, tmp_path)
    for name in ("preprocessor_config.json", "processor_config.json"):
        (pair.folder / name).unlink(missing_ok=True)
    _, (media,) = Ours(pair.folder).prompt(BASE.one, [tiny.picture("landscape")])
    assert media.arrays["pixel_values"].shape == (3, 3, 32, 32)


def test_without_a_file_of_their_own_clips_are_scaled_as_pictures_are(tmp_path):
    folder = Pair(BASE, tmp_path).folder
    clips = FAMILY.clips(folder, normalise(read_config(folder)), Ours(folder).tokenizer)
    facts = facts_of(drawn_clip(60, (2, 4)), 10.0)
    plan = clips.plan(facts, ClipWish())
    media = clips.prepare(np.zeros((1, 32, 32, 3), np.uint8), facts, plan, "")
    assert (len(plan.indices), plan.size) == (8, (32, 32))
    assert media.arrays["pixel_values"][0, 0, 0, 0] == pytest.approx(-0.4 / OPENAI_CLIP_STD[0])
