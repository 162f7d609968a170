"""Rotary positions on three axes and more (XD-RoPE, HunyuanOCR, arXiv 2511.19575) in a decoder that was made for one.

Knows nothing of pictures. Channels are given to axes over the whole head, so the two that are turned together may stand
on different axes, and the turn is none; source: transformers' `modeling_hunyuan_vl.py`.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.hunyuan_v1_dense import DynamicNTKAlphaRoPE

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.layers.mrope import StepPositions


class XDRope(nn.Module):
    """Takes the place of the rotary module `rope`, which goes on turning what stands alike on all axes."""

    def __init__(self, rope: nn.Module, step: StepPositions) -> None:
        super().__init__()
        self.rope = rope
        self._step = step

    def __call__(self, x: mx.array, offset: Any = 0) -> mx.array:
        """(B, heads, L, dims) -> the same shape."""
        if self._step.waves is None:
            return self.rope(x, offset=offset + self._step.shift)
        cosines, sines = self._step.waves
        first, second = mx.split(x, 2, axis=-1)
        return (x * cosines + mx.concatenate([-second, first], axis=-1) * sines).astype(x.dtype)


def spread_over_axes(decoder: nn.Module, config: Config) -> StepPositions:
    """Swap the rotary modules of `decoder`, built from this text config; each axis has twice as many channels as its
    `mrope_section`. Raises `CheckpointError` for rotary settings that are not known to go together."""
    sections = config["rope_parameters"].get("mrope_section") or ()
    rope = decoder.layers[0].self_attn.rope
    if type(rope) is not DynamicNTKAlphaRoPE or len(sections) < 3 or 2 * sum(sections) != rope.dims:
        raise CheckpointError(f"Positions on several axes are not known with {config['rope_parameters']}.")
    frequencies = 1 / rope._freqs
    axes = np.repeat(np.arange(len(sections)), 2 * np.array(sections))
    step = StepPositions(mx.concatenate([frequencies, frequencies]), axes)
    for layer in decoder.layers:
        layer.self_attn.rope = XDRope(layer.self_attn.rope, step)
    return step
