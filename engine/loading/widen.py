"""On a CPU: float32 weights, because quantised and bfloat16 products are 30-300 times slower there.

Knows nothing of files or devices. Everything stays lazy: a tensor is converted when it is evaluated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from engine.loading.quantize import unpack
from engine.sizes import format_size

Packings = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Widened:
    weights: dict[str, mx.array]
    packed: Packings
    """Which layers are still packed."""
    note: str = ""
    """What was done, for a person; empty when there was nothing to do."""


def widen(weights: dict[str, mx.array], packed: Packings, free: int) -> Widened:
    """As much in float32 as fits into `free` bytes: everything, or all that is not packed, or nothing."""
    if not packed and all(array.dtype == mx.float32 or not _is_float(array) for array in weights.values()):
        return Widened(weights, packed)
    everything = _float32(unpack(weights, packed))
    if _bytes(everything) <= free:
        return Widened(everything, {}, "The weights are kept as float32, which is the fastest on this processor.")
    note = f"This will be slow: float32 weights, the fastest on this processor, need {format_size(_bytes(everything))}."
    unpacked_part = _float32(weights)
    return Widened(unpacked_part if packed and _bytes(unpacked_part) <= free else weights, packed, note)


def _float32(weights: Mapping[str, mx.array]) -> dict[str, mx.array]:
    return {name: array.astype(mx.float32) if _is_float(array) else array for name, array in weights.items()}


def _is_float(array: mx.array) -> bool:
    return mx.issubdtype(array.dtype, mx.floating)


def _bytes(weights: Mapping[str, mx.array]) -> int:
    return sum(array.nbytes for array in weights.values())
