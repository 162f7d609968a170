"""A checkpoint's experts, brought to the layers that mlx-lm's decoders have for them.

Knows nothing of how an expert is chosen. transformers keeps two of an expert's three matrices as one: as (E, in, out)
in checkpoints of transformers 4, as (E, out, in) in those of transformers 5.
"""

import mlx.core as mx

GATE_AND_UP, DOWN = ".experts.gate_up_proj", ".experts.down_proj"


def unpack_experts(weights: dict[str, mx.array], width: int) -> dict[str, mx.array]:
    """`weights` with the experts of a decoder of this `width` as `switch_mlp`, (E, out, in) each; others stay."""
    unpacked = dict(weights)
    for name in weights:
        if not name.endswith(GATE_AND_UP):
            continue
        block = name.removesuffix(GATE_AND_UP)
        both, down = unpacked.pop(name), unpacked.pop(block + DOWN)
        # Of two matrices as wide as they are high, the other's shape tells how they lie.
        if both.shape[1:] == (width, 2 * down.shape[1]) and down.shape[2] == width:
            both, down = both.swapaxes(1, 2), down.swapaxes(1, 2)
        gate, up = mx.split(both, 2, axis=1)
        for part, tensor in (("gate", gate), ("up", up), ("down", down)):
            unpacked[f"{block}.switch_mlp.{part}_proj.weight"] = tensor
    return unpacked
