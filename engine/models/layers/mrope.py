"""Rotary positions on three axes (M-RoPE, arXiv 2409.12191) in a decoder that was made for one.

Knows nothing of pictures. Positions are told a step at a time and forgotten with it, so sequences can take turns.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.layers.rotary import frequencies

SECTIONS = (16, 24, 24)
"""Of a config that names none, as transformers takes it."""

Waves = tuple[mx.array, mx.array]
"""Cosines and sines, in the shape of what they turn but for heads."""


class StepPositions:
    """The positions of the step under way, which all layers of a decoder share."""

    def __init__(self, frequencies: mx.array, axes: Sequence[int]) -> None:
        """`frequencies` (dims / 2,) in radians a position; `axes` says on which axis each of them runs."""
        self._frequencies = frequencies
        self._axes = mx.array(np.asarray(axes, np.int32))
        self.waves: Waves | None = None
        self.shift: int | mx.array = 0

    @contextmanager
    def during(self, positions: mx.array | None, shift: int | mx.array) -> Iterator[None]:
        """`positions` (3, B, L) of the step's tokens; without them they count on from their cache and `shift`, an
        integer or (B,)."""
        self.waves = None if positions is None else waves(positions[self._axes], self._frequencies)
        self.shift = shift
        try:
            yield
        finally:
            self.waves, self.shift = None, 0


class MRope(nn.Module):
    """Takes the place of the rotary module `rope`, which goes on turning what stands alike on all axes."""

    def __init__(self, rope: nn.Module, step: StepPositions) -> None:
        super().__init__()
        self.rope = rope
        self._step = step
        self._dims = rope.dims
        self._turned = neighbours_turned if rope.traditional else turned

    def __call__(self, x: mx.array, offset: Any = 0) -> mx.array:
        """(B, heads, L, D) -> the same, its first channels turned, as many as the module turns."""
        if self._step.waves is None:
            return self.rope(x, offset=offset + self._step.shift)
        if x.shape[-1] == self._dims:
            return self._turned(x, *self._step.waves)
        first, rest = mx.split(x, [self._dims], axis=-1)
        return mx.concatenate([self._turned(first, *self._step.waves), rest], axis=-1)


def waves(positions: mx.array, frequencies: mx.array) -> Waves:
    """(dims / 2, B, L) positions, one for each frequency -> (B, 1, L, dims / 2) each."""
    angles = positions.transpose(1, 2, 0)[:, None] * frequencies
    return mx.cos(angles), mx.sin(angles)


def turned(x: mx.array, cosines: mx.array, sines: mx.array) -> mx.array:
    """(..., dims), each channel of the first half turned together with its fellow in the second; in float32."""
    first, second = mx.split(x, 2, axis=-1)
    both = (first * cosines - second * sines, second * cosines + first * sines)
    return mx.concatenate(both, axis=-1).astype(x.dtype)


def neighbours_turned(x: mx.array, cosines: mx.array, sines: mx.array) -> mx.array:
    """(..., dims), each channel turned together with the one beside it; in float32."""
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    first, second = pairs[..., 0], pairs[..., 1]
    both = (first * cosines - second * sines, second * cosines + first * sines)
    return mx.stack(both, axis=-1).reshape(x.shape).astype(x.dtype)


def tell_axes_apart(
    decoder: nn.Module, config: Config, standard: Sequence[int] = SECTIONS, *, interleaved: bool = False
) -> StepPositions:
    """Swap the rotary modules of `decoder`, built from this text config. Each axis has a stretch of the frequencies,
    as long as its `mrope_section`, or as `standard` says where there is none; `interleaved`: they take turns instead.
    Raises `CheckpointError` for rotary settings that are not known to go together."""
    sections = (config["rope_parameters"] or {}).get("mrope_section") or standard
    # Layers of linear attention turn nothing.
    attentions = [layer.self_attn for layer in decoder.layers if "self_attn" in layer]
    rope = attentions[0].rope
    if type(rope) is not nn.RoPE:
        raise CheckpointError(f"Positions on three axes are not known with {config['rope_parameters']}.")
    if len(sections) != 3 or 2 * sum(sections) != rope.dims:
        raise CheckpointError(f"The mrope_section {list(sections)} does not fit {rope.dims} turned channels.")
    axes = in_turns(sections) if interleaved else np.repeat(np.arange(3), sections)
    step = StepPositions(frequencies(rope), axes)
    for attention in attentions:
        attention.rope = MRope(attention.rope, step)
    return step


def in_turns(sections: Sequence[int]) -> np.ndarray:
    """(dims / 2,): time, height and width in turn, then what is left of time (transformers `modeling_qwen3_vl.py`).
    Raises `CheckpointError` where height or width is left over."""
    axes = np.zeros(sum(sections), int)
    for axis in (1, 2):
        axes[axis : 3 * sections[axis] : 3] = axis
    if np.bincount(axes, minlength=3).tolist() != list(sections):
        raise CheckpointError(f"The axes cannot take turns with an mrope_section of {list(sections)}.")
    return axes
