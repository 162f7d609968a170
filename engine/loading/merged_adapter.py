"""A LoRA adapter that lies beside a model's weights and belongs to it: added to them as they are read.

Knows no family. Source: PEFT's `LoraConfig` and the names that it saves; the maths is arXiv 2106.09685.
"""

from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.loading.config import read_json
from engine.loading.safetensors import read_header
from engine.loading.weights import listed

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

PREFIX = "base_model.model."
FIRST, SECOND = ".lora_A.weight", ".lora_B.weight"

_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "layer_replication": (None,),
}
"""What an adapter's settings may say: anything else would change what is added."""


def merge_adapter(folder: Path, weights: Mapping[str, mx.array]) -> dict[str, mx.array]:
    """`weights`, by the names in the files, with what the adapter of `folder` adds to them, lazily; as they are where
    there is none. Raises `CheckpointError` for one that cannot be added."""
    merged = dict(weights)
    if not (folder / WEIGHTS).is_file():
        return merged
    scale = scale_of(folder)
    read_header(folder / WEIGHTS)
    found = mx.load(str(folder / WEIGHTS))
    for name in [name for name in found if name.endswith(FIRST)]:
        first, second = found.pop(name), found.pop(name.removesuffix(FIRST) + SECOND, None)
        target = name.removeprefix(PREFIX).removesuffix(FIRST) + ".weight"
        if second is None or target not in merged or target.removesuffix("weight") + "scales" in merged:
            raise _misfit(folder, [name])
        weight = merged[target]
        if weight.shape != (second.shape[0], first.shape[1]):
            raise _misfit(folder, [name])
        # In float32: what is added is small beside the weight.
        addition = scale * (second.astype(mx.float32) @ first.astype(mx.float32))
        merged[target] = (weight.astype(mx.float32) + addition).astype(weight.dtype)
    if found:
        raise _misfit(folder, sorted(found))
    return merged


def scale_of(folder: Path) -> float:
    """What PEFT multiplies the product of the two by. Raises `CheckpointError` for an adapter that is no plain one."""
    config = read_json(folder / CONFIG)
    odd = [name for name, plain in _PLAIN.items() if name in config and config[name] not in plain]
    if odd or not config.get("r"):
        raise CheckpointError(
            f"The adapter in {folder} is of a kind that is not known here ({', '.join(odd) or 'r'}).",
            "Choose a plain LoRA adapter, or a version of the model that it is merged into.",
        )
    rank = config["r"]
    return config["lora_alpha"] / (sqrt(rank) if config.get("use_rslora") else rank)


def _misfit(folder: Path, names: list[str]) -> CheckpointError:
    return CheckpointError(
        f"The adapter beside the weights of {folder.name} does not fit them: {listed(names)}.",
        "Choose a version of the model whose adapter is merged, or that is not packed.",
    )
