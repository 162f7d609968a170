"""Qwen3.5's decoder, of mlx-lm, by itself: three layers of four are gated delta nets (arXiv 2412.06464).

Knows nothing of pictures, nor of the tower that mlx-lm's model of that name makes room for.
"""

import mlx.nn as nn

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.decoders.text import build_decoder

LINEAR, FULL = "linear_attention", "full_attention"


def build_qwen3_5(text: Config) -> nn.Module:
    """Of a normalised text config. Raises `CheckpointError` for what is not known of it."""
    if text["hidden_act"] != "silu" or not text.get("attn_output_gate", True):
        raise CheckpointError("The text_config asks for an activation, or for a gate, that is not known in Qwen3.5.")
    rotary = {"rope_parameters": dict(text["rope_parameters"]), "full_attention_interval": _interval(text)}
    return build_decoder({**text, **rotary, "model_type": "qwen3_5"}).language_model


def _interval(text: Config) -> int:
    """Every how many layers one looks back."""
    kinds = list(text["layer_types"])
    interval = kinds.index(FULL) + 1 if FULL in kinds else 1
    regular = [LINEAR if number % interval else FULL for number in range(1, len(kinds) + 1)]
    if interval == 1 or kinds != regular:
        raise CheckpointError("The layer_types of the text_config follow in an order that is not known in Qwen3.5.")
    return interval
