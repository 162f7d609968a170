"""Qwen3.5, dense and with experts, against transformers: pictures and clips."""

from dataclasses import replace

import pytest
import torch
from transformers import (
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForConditionalGeneration,
)

from engine.api.errors import CheckpointError
from tests.reference.experts import stacked
from tests.reference.parity import Pair, VisionParity
from tests.reference.running import RunnerParity
from tests.reference.test_qwen3_vl import BASE as QWEN3_VL
from tests.reference.test_qwen3_vl import SPELLINGS, Prompts, model, processor

TEXT = {
    "num_hidden_layers": 4,
    "head_dim": 16,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 777.0,
        "partial_rotary_factor": 0.75,
        "mrope_section": [2, 2, 2],
    },
    "linear_key_head_dim": 14,
    "linear_value_head_dim": 18,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}

EXPERTS = {
    "num_experts": 6,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 20,
    "shared_expert_intermediate_size": 28,
}

SEEING = {"deepstack_visual_indexes": []}
"""As the published files have it: this tower is looked at once."""


def with_conv_behind(state):
    """The decoder's tensors as mlx-community has them: norms that multiply by what they hold, convolutions with their
    channels last, experts apart."""
    norms = ("layernorm.weight", "_norm.weight", "language_model.norm.weight")
    changed = {}
    for name, tensor in stacked(state).items():
        if "language_model" in name and name.endswith(norms):
            tensor = tensor + 1
        changed[name] = tensor.movedim(2, 1) if name.endswith("conv1d.weight") else tensor
    return changed


def with_guesses(state):
    """With the layers that guess further tokens, as published."""
    return dict(state) | {"mtp.fc.weight": torch.ones(3, 4), "mtp.layers.0.mlp.up_proj.weight": torch.ones(2, 2)}


REWORKED = (with_guesses, None, with_conv_behind)

BASE = replace(
    QWEN3_VL,
    name="qwen3_5",
    model=model(Qwen3_5ForConditionalGeneration, Qwen3_5Config, TEXT, SEEING),
    spellings=tuple(replace(each, rework=rework) for each, rework in zip(SPELLINGS, REWORKED, strict=True)),
)


class TestQwen35(VisionParity, RunnerParity, Prompts):
    case = BASE


class TestTied(VisionParity, Prompts):
    """As many heads for keys as for values, all channels turned, blocks of three patches, five layers."""

    case = replace(
        BASE,
        name="qwen3_5, tied head",
        model=model(
            Qwen3_5ForConditionalGeneration,
            Qwen3_5Config,
            TEXT
            | {
                "num_hidden_layers": 5,
                "layer_types": ["linear_attention", "full_attention"] * 2 + ["linear_attention"],
                "num_attention_heads": 6,
                "num_key_value_heads": 3,
                "head_dim": 12,
                "linear_num_value_heads": 2,
                "attention_bias": True,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 99.0,
                    "partial_rotary_factor": 1.0,
                    "mrope_section": [2, 2, 2],
                },
            },
            SEEING | {"spatial_merge_size": 3, "temporal_patch_size": 1, "num_heads": 2},
            tie_word_embeddings=True,
        ),
        processor=lambda tokenizer: processor(tokenizer, merge_size=3, temporal_patch_size=1),
    )


class TestExperts(VisionParity, Prompts):
    # MLX's CPU back end multiplies by chosen experts in float32 alone.
    test_bfloat16_is_as_near_as_the_references = None

    case = replace(
        BASE,
        name="qwen3_5_moe",
        model=model(Qwen3_5MoeForConditionalGeneration, Qwen3_5MoeConfig, TEXT | EXPERTS, SEEING),
    )


@pytest.mark.parametrize("kinds", [["full_attention"] * 4, ["linear_attention"] * 3 + ["linear_attention"]])
def test_layers_in_another_order_are_refused(tmp_path, kinds):
    text = TEXT | {"layer_types": kinds}
    case = replace(BASE, model=model(Qwen3_5ForConditionalGeneration, Qwen3_5Config, text, SEEING))
    with pytest.raises(CheckpointError, match="layer_types"):
        Pair(case, tmp_path)
