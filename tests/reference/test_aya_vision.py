"""Aya Vision and Command A Vision against transformers."""

from dataclasses import replace

import pytest
from PIL import Image
from transformers import (
    AyaVisionConfig,
    AyaVisionForConditionalGeneration,
    Cohere2VisionConfig,
    Cohere2VisionForConditionalGeneration,
)
from transformers.models.aya_vision.processing_aya_vision import AyaVisionProcessor
from transformers.models.cohere2_vision.image_processing_cohere2_vision import (
    Cohere2VisionImageProcessor,
    get_optimal_tiled_canvas,
)
from transformers.models.cohere2_vision.processing_cohere2_vision import Cohere2VisionProcessor
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from engine.models.recipes.held_tiles import HeldTileRecipe
from engine.models.recipes.tile_grid import least_scaled_grid
from tests.reference import tiny
from tests.reference.parity import Case, VisionParity
from tests.reference.spelling import TOWER_AND_DECODER

SLOT, BEGIN, END, BREAK = ("<|IMG_PATCH|>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_LINE_BREAK|>")
SPECIALS = (SLOT, BEGIN, END, BREAK, "<image>", "TILE_GLOBAL", *(f"TILE_{number}" for number in range(1, 13)), "<pad>")

SIZE = {"height": 32, "width": 32}
VISION = tiny.VISION | {"model_type": "siglip_vision_model", "vision_use_head": False}
TEXT = {key: value for key, value in tiny.TEXT.items() if key != "head_dim"} | {
    "model_type": "cohere2",
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "sliding_window": 24,
    "logit_scale": 0.25,
    "pad_token_id": None,
}
"""A window that pictures do not fit into."""


def model(kind, config, slot, text=None, vision=None, **changes):
    def build(tokenizer):
        parts = {"text_config": TEXT | {"vocab_size": len(tokenizer)} | (text or {})}
        parts["vision_config"] = VISION | (vision or {})
        return kind(config(**parts, **{slot: tokenizer.convert_tokens_to_ids(SLOT)}, **changes))

    return build


def aya(text=None, vision=None, **changes):
    return model(AyaVisionForConditionalGeneration, AyaVisionConfig, "image_token_index", text, vision, **changes)


def command_a(text=None, vision=None, **changes):
    changes = {"alignment_intermediate_size": 40} | changes
    kind, config = Cohere2VisionForConditionalGeneration, Cohere2VisionConfig
    return model(kind, config, "image_token_id", text, vision, **changes)


def aya_processor(factor=2, **changes):
    pictures = GotOcr2ImageProcessorPil(**{"size": SIZE, "image_mean": [0.4, 0.5, 0.6]} | changes)

    def build(tokenizer):
        tokenizer.pad_token = "<pad>"
        return AyaVisionProcessor(pictures, tokenizer, patch_size=8, img_size=32, downsample_factor=factor)

    return build


def command_a_processor(patch_size=2, **changes):
    def build(tokenizer):
        names = ("image_token", "boi_token", "eoi_token", "img_line_break_token")
        for name, token in zip(names, SPECIALS, strict=False):
            setattr(tokenizer, name, token)
            setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
        tokenizer.pad_token = "<pad>"
        pictures = Cohere2VisionImageProcessor(**{"size": SIZE, "patch_size": patch_size} | changes)
        return Cohere2VisionProcessor(pictures, tokenizer)

    return build


AYA = Case(
    "aya_vision",
    aya(),
    SPECIALS,
    aya_processor(),
    TOWER_AND_DECODER,
)

COMMAND_A = Case(
    "cohere2_vision",
    command_a(),
    SPECIALS,
    command_a_processor(),
    TOWER_AND_DECODER,
    one=f"User:{SLOT}What is it?\nAssistant:",
    two=f"User:{SLOT}And {SLOT}this?\nAssistant:",
)


class TestAyaVision(VisionParity):
    case = AYA


class TestOtherLayer(VisionParity):
    """A hidden state before the last, blocks of four, a wider gate, Cohere's first decoder."""

    case = replace(
        AYA,
        name="aya_vision: cohere",
        model=aya(
            {"model_type": "cohere", "num_key_value_heads": 4, "use_qk_norm": True},
            vision_feature_layer=-2,
            downsample_factor=4,
            alignment_intermediate_size=40,
            adapter_layer_norm_eps=1e-3,
        ),
        processor=aya_processor(4, max_patches=5, min_patches=2),
    )


class TestCommandA(VisionParity):
    case = COMMAND_A


class TestWholePictures(VisionParity):
    """No tiles, single patches, one head for keys and values, biases, a period of three."""

    case = replace(
        COMMAND_A,
        name="cohere2_vision, no tiles",
        model=command_a(
            {
                "num_key_value_heads": 1,
                "attention_bias": True,
                "num_hidden_layers": 3,
                "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            },
            downsample_factor=1,
        ),
        processor=command_a_processor(4, crop_to_patches=False),
    )


@pytest.mark.parametrize("most", [1, 2, 5, 12])
def test_grids_of_pictures_of_every_shape(most):
    for width in range(1, 200, 7):
        for height in (1, 9, 32, 33, 64, 90, 500):
            columns, rows = get_optimal_tiled_canvas((height, width), (32, 32), 1, most)
            assert least_scaled_grid((height, width), (32, 32), most) == (rows, columns)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (2, 3)])
def test_strips_and_specks_are_cut_as_by_the_reference(size):
    picture = Image.new("RGB", size, (200, 30, 90))
    theirs = Cohere2VisionImageProcessor(size=SIZE)(picture, return_tensors="np")["pixel_values"]
    assert HeldTileRecipe.read({"size": SIZE}, split=True)(picture).shape == theirs.shape
