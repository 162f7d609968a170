"""Renaming of a checkpoint's tensors by the beginnings of their names.

Knows no family: each brings its own table.
"""

import mlx.core as mx

from engine.api.errors import CheckpointError

Prefixes = tuple[tuple[str, str], ...]
"""(beginning in the checkpoint, beginning in the module); the first that fits is taken."""


def rename(weights: dict[str, mx.array], prefixes: Prefixes) -> dict[str, mx.array]:
    """`weights` under their new names; what fits no prefix keeps its own. Raises if two end up under one name."""
    renamed: dict[str, mx.array] = {}
    for name, tensor in weights.items():
        new = next((to + name.removeprefix(old) for old, to in prefixes if name.startswith(old)), name)
        if new in renamed:
            raise CheckpointError(f"The checkpoint holds {new} twice, once of them as {name}.")
        renamed[new] = tensor
    return renamed
