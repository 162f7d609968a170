"""Llama 4 with pictures against transformers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import Llama4Config, Llama4ForConditionalGeneration, Llama4TextConfig
from transformers.image_utils import SizeDict
from transformers.models.llama4.image_processing_llama4 import (
    Llama4ImageProcessor,
    find_supported_resolutions,
    get_best_fit,
    get_max_res_without_distortion,
)
from transformers.models.llama4.processing_llama4 import Llama4Processor

from engine.api.errors import CheckpointError
from engine.models.decoders.llama4 import build_llama4
from engine.models.recipes.canvas_tiles import CanvasRecipe
from tests.reference import tiny
from tests.reference.parity import Case, VisionParity
from tests.reference.running import RunnerParity
from tests.reference.spelling import Spelling

SPECIALS = (
    "<|image|>",
    "<|patch|>",
    "<|image_start|>",
    "<|image_end|>",
    "<|tile_x_separator|>",
    "<|tile_y_separator|>",
)

TEXT = {key: value for key, value in tiny.TEXT.items() if key != "model_type"} | {
    "num_hidden_layers": 5,
    "intermediate_size": 40,
    "intermediate_size_mlp": 64,
    "num_local_experts": 3,
    "attention_chunk_size": 16,
    "floor_scale": 8,
    "rms_norm_eps": 1e-3,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500.0,
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 4,
    "vision_output_dim": 24,
    "projector_input_dim": 24,
    "projector_output_dim": 24,
    "rope_parameters": {"rope_type": "default", "rope_theta": 300.0},
}


def as_the_model_counts(model, args, inputs):
    """The processor's pixel values are bfloat16, whatever the model is."""
    if "pixel_values" in inputs:
        inputs = inputs | {"pixel_values": inputs["pixel_values"].to(model.dtype)}
    return args, inputs


def llama4(text_config=None, vision_config=None):
    def build(tokenizer):
        model = Llama4ForConditionalGeneration(
            Llama4Config(
                text_config=TEXT | {"vocab_size": len(tokenizer)} | (text_config or {}),
                vision_config=VISION | (vision_config or {}),
                image_token_index=tokenizer.convert_tokens_to_ids("<|patch|>"),
            )
        )
        model.register_forward_pre_hook(as_the_model_counts, with_kwargs=True)
        return model

    return build


def processor(ratio=0.5, **changes):
    pictures = {"size": {"height": 16, "width": 16}, "max_patches": 6} | changes
    return lambda tokenizer: Llama4Processor(Llama4ImageProcessor(**pictures), tokenizer, 4, ratio)


def apart(state):
    """Experts as mlx-community has them."""
    found = {}
    for name, tensor in state.items():
        block, _, part = name.partition(".experts.")
        if part == "gate_up_proj":
            gate, up = tensor.mT.chunk(2, dim=1)
            found |= {f"{block}.experts.gate_proj.weight": gate, f"{block}.experts.up_proj.weight": up}
        else:
            found |= {f"{name}.weight": tensor.mT} if part == "down_proj" else {name: tensor}
    return found


BASE = Case(
    "llama4",
    llama4(),
    SPECIALS,
    processor(),
    (Spelling("transformers-4", (), old_config=True), Spelling("mlx-community", (), old_config=True, rework=apart)),
    one="User:<|image|>What is it?\nAssistant:",
    two="User:<|image|>And <|image|>this?\nAssistant:",
)


class RoundedParity(VisionParity):
    def pixels_of(self, inputs):
        return inputs["pixel_values"].float().numpy()


class TestLlama4(RunnerParity, RoundedParity):
    case = BASE


class TestDense(RoundedParity):
    """Experts in every other layer, no norm of queries and keys, one feature a tile, pictures of one tile only."""

    case = replace(
        BASE,
        name="llama4, some dense",
        model=llama4(
            {
                "num_hidden_layers": 4,
                "interleave_moe_layer_step": 2,
                "use_qk_norm": False,
                "num_key_value_heads": 1,
                "attention_bias": True,
                "attn_temperature_tuning": False,
                "attention_chunk_size": 8192,
            },
            {"pixel_shuffle_ratio": 0.25, "intermediate_size": 512},
        ),
        processor=processor(max_patches=1, ratio=0.25, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]),
        spellings=(),
    )


def test_sizes_are_those_of_the_reference():
    """Of many shapes, strips among them."""
    rng = np.random.default_rng(1)
    recipe = CanvasRecipe.read({}, 336, 16)
    canvases = torch.tensor(find_supported_resolutions(16, SizeDict(height=336, width=336)))
    for height, width in [*rng.integers(1, 600, (200, 2)), *rng.integers(1, 6000, (200, 2)), (1, 5000), (5000, 1)]:
        size = (int(height), int(width))
        canvas = get_best_fit(size, canvases).tolist()
        assert [count * 336 for count in recipe.grid(size)] == canvas
        room = tuple(min(max(length, 336), most) for length, most in zip(size, canvas, strict=True))
        fitted = tuple(max(length, 1) for length in get_max_res_without_distortion(size, room))
        assert recipe.fitted_size(size, recipe.grid(size)) == fitted


@pytest.mark.parametrize(
    "changes",
    [
        {"no_rope_layer_interval": 2},
        {"layer_types": ["full_attention"] * 5},
        {"moe_layers": [0, 3]},
        {"num_experts_per_tok": 2},
        {"tie_word_embeddings": True},
        {"attention_chunk_size": None},
    ],
)
def test_layers_of_a_kind_not_known_are_refused(changes):
    config = Llama4TextConfig(**TEXT | {"vocab_size": 9} | changes).to_dict()
    with pytest.raises(CheckpointError, match="text_config"):
        build_llama4(config)
