"""Phi-3's sliding window, and its two sets of waves for positions: mlx-lm passes over the one and takes the other for
one.

Knows nothing of how the decoder is built. Both are in the caches, which the mask and the waves come from.
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import RotatingKVCache

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.layers.longrope import LongCache, LongRope


class _NeedsCaches:
    """In front of an mlx-lm `Model`."""

    def __call__(self, inputs: mx.array, cache: Sequence[Any] | None = None) -> mx.array:
        return super().__call__(inputs, self.make_cache() if cache is None else cache)


class Slides(_NeedsCaches):
    window: int

    def make_cache(self) -> list[RotatingKVCache]:
        return [RotatingKVCache(max_size=self.window) for _ in self.layers]


class TurnsByLength(_NeedsCaches):
    def make_cache(self) -> list[LongCache]:
        return [LongCache(layer.self_attn.rope) for layer in self.layers]

    def stops_of(self, length: int, stops: Sequence[int]) -> list[int]:
        """Those of a text's `stops` at which all before them is turned as the whole text is: in one beyond the limit,
        none before it."""
        limit = self.layers[0].self_attn.rope.limit
        return [stop for stop in stops if length <= limit or stop > limit] or list(stops[-1:])


def slide_and_turn(decoder: nn.Module, config: Config) -> None:
    """Give `decoder` the window and the waves of its config. Raises `CheckpointError` for what it would pass over."""
    if config["hidden_act"] != "silu" or any(config.get(f"{part}_bias") for part in ("attention", "mlp", "lm_head")):
        raise CheckpointError("The config gives Phi-3 another activation than silu, or biases, not known here.")
    long = (config["rope_parameters"] or {}).get("rope_type") == "longrope"
    window = config.get("sliding_window") or config["max_position_embeddings"]
    slides = window < config["max_position_embeddings"]
    if long and slides:
        raise CheckpointError("The config gives Phi-3 a window and waves for long texts, not known together.")
    if not long and not slides:
        return
    kind = type(decoder)
    decoder.__class__ = type(kind.__name__, (TurnsByLength if long else Slides, kind), {})
    if slides:
        decoder.window = window
    else:
        for layer in decoder.layers:
            layer.self_attn.rope = LongRope(layer.self_attn.rope.dim, config)
