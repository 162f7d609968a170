"""Which layers of a text decoder are packed, and how: what was asked for, mlx-lm's recipes, and the model's own word.

Knows nothing of files and names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import RequestError
from engine.api.quantization import Quantization
from engine.loading.source_names import in_order

Packing = dict[str, Any]
"""`group_size`, `bits` and `mode`, as MLX takes them."""
Choice = Callable[[str, nn.Module], Packing | bool]


@dataclass(frozen=True, slots=True)
class Packings:
    """By the layers' paths in the decoder."""

    shared: Packing
    """Of most layers."""
    layers: dict[str, Packing]
    """All that are packed."""
    plain: tuple[str, ...]
    """Layers that could be packed and are not, because the model wants it so."""
    uneven: tuple[str, ...]
    """Those whose rows no number of groups fills."""


def choose_packings(decoder: nn.Module, wanted: Quantization) -> Packings:
    """Raises `RequestError` when the recipe does not know the names of this decoder's layers."""
    shared = {"group_size": wanted.group_size, "bits": wanted.bits, "mode": wanted.mode.value}
    choices = [getattr(decoder, "quant_predicate", None), _recipe(decoder, wanted)]
    layers: dict[str, Packing] = {}
    plain, uneven = [], []
    for path, layer in in_order(dict(decoder.named_modules())):
        if not hasattr(layer, "to_quantized"):
            continue
        packing = _chosen(path, layer, shared, choices)
        if packing is None:
            plain.append(path)
        elif layer.weight.shape[-1] % packing["group_size"]:
            uneven.append(path)
        else:
            layers[path] = packing
    return Packings(shared, layers, tuple(plain), tuple(uneven))


def pack(weight: mx.array, packing: Packing) -> dict[str, mx.array]:
    """What a packed layer has in place of its `weight`, lazily."""
    weight, scales, *biases = mx.quantize(weight, **packing)
    return {"weight": weight, "scales": scales} | ({"biases": biases[0]} if biases else {})


def _chosen(path: str, layer: nn.Module, shared: Packing, choices: list[Choice | None]) -> Packing | None:
    """The model's own choice, such as a router that is never packed, goes before that of a recipe."""
    for choose in filter(None, choices):
        chosen = choose(path, layer)
        if chosen is False:
            return None
        if isinstance(chosen, dict):
            return {"mode": "affine", **chosen}
    return shared


def _recipe(decoder: nn.Module, wanted: Quantization) -> Choice | None:
    if wanted.recipe is None:
        return None
    from mlx_lm.convert import mixed_quant_predicate_builder

    try:
        return mixed_quant_predicate_builder(wanted.recipe.value, decoder, wanted.group_size)
    except ValueError as error:
        raise RequestError(
            f"{wanted.recipe.value} does not know the layers of this model.", "Leave --recipe out."
        ) from error
