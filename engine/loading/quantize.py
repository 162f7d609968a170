"""Quantised checkpoints: the layers made ready for packed weights, by mlx-lm's rules.

Knows nothing of files. A foreign way of packing is refused by name, never guessed at.
"""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError
from engine.loading.config import text_config
from engine.loading.fp8 import METHOD as FP8

_PACKED = {"mxfp4": {"group_size": 32, "bits": 4}, "mxfp8": {"group_size": 32, "bits": 8}}


def quantization_of(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The `quantization` block as mlx-lm writes it, `None` for plain weights. Raises `CheckpointError` for others."""
    block = config.get("quantization")
    if block is None:
        block = config.get("quantization_config") or text_config(config).get("quantization_config")
    if not block:
        return None
    method = block.get("quant_method")
    if method == FP8:
        # Unpacked as they are read (`engine.loading.fp8`): plain from then on.
        return None
    if method in _PACKED:
        return {**_PACKED[method], "mode": method}
    if method is not None or "bits" not in block:
        raise CheckpointError(
            f"The weights are packed the way of {method or 'an unknown program'}, which is not supported.",
            "Choose the original, or a version quantised for MLX, such as those of mlx-community on the Hub.",
        )
    return dict(block)


def describe_quantization(block: Mapping[str, Any] | None) -> str:
    """Such as "4-bit affine"; "mixed" where single layers have other bits; empty without a block."""
    if block is None:
        return ""
    kinds = {_kind({**block, **layer}) for layer in block.values() if isinstance(layer, Mapping)}
    return _kind(block) + (", mixed" if kinds - {_kind(block)} else "")


def _kind(block: Mapping[str, Any]) -> str:
    return f"{block['bits']}-bit {block.get('mode', 'affine')}"


def renames(before: Mapping[str, mx.array], after: Mapping[str, mx.array]) -> dict[str, str]:
    """Module paths in the checkpoint -> in the module, told by which array ended up under which name."""
    names = {id(array): name for name, array in after.items()}
    pairs = ((name, names.get(id(array))) for name, array in before.items())
    return {_module(old): _module(new) for old, new in pairs if new is not None}


def _module(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def packings(
    module: nn.Module, block: Mapping[str, Any], weights: Mapping[str, mx.array], paths: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """How each packed layer is packed, by its path: the arguments of `to_quantized`. `weights` have the module's names.

    A layer that `block` names, by its path in the checkpoint (`paths` leads from there to the module's), is packed as
    it says, or not at all when it says `false`. For others the way of packing follows from the shapes of weight and
    scales, as in mlx-lm. `module` is not quantised yet.
    """
    from mlx_lm.utils import infer_quant_config

    shared = {key: block[key] for key in ("group_size", "bits", "mode") if key in block}
    said = {paths.get(path, path): layer for path, layer in block.items() if isinstance(layer, (Mapping, bool))}
    found: dict[str, dict[str, Any]] = {}
    for path, layer in module.named_modules():
        if not hasattr(layer, "to_quantized") or f"{path}.scales" not in weights or said.get(path) is False:
            continue
        if isinstance(said.get(path), Mapping):
            # MLX takes a layer that names no mode of its own for an affine one, whatever the others are.
            found[path] = {**shared, "mode": "affine", **said[path]}
            continue
        try:
            found[path] = infer_quant_config(path, layer, weights)
        except (ValueError, KeyError, ZeroDivisionError) as error:
            raise CheckpointError(f"How {path} is packed cannot be told.", "Choose another version.") from error
        if f"{path}.global_scale" in weights:
            found[path]["global_scale"] = True
    return found


def quantize(module: nn.Module, packed: Mapping[str, dict[str, Any]]) -> None:
    """Swap the packed layers for quantised ones, in place."""
    try:
        nn.quantize(module, class_predicate=lambda path, _: packed.get(path, False))
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"The config.json asks for a quantisation that is not possible: {error}", "Choose another version."
        ) from error


def unpack(weights: Mapping[str, mx.array], packed: Mapping[str, dict[str, Any]]) -> dict[str, mx.array]:
    """The same weights as plain float32, lazily, for a module that was not quantised."""
    plain = dict(weights)
    for path, packing in packed.items():
        scales, biases, global_scale = (
            plain.pop(f"{path}.{key}", None) for key in ("scales", "biases", "global_scale")
        )
        if biases is not None:
            # The product of two bfloat16 numbers does not fit into one.
            scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
        layout = {key: packing[key] for key in ("group_size", "bits", "mode") if key in packing}
        plain[f"{path}.weight"] = mx.dequantize(
            plain[f"{path}.weight"], scales, biases, global_scale=global_scale, dtype=mx.float32, **layout
        )
    return plain
