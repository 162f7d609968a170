"""Attention by caches that know a cheaper way to attend to what they keep than handing it out, in mlx-lm's layers.

Knows no model: what has to ask is found by its code, which calls mlx-lm's `scaled_dot_product_attention`.
"""

from abc import ABC, abstractmethod
from inspect import getmembers, isfunction
from types import FunctionType

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.base import scaled_dot_product_attention

_NAME = scaled_dot_product_attention.__name__

Mask = mx.array | str | None


class AttendingCache(ABC):
    """In front of an mlx-lm cache."""

    @abstractmethod
    def attend(
        self, queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: Mask, sinks: mx.array | None
    ) -> mx.array:
        """`queries` (B, H, L, D) over `keys` and `values` -> (B, H, L, D'). Those are arrays that the cache gave out,
        not evaluated yet, or others made of them."""


def attention(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    cache: object,
    scale: float,
    mask: Mask,
    sinks: mx.array | None = None,
) -> mx.array:
    """As mlx-lm's, but for a cache that attends by itself."""
    if isinstance(cache, AttendingCache):
        return cache.attend(queries, keys, values, scale, mask, sinks)
    return scaled_dot_product_attention(queries, keys, values, cache=cache, scale=scale, mask=mask, sinks=sinks)


def let_caches_attend(model: nn.Module) -> None:
    """Have the layers of `model` ask their caches. One whose code attends in another way stays as it is, and is given
    keys and values."""
    kinds: dict[type, type] = {}
    for module in model.modules():
        kind = type(module)
        if kind not in kinds:
            kinds[kind] = _asking(kind)
        if kinds[kind] is not kind:
            module.__class__ = kinds[kind]


def _asking(kind: type) -> type:
    methods = {name: _rebound(method) for name, method in getmembers(kind, isfunction) if _attends(method)}
    return type(kind.__name__, (kind,), methods) if methods else kind


def _attends(method: FunctionType) -> bool:
    return _NAME in method.__code__.co_names and method.__globals__.get(_NAME) is scaled_dot_product_attention


def _rebound(method: FunctionType) -> FunctionType:
    """The same code with the other function by that name; mlx-lm's module itself stays as it is for others."""
    names = method.__globals__ | {_NAME: attention}
    rebound = FunctionType(method.__code__, names, method.__name__, method.__defaults__, method.__closure__)
    rebound.__kwdefaults__ = method.__kwdefaults__
    return rebound
