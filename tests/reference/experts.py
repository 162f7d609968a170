"""The ways in which checkpoints keep a decoder's experts, from that of transformers 5: two matrices of three as one.

To be given to a `Spelling` as its `rework`.
"""

from collections.abc import Iterator, Mapping

import torch

State = Mapping[str, torch.Tensor]


def transposed(state: State) -> State:
    """(E, in, out), as Qwen's checkpoints of transformers 4 have them."""
    return {name: tensor.mT if ".experts." in name else tensor for name, tensor in state.items()}


def stacked(state: State) -> State:
    """As mlx-community has them."""
    return {f"{block}.switch_mlp.{part}.weight" if part else block: tensor for block, part, tensor in _parted(state)}


def one_by_one(state: State) -> State:
    """As GLM's checkpoints have them."""
    apart = {}
    for block, part, tensor in _parted(state):
        if part:
            apart |= {f"{block}.experts.{number}.{part}.weight": expert for number, expert in enumerate(tensor)}
        else:
            apart[block] = tensor
    return apart


def _parted(state: State) -> Iterator[tuple[str, str, torch.Tensor]]:
    """The block, the part and the experts' matrices of it; other tensors by their name, without a part."""
    for name, tensor in state.items():
        block, _, part = name.partition(".experts.")
        if part == "gate_up_proj":
            gate, up = tensor.chunk(2, dim=1)
            yield from ((block, "gate_proj", gate), (block, "up_proj", up))
        else:
            yield block, part, tensor
