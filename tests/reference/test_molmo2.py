"""Molmo 2, with both of its decoders, with pictures and clips, against transformers."""

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate
from transformers import Molmo2Config, Molmo2ForConditionalGeneration
from transformers.models.molmo2.image_processing_molmo2 import Molmo2ImageProcessor, arange_for_pooling, select_tiling
from transformers.models.molmo2.processing_molmo2 import Molmo2Processor
from transformers.models.molmo2.video_processing_molmo2 import Molmo2VideoProcessor
from transformers.video_utils import VideoMetadata

from engine.api.errors import CheckpointError
from engine.models.clips.plan import ClipWish
from engine.models.media.torch_sample import torch_sample
from engine.models.processors.cropped import SquareClipProcessor, Words
from engine.models.recipes.overlapping_crops import CropRecipe, WholeRecipe, best_tiling, pooled
from tests.reference import tiny
from tests.reference.clip_parity import CLIPS, ClipParity
from tests.reference.clips import facts_of
from tests.reference.ours import Ours
from tests.reference.parity import Case, Pair, VisionParity
from tests.reference.running import RunnerParity
from tests.reference.spelling import Spelling
from tests.reference.test_pictures import SIZES, drawn

SEEN = {
    "image_start_token_id": "<im_start>",
    "image_end_token_id": "<im_end>",
    "image_patch_id": "<im_patch>",
    "image_col_id": "<im_col>",
    "low_res_image_start_token_id": "<low_res_im_start>",
    "image_low_res_id": "<im_low>",
    "frame_start_token_id": "<frame_start>",
    "frame_end_token_id": "<frame_end>",
}
BOS, PICTURE, CLIP = "<bos>", "<|image|>", "<|video|>"
SPECIALS = (BOS, *SEEN.values(), PICTURE, CLIP)

SIDE = {"height": 72, "width": 72}
"""PyTorch resizes to smaller squares by another kernel, which rounds some halves otherwise."""


@contextmanager
def two_threads():
    """With one, PyTorch always takes that other kernel."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ThreadedProcessor(Molmo2Processor):
    def __call__(self, *args, **kwargs):
        with two_threads():
            return super().__call__(*args, **kwargs)


VISION = tiny.VISION | {
    "num_key_value_heads": 4,
    "head_dim": 9,
    "image_size": [72, 72],
    "patch_size": 12,
    "hidden_act": "gelu_pytorch_tanh",
}
ADAPTER = {
    "hidden_size": 36,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "intermediate_size": 40,
    "text_hidden_size": 48,
    "vision_feature_layer": [2, 0],
}
TEXT = {key: value for key, value in tiny.TEXT.items() if key != "model_type"} | {
    "additional_vocab_size": len(SPECIALS)
}


def parted(state):
    """Under the names of before transformers 5, but for their beginnings."""
    names = {
        "q_proj": "att_proj",
        "up_proj": "ff_proj",
        ".o_proj": ".attn_out",
        "down_proj": "ff_out",
        "post_attention_layernorm": "ff_norm",
        "input_layernorm": "attn_norm",
        ".layers.": ".blocks.",
        "language_model.norm": "language_model.ln_f",
    }
    vision = {"self_attn.": "attention.w", "layer_norm1": "attention_norm", "layer_norm2": "ffn_norm"}
    vision |= {"mlp.fc": "feed_forward.w", "_proj": "", "tower.layers.": "tower.transformer.resblocks."}
    projector = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3", "_2d.": "_2d.w", "_proj.": "."}
    found = {}
    for name, tensor in state.items():
        if "self_attn.q_proj" in name and "language_model" in name:
            others = [state[name.replace("q_proj", f"{kind}_proj")] for kind in "kv"]
            tensor = torch.cat([tensor, *others])
        elif "mlp.up_proj" in name:
            tensor = torch.cat([tensor, state[name.replace("up_proj", "gate_proj")]])
        elif "language_model" in name and any(part in name for part in ("k_proj", "v_proj", "gate_proj")):
            continue
        elif name.endswith("embed_tokens.weight"):
            start = name.removesuffix("embed_tokens.weight")
            found[f"{start}wte.embedding"] = tensor[: -len(SPECIALS)]
            name, tensor = f"{start}wte.new_embedding", tensor[-len(SPECIALS) :]
        kinds = names if "language_model" in name else vision if "vision_tower" in name else projector
        for old, new in kinds.items():
            name = name.replace(old, new)
        found[name] = tensor
    return found


def without_resblocks(state):
    return {name.replace("resblocks.", ""): tensor for name, tensor in parted(state).items()}


def reworded(config):
    vision, adapter, text = config.pop("vision_config"), config["adapter_config"], config["text_config"]
    # The published files count two layers whose weights they do not have.
    vision["num_hidden_layers"] += 2
    adapter["vit_layers"] = [layer % 3 - 5 for layer in adapter.pop("vision_feature_layer")]
    text["qkv_bias"], text["layer_norm_eps"] = text.pop("attention_bias"), text.pop("rms_norm_eps")
    sizes = {"image_default_input_size": "image_size", "image_patch_size": "patch_size"}
    vision = {new: vision.pop(old) for new, old in sizes.items()} | vision
    vision["image_num_pos"] = vision.pop("num_position_embeddings")
    vision["model_type"] = adapter["model_type"] = "molmo2"
    return config | {"vit_config": vision}


SPELLINGS = (
    Spelling("transformers-5", ()),
    Spelling(
        "transformers-4",
        (
            ("model.language_model.", "model.transformer."),
            ("model.vision_tower.", "model.vision_backbone.image_vit."),
            ("model.multi_modal_projector.", "model.vision_backbone."),
        ),
        old_config=True,
        rework=parted,
        reword=reworded,
    ),
    Spelling(
        "mlx-community",
        (
            ("model.language_model.", "language_model.model."),
            ("model.vision_tower.", "vision_tower.image_vit."),
            ("model.multi_modal_projector.", "vision_tower."),
            ("lm_head.", "language_model.lm_head."),
        ),
        old_config=True,
        rework=without_resblocks,
        reword=reworded,
    ),
)


def molmo2(text=None, adapter=None, **changes):
    def build(tokenizer):
        tokens = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SEEN.items()}
        return Molmo2ForConditionalGeneration(
            Molmo2Config(
                text_config=TEXT | {"vocab_size": len(tokenizer) - len(SPECIALS)} | (text or {}),
                vision_config=VISION,
                adapter_config=ADAPTER | (adapter or {}),
                **tokens | changes,
            )
        )

    return build


def processor(words=None, **settings):
    pictures = {"size": SIDE, "patch_size": 12, "max_crops": 4, "overlap_margins": [1, 2]} | settings
    clips = Molmo2VideoProcessor(size=SIDE, patch_size=12, num_frames=5, do_rescale=True, do_normalize=True)

    def build(tokenizer):
        tokenizer.bos_token = BOS
        return ThreadedProcessor(Molmo2ImageProcessor(**pictures), clips, tokenizer, **(words or {}))

    return build


BASE = Case(
    "molmo2: qwen3",
    molmo2(),
    SPECIALS,
    processor(),
    SPELLINGS,
    one=f"{BOS}user\n{PICTURE}What is it?\nassistant\n",
    two=f"{BOS}user\nFirst {PICTURE}, then {PICTURE}\nassistant\n",
)


class Molmo2Parity(RunnerParity, VisionParity):
    found_before_more = False

    def pixels_of(self, inputs):
        """Each patch is a row there, its channels last."""
        pixels = inputs["pixel_values"].numpy()
        pixels = pixels.reshape(len(pixels), 6, 6, 12, 12, 3).transpose(0, 5, 1, 3, 2, 4)
        return pixels.reshape(len(pixels), 3, 72, 72)


class TestQwen3(ClipParity, Molmo2Parity):
    case = BASE
    clip = f"{BOS}user\n{CLIP}What happens?\nassistant\n"
    # The reference cannot take a single frame, which is all it chooses of "odd".
    clips = ("even", "long")
    # It takes pictures or a clip.
    test_a_clip_between_pictures = None

    def clip_pixels_of(self, inputs):
        return self.pixels_of({"pixel_values": inputs["pixel_values_videos"]})

    def test_a_clip_in_pieces(self, clip_pair):
        """A pause after each frame."""
        _, (media,) = clip_pair.ours.prompt(self.clip, [CLIPS["even"]])
        *pauses, _ = clip_pair.ours.model.encode_in_pieces(media)
        assert len(pauses) == len(media.arrays["pixel_values"]) == 5


class TestOlmo2(Molmo2Parity):
    """Norms behind the layers, positions scaled in one layer only, other tokens around pictures, other crops."""

    words = {"use_single_crop_col_tokens": False, "use_single_crop_start_token": False}
    yarn = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 64}
    case = replace(
        BASE,
        name="molmo2: olmo2",
        model=molmo2(
            {
                "qk_norm_type": "olmo",
                "norm_after": True,
                "rope_scaling_layers": [1],
                "rope_parameters": yarn,
                "num_key_value_heads": 4,
            },
            {"vision_feature_layer": [-1], "num_key_value_heads": 1, "attention_bias": False},
        ),
        processor=processor(
            words,
            overlap_margins=[1, 0],
            pooling_size=[3, 3],
            max_crops=3,
            image_mean=[0.4, 0.5, 0.6],
        ),
    )

    @pytest.fixture(scope="class")
    def pair(self, tmp_path_factory):
        pair = Pair(self.case, tmp_path_factory.mktemp("reference"))
        (pair.folder / "processor_config.json").write_text(json.dumps(self.words | {"image_processor": {}}))
        pair.ours = Ours(pair.folder)
        return pair


WHOLE = WholeRecipe.read({}, 72, 12, (3, 3))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wanted", [(72, 72), (97, 200), (3, 378)])
def test_plain_resizing(size, wanted):
    pixels = np.asarray(drawn(size))
    channels_last = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    with two_threads():
        theirs = interpolate(channels_last, wanted, mode="bilinear", antialias=False).round()[0]
    assert (torch_sample(pixels, wanted) == theirs.permute(1, 2, 0).numpy()).all()


@pytest.mark.parametrize("most", [1, 5, 8, 24])
def test_how_pictures_are_tiled(most):
    for size in [(-111, 500), (0, 1), (0, 0), (37, 266), (266, 266), (267, 532), (900, 40), (4000, 3000), (5000, -111)]:
        assert best_tiling(size, 266, most) == select_tiling(*size, 266, most)


def test_patches_that_do_not_go_into_blocks_evenly():
    for shape, pool in (((27, 27), (2, 2)), ((9, 14), (3, 2)), ((8, 8), (3, 5)), ((1, 2), (4, 3))):
        grid = np.arange(shape[0] * shape[1]).reshape(shape)
        theirs, rows, columns = arange_for_pooling(torch.from_numpy(grid), *pool)
        ours = pooled(grid, pool)
        assert ours.shape[:2] == (rows, columns)
        assert (ours.reshape(-1, ours.shape[2]) == theirs.numpy()).all()


@pytest.mark.parametrize("settings", [{}, {"num_frames": 7, "max_fps": 30}, {"fps": 3}, {"num_frames": 384}])
def test_the_frames_of_clips_of_many_lengths(settings):
    # `num_frames` is a default that a wish for a rate has to unsay.
    theirs = Molmo2VideoProcessor(**{"num_frames": 64} | settings)
    ours = SquareClipProcessor.read(settings, Words.read({}, 0), WHOLE)
    for count, fps in [(1, 30.0), (7, 25.0), (64, 1.0), (100, 29.97), (449, 7.5), (1801, 24.0), (9000, 60.0)]:
        clip = np.broadcast_to(np.uint8(0), (count, 4, 4, 3))
        asked = {"num_frames": None, "fps": settings["fps"]} if "fps" in settings else {"num_frames": theirs.num_frames}
        metadata = VideoMetadata(total_num_frames=count, fps=fps, duration=count / fps)
        indices = theirs.sample_frames(metadata, **asked).tolist()
        assert list(ours.plan(facts_of(clip, fps), ClipWish()).indices) == indices


def test_what_a_person_asks_for_goes_before():
    clip = np.broadcast_to(np.uint8(0), (300, 4, 4, 3))
    ours = SquareClipProcessor.read({}, Words.read({}, 0), WHOLE)
    assert ours.plan(facts_of(clip, 30.0), ClipWish(fps=0.5)).indices == (0, 60, 120, 180, 240)
    assert ours.plan(facts_of(clip, 30.0), ClipWish(max_frames=3)).indices == (0, 100, 200)


def test_frames_in_the_words_of_pictures():
    words = Words.read({"use_frame_special_tokens": False, "video_use_col_tokens": True}, 0)
    row = "<im_patch><im_patch><im_col>"
    assert words.for_clip(np.array([0.0, 1.26]), (1, 2)) == f"0.0 <im_start>{row}<im_end> 1.3 <im_start>{row}<im_end>"


def test_settings_that_are_not_known_are_refused():
    for settings in ({"size": {"height": 72, "width": 40}}, {"patch_size": 8}, {"resample": 3}, {"do_resize": False}):
        with pytest.raises(CheckpointError):
            WholeRecipe.read(settings, 72, 12, (3, 3))
    with pytest.raises(CheckpointError, match="all border"):
        CropRecipe.read({"overlap_margins": [3, 3]}, 72, 12)
    with pytest.raises(CheckpointError, match="num_frames and fps"):
        SquareClipProcessor.read({"num_frames": 8, "fps": 2}, Words.read({}, 0), WHOLE)
