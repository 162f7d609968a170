"""Tiny checkpoints for the tests of loading, and the means to break them."""

import json
import shutil
from pathlib import Path

import mlx.core as mx

from engine.device import Device, DeviceKind

CPU = Device(DeviceKind.CPU, "a CPU", "MKL", 1 << 34)
METAL = Device(DeviceKind.METAL, "a GPU", "Accelerate", 1 << 34)
"""Where nothing is widened."""


def copy_of(folder: Path, place: Path) -> Path:
    return Path(shutil.copytree(folder, place / "model"))


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, drop: str = "", **added: mx.array) -> None:
    path = folder / "model.safetensors"
    weights = {name: array for name, array in mx.load(str(path)).items() if name != drop}
    mx.eval(weights)
    mx.save_safetensors(str(path), {**weights, **{name.replace("__", "."): array for name, array in added.items()}})
