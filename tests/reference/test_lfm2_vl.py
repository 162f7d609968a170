"""LFM2-VL with both decoders against transformers."""

import json
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Lfm2VlConfig, Lfm2VlForConditionalGeneration
from transformers.models.lfm2_vl.image_processing_lfm2_vl import Lfm2VlImageProcessor
from transformers.models.lfm2_vl.processing_lfm2_vl import Lfm2VlProcessor

from engine.api.errors import MediaError
from engine.models.layers.bilinear import smoothly_resized
from engine.models.recipes.nearest_tiles import NearestTileRecipe
from engine.models.recipes.tile_grid import nearest_grid
from tests.reference import tiny
from tests.reference.ours import Ours
from tests.reference.parity import TOLERANCE, Case, Pair, VisionParity, difference
from tests.reference.running import RunnerParity
from tests.reference.spelling import TOWER_AND_DECODER

SPECIALS = (
    "<image>",
    "<|image_start|>",
    "<|image_end|>",
    "<|img_thumbnail|>",
    *(f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5)),
)

TEXT = {key: value for key, value in tiny.TEXT.items() if key not in ("model_type", "head_dim")} | {
    "model_type": "lfm2",
    "num_hidden_layers": 3,
    "layer_types": ["conv", "full_attention", "conv"],
    "block_multiple_of": 8,
}

EXPERTS = {
    "model_type": "lfm2_moe",
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "layer_types": ["full_attention", "conv", "conv"],
    "conv_L_cache": 4,
    "conv_bias": True,
    "num_dense_layers": 1,
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "routed_scaling_factor": 1.5,
}

VISION = tiny.VISION | {"model_type": "siglip2_vision_model", "patch_size": 4, "num_patches": 25}

PICTURE = {
    "encoder_patch_size": 4,
    "tile_size": 24,
    "min_image_tokens": 4,
    "max_image_tokens": 20,
    "max_pixels_tolerance": 1.5,
    "max_tiles": 4,
}


def lfm2_vl(text_config=None, vision_config=None, **changes):
    def build(tokenizer):
        model = Lfm2VlForConditionalGeneration(
            Lfm2VlConfig(
                text_config=TEXT | {"vocab_size": len(tokenizer)} | (text_config or {}),
                vision_config=VISION | (vision_config or {}),
                image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
                **{"projector_hidden_size": 40} | changes,
            )
        )
        for name, buffer in model.named_buffers():
            if name.endswith("expert_bias"):
                buffer.copy_(torch.linspace(-0.3, 0.3, len(buffer)))
        return model

    return build


def processor(**changes):
    return lambda tokenizer: Lfm2VlProcessor(Lfm2VlImageProcessor(**PICTURE | changes), tokenizer)


BASE = Case("lfm2_vl", lfm2_vl(), SPECIALS, processor(), TOWER_AND_DECODER)


class PatchParity(VisionParity):
    def pixels_of(self, inputs):
        """Without what the reference fills up the smaller tiles with."""
        return inputs["pixel_values"][inputs["pixel_attention_mask"].bool()].numpy()


class TestTiles(PatchParity, RunnerParity):
    case = BASE


class TestExperts(PatchParity):
    """Another decoder, a head of its own, blocks of nine patches, tiles without a thumbnail."""

    case = replace(
        BASE,
        name="lfm2_vl, experts",
        model=lfm2_vl(
            EXPERTS,
            {"hidden_act": "gelu", "num_patches": 9, "vision_use_head": False},
            tie_word_embeddings=False,
            downsample_factor=3,
            projector_use_layernorm=False,
            projector_bias=False,
        ),
        processor=processor(downsample_factor=3, use_thumbnail=False, max_image_tokens=13, max_pixels_tolerance=1.2),
        spellings=(),
    )


class TestWholePictures(PatchParity):
    case = replace(
        BASE,
        name="lfm2_vl, no tiles",
        model=lfm2_vl({"conv_bias": True}),
        processor=processor(do_image_splitting=False),
    )


def test_the_first_checkpoints(tmp_path):
    """Their type has a hyphen, their config says what a preprocessor file does, and defaults are left out."""
    pair = Pair(BASE, tmp_path)
    config = json.loads((pair.folder / "config.json").read_text())
    config |= PICTURE | {"model_type": "lfm2-vl", "vision_feature_layer": -1}
    for key in ("projector_bias", "projector_hidden_act", "projector_use_layernorm", "downsample_factor"):
        del config[key]
    (pair.folder / "config.json").write_text(json.dumps(config))
    (pair.folder / "preprocessor_config.json").unlink()
    pictures = [tiny.picture("landscape")]
    assert difference(Ours(pair.folder).logits(BASE.one, pictures), pair.logits(BASE.one, pictures)) < TOLERANCE


def test_positions_are_stretched_as_the_reference_does_it():
    square = np.random.default_rng(0).standard_normal((5, 5, 7), np.float32)
    for size in ((5, 5), (2, 9), (11, 3)):
        theirs = torch.nn.functional.interpolate(
            torch.tensor(square).permute(2, 0, 1)[None], size, mode="bilinear", align_corners=False, antialias=True
        )
        assert (
            np.abs(np.array(smoothly_resized(mx.array(square), *size)) - theirs[0].permute(1, 2, 0).numpy()).max()
            < 1e-6
        )


def test_sizes_and_grids_are_those_of_the_reference():
    """Of many shapes, at the sizes that published checkpoints ask for, where several grids are equally near."""
    recipe, reference = NearestTileRecipe.read({}), Lfm2VlImageProcessor()
    rng = np.random.default_rng(1)
    for height, width in [
        *rng.integers(1, 200, (300, 2)),
        *rng.integers(200, 3000, (500, 2)),
        (1250, 1000),
        (800, 1000),
    ]:
        size = (int(height), int(width))
        columns, rows, *_ = reference._get_grid_layout(*size, 2, 10, 512)
        assert nearest_grid(size, (512, 512), 2, 10) == (rows, columns)
        assert recipe.scaled_size(size) == reference.smart_resize(*size, 2, 64, 256, 16)[::-1]
        assert recipe.is_cut(size) == reference._is_image_too_large(*size, 256, 16, 2, 2.0)


def test_a_hairline_is_refused_and_a_speck_is_not():
    recipe = NearestTileRecipe.read({})
    with pytest.raises(MediaError, match="5000"):
        recipe(Image.new("RGB", (5000, 1)))
    assert recipe(Image.new("RGB", (3, 2))).grid == (1, 1)
