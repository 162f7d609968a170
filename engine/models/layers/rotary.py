"""Rotary positions by a table that all layers of a decoder share, in place of mlx-lm's module.

Knows nothing of devices. On a CPU MLX computes sines anew for each layer's queries and keys, from fifteen small
operations; here one table serves a whole step of one row, and one a layer where rows decode together. Source of the
maths: arXiv 2104.09864, halves rotated.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.rope_utils import Llama3RoPE


class RotaryTable:
    """Cosines and sines of the positions last asked for; layers ask for the same ones one after the other."""

    def __init__(self, frequencies: mx.array) -> None:
        """`frequencies` (dims / 2,), in radians a position."""
        self._frequencies = frequencies
        half = frequencies.shape[0]
        self.swap = mx.concatenate([mx.arange(half, 2 * half), mx.arange(half)])
        self._sign = mx.concatenate([-mx.ones((half,)), mx.ones((half,))])
        self._span = (-1, -1)
        self._waves = (frequencies, frequencies)
        self._offsets: mx.array | None = None
        self._rows_waves = self._waves

    def waves(self, start: int, length: int) -> tuple[mx.array, mx.array]:
        """(length, dims) each: cosines, and sines with the sign of the half they are added to."""
        if self._span != (start, length):
            self._span, self._waves = (start, length), self._at(mx.arange(start, start + length))
        return self._waves

    def rows_waves(self, offsets: mx.array) -> tuple[mx.array, mx.array]:
        """(B, 1, 1, dims) each, of one token a row: row by row that of `offsets` (B,)."""
        if self._offsets is not offsets:
            # Queries and keys come with the same array, and caches make a new one for each step. It is kept itself, so
            # that no later one can be taken for it.
            self._offsets, self._rows_waves = offsets, self._at(offsets[:, None, None])
        return self._rows_waves

    def _at(self, positions: mx.array) -> tuple[mx.array, mx.array]:
        angles = positions[..., None] * self._frequencies
        angles = mx.concatenate([angles, angles], axis=-1)
        return mx.cos(angles), mx.sin(angles) * self._sign


class TableRotary(nn.Module):
    """Takes the place of `module`, and leaves to it what the table does not cover."""

    def __init__(self, module: nn.Module, table: RotaryTable) -> None:
        super().__init__()
        self._module = [module]
        self._table = table
        self._dims = table.swap.shape[0]

    def __call__(self, x: mx.array, offset: Any = 0) -> mx.array:
        """(B, heads, L, dims) -> the same, turned by its positions from `offset` on."""
        if x.dtype != mx.float32 or x.shape[-1] != self._dims:
            return self._module[0](x, offset=offset)
        if isinstance(offset, int):
            cosines, sines = self._table.waves(offset, x.shape[-2])
        elif x.shape[-2] == 1 and offset.shape == x.shape[:1]:
            cosines, sines = self._table.rows_waves(offset)
        else:
            return self._module[0](x, offset=offset)
        return x * cosines + mx.take(x, self._table.swap, axis=-1) * sines


def share_rotary_tables(decoder: nn.Module) -> None:
    """Swap the rotary modules of `decoder` that a table can stand in for; others stay as they are."""
    tables: dict[Any, RotaryTable] = {}
    for owner in decoder.modules():
        module = owner.get("rope")
        key = _identity(module)
        if key is not None:
            if key not in tables:
                tables[key] = RotaryTable(frequencies(module))
            owner.rope = TableRotary(module, tables[key])


def _identity(module: object) -> tuple[Any, ...] | None:
    """Equal for modules that turn alike; `None` for those that are not covered."""
    if type(module) is nn.RoPE and not module.traditional:
        return module.dims, module.base, module.scale
    if type(module) is Llama3RoPE and not module.traditional:
        return module.dims, tuple(module._freqs.tolist())
    return None


def frequencies(module: nn.Module) -> mx.array:
    """(dims / 2,) in radians a position."""
    if isinstance(module, Llama3RoPE):
        return 1 / module._freqs
    return module.scale * module.base ** (-mx.arange(0, module.dims, 2) / module.dims)
