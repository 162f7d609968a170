"""Linear layers with a low-rank addition that can be switched on and off between calls: y = W x + B (A x).

Knows nothing of when. Source of the maths: arXiv 2106.09685; a scale belongs into B.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn


@dataclass(slots=True)
class AdapterSwitch:
    """Shared by all layers of one model."""

    on: bool = False


class SwitchedLoRALinear(nn.Linear):
    """`lora_a` (rank, in), `lora_b` (out, rank)."""

    def __init__(self, linear: nn.Linear, rank: int, switch: AdapterSwitch) -> None:
        out_size, in_size = linear.weight.shape
        super().__init__(in_size, out_size, bias="bias" in linear)
        self.lora_a = mx.zeros((rank, in_size))
        self.lora_b = mx.zeros((out_size, rank))
        self._switch = switch

    def __call__(self, x: mx.array) -> mx.array:
        y = super().__call__(x)
        return mx.addmm(y, x @ self.lora_a.T, self.lora_b.T) if self._switch.on else y


def switch_lora(parent: nn.Module, names: Iterable[str], rank: int, switch: AdapterSwitch) -> None:
    """Replace these linear layers of `parent`; their weights' names stay."""
    for name in names:
        setattr(parent, name, SwitchedLoRALinear(getattr(parent, name), rank, switch))
