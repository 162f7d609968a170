"""A checkpoint's experts, brought to the layers that mlx-lm's decoders have for them.

Knows nothing of how an expert is chosen. transformers keeps two of an expert's three matrices as one: as (E, in, out)
in checkpoints of transformers 4, as (E, out, in) in those of transformers 5; other files have expert after expert.
"""

import re
from collections import defaultdict

import mlx.core as mx

GATE_AND_UP, DOWN = ".experts.gate_up_proj", ".experts.down_proj"

_ONE = re.compile(r"(.+)\.experts\.(\d+)\.(.+)")


def unpack_experts(weights: dict[str, mx.array], width: int) -> dict[str, mx.array]:
    """`weights` with the experts of a decoder of this `width` as `switch_mlp`, (E, out, in) each; others stay."""
    unpacked = _stacked(weights)
    for name in [name for name in unpacked if name.endswith(GATE_AND_UP)]:
        block = name.removesuffix(GATE_AND_UP)
        both, down = unpacked.pop(name), unpacked.pop(block + DOWN)
        # Of two matrices as wide as they are high, the other's shape tells how they lie.
        if both.shape[1:] == (width, 2 * down.shape[1]) and down.shape[2] == width:
            both, down = both.swapaxes(1, 2), down.swapaxes(1, 2)
        gate, up = mx.split(both, 2, axis=1)
        for part, tensor in (("gate", gate), ("up", up), ("down", down)):
            unpacked[f"{block}.switch_mlp.{part}_proj.weight"] = tensor
    return unpacked


def _stacked(weights: dict[str, mx.array]) -> dict[str, mx.array]:
    """With tensors of single experts put together."""
    experts: dict[str, dict[int, mx.array]] = defaultdict(dict)
    others = {}
    for name, tensor in weights.items():
        if (found := _ONE.fullmatch(name)) is None:
            others[name] = tensor
        else:
            block, number, part = found.groups()
            experts[f"{block}.switch_mlp.{part}"][int(number)] = tensor
    return others | {name: mx.stack([tensors[n] for n in sorted(tensors)]) for name, tensors in experts.items()}
