"""The state of caches as plain data and back: NumPy arrays, and JSON that says where each stands.

Knows nothing of files. Called on the engine's thread alone; what comes out may go to any.
"""

import json
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from engine.cache.entry_file import Stored
from engine.cache.state import Caches, restore, states

_NAMES = {
    mx.bool_: "BOOL",
    mx.uint8: "U8",
    mx.int8: "I8",
    mx.uint16: "U16",
    mx.int16: "I16",
    mx.float16: "F16",
    mx.bfloat16: "BF16",
    mx.uint32: "U32",
    mx.int32: "I32",
    mx.float32: "F32",
    mx.uint64: "U64",
    mx.int64: "I64",
}


def freeze(caches: Caches) -> tuple[str, list[Stored]]:
    """The tree and the arrays, which are copies. Raises `ValueError` for a state that is not plain."""
    arrays: list[Stored] = []
    return json.dumps([_frozen(state, arrays) for state in states(caches)]), arrays


def thaw(tree: str, arrays: Sequence[mx.array], fresh: Caches) -> None:
    """Put what was frozen into caches of the same model. Raises `ValueError` or `TypeError` for what does not fit."""
    restore(fresh, _thawed(json.loads(tree), arrays))


def stored_of(array: mx.array) -> Stored:
    """A copy. Raises `ValueError` for a type of numbers that files do not have."""
    if array.dtype not in _NAMES:
        raise ValueError(f"{array.dtype} is not written to the disk")
    bits = array.view(mx.uint16) if array.dtype == mx.bfloat16 else array
    return Stored(_NAMES[array.dtype], np.array(bits, order="C"))


def array_of(stored: Stored) -> mx.array:
    array = mx.array(stored.data)
    return array.view(mx.bfloat16) if stored.dtype == "BF16" else array


def _frozen(state: Any, arrays: list[Stored]) -> Any:
    if isinstance(state, mx.array):
        arrays.append(stored_of(state))
        return {"array": len(arrays) - 1}
    if isinstance(state, list | tuple):
        return [_frozen(part, arrays) for part in state]
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise ValueError(f"{type(state).__name__} is not written to the disk")


def _thawed(tree: Any, arrays: Sequence[mx.array]) -> Any:
    if isinstance(tree, dict):
        return arrays[tree["array"]]
    if isinstance(tree, list):
        return [_thawed(part, arrays) for part in tree]
    return tree
