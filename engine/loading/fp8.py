"""Weights as DeepSeek and Mistral publish them, numbers of eight bits with a scale for each block: unpacked as they are
read.

Knows no family. Source: transformers `integrations/finegrained_fp8.py`; what was to be done to activations is left out,
which only makes them more exact.
"""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.loading.weights import listed

METHOD = "fp8"

_SCALE, _ACTIVATIONS = ".weight_scale_inv", ".activation_scale"


def unpack_fp8(weights: Mapping[str, mx.array], block: Mapping[str, Any]) -> dict[str, mx.array]:
    """`weights`, by the names in the files, as bfloat16, lazily; `block` is the config's `quantization_config`. Raises
    `CheckpointError` for scales that do not fit."""
    plain = {name: tensor for name, tensor in weights.items() if not name.endswith((_SCALE, _ACTIVATIONS))}
    size = block.get("weight_block_size")
    for name in [name for name in weights if name.endswith(_SCALE)]:
        target = name.removesuffix(_SCALE) + ".weight"
        if target not in plain or plain[target].dtype != mx.uint8 or plain[target].ndim != 2:
            raise _misfit([name])
        plain[target] = _unpacked(plain[target], weights[name], size, name)
    if bare := sorted(name for name, tensor in plain.items() if tensor.dtype == mx.uint8):
        raise _misfit(bare)
    return plain


def _unpacked(weight: mx.array, scale: mx.array, size: list[int] | None, name: str) -> mx.array:
    """(out, in) uint8 with one scale, or with one for each block of `size`."""
    numbers = mx.from_fp8(weight, dtype=mx.float32)
    scale = scale.astype(mx.float32)
    if scale.size > 1:
        rows, columns = weight.shape
        if size is None or scale.shape != (-(-rows // size[0]), -(-columns // size[1])):
            raise _misfit([name])
        scale = mx.repeat(mx.repeat(scale, size[0], axis=0), size[1], axis=1)[:rows, :columns]
    return (numbers * scale).astype(mx.bfloat16)


def _misfit(names: list[str]) -> CheckpointError:
    return CheckpointError(
        f"The scales of the checkpoint's eight-bit weights do not fit them: {listed(names)}.",
        "Choose the original, or a version quantised for MLX, such as those of mlx-community on the Hub.",
    )
