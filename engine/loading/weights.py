"""A checkpoint's tensors: found in its folder, checked, opened lazily, and put into a module.

Knows nothing of configs and families. Reads safetensors only: pickles can run code and are refused by name.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from engine.api.errors import CheckpointError
from engine.loading.safetensors import AGAIN, read_header

INDEX = "model.safetensors.index.json"

OTHER_FORMATS = {
    ".bin": "a pickle, which can run code",
    ".pt": "a pickle, which can run code",
    ".pth": "a pickle, which can run code",
    ".ckpt": "a pickle, which can run code",
    ".gguf": "in the GGUF format of llama.cpp",
    ".npz": "in an old MLX format",
    ".h5": "in a TensorFlow format",
    ".msgpack": "in a Flax format",
    ".onnx": "in the ONNX format",
}
"""Of weights that are not read, by the ends of their names, and what is wrong with each."""

# Beside a model's own weights: Mistral's second copy of them, and adapters.
_NOT_THE_MODEL = ("consolidated", "adapter")
_SHOWN = 4


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that hold the model's tensors, each tensor once. Raises `CheckpointError` if there are none."""
    found = sorted(folder.glob("*.safetensors"))
    if (indexed := _indexed(folder)) is not None:
        return indexed
    named = [path for path in found if path.name.startswith("model")]
    others = [path for path in found if not path.name.startswith(_NOT_THE_MODEL)]
    second_copy = [path for path in found if path.name.startswith("consolidated")]
    if files := named or others or second_copy:
        return tuple(files)
    raise _no_weights(folder)


def _indexed(folder: Path) -> tuple[Path, ...] | None:
    """The shards that the index names; `None` without an index, or beside a whole file it was not written for."""
    path = folder / INDEX
    if not path.is_file():
        return None
    try:
        names = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read: it is no index of weights.", AGAIN) from error
    missing = [name for name in names if not (folder / name).is_file()]
    if len(missing) == len(names) and any(folder.glob("model*.safetensors")):
        return None
    if missing:
        raise CheckpointError(
            f"{len(missing)} of the {len(names)} weight files of {folder.name} are missing: {listed(missing)}.",
            "The copy or download is incomplete; get these files too.",
        )
    return tuple(folder / name for name in names)


def _no_weights(folder: Path) -> CheckpointError:
    refused = sorted(path.name for path in folder.iterdir() if path.suffix in OTHER_FORMATS) if folder.is_dir() else []
    if not refused:
        return CheckpointError(
            f"{folder} has no weights: there is no .safetensors file in it.",
            "The copy or download is incomplete, or this is not a model's folder.",
        )
    why = OTHER_FORMATS[Path(refused[0]).suffix]
    return CheckpointError(
        f"The weights of {folder.name} are {why}: {listed(refused)}.",
        "Choose a version of the model with .safetensors files; the mlx-community organisation on the Hub has many.",
    )


def open_weights(folder: Path) -> dict[str, mx.array]:
    """Every tensor by its name in the files, lazily: nothing is read before it is evaluated, on this thread.

    Raises `CheckpointError` for what is missing, cut short, damaged or in another format.
    """
    weights: dict[str, mx.array] = {}
    for path in weight_files(folder):
        read_header(path)
        try:
            weights.update(mx.load(str(path)))
        except RuntimeError as error:
            raise CheckpointError(
                f"{path.name} cannot be opened: {error}.", "Choose a version of the model in another number format."
            ) from error
    return weights


def bind(module: nn.Module, weights: Mapping[str, mx.array]) -> None:
    """Give each parameter its weight. Raises `CheckpointError` naming what is missing, left over or does not fit."""
    parameters = dict(tree_flatten(module.parameters()))
    complaints = [
        _complaint("has no weight for", sorted(parameters.keys() - weights.keys())),
        _complaint("has weights that the model has no place for:", sorted(weights.keys() - parameters.keys())),
        _complaint("has weights that do not fit:", list(_misfits(parameters, weights))),
    ]
    if any(complaints):
        raise CheckpointError(
            "The checkpoint " + "; it ".join(filter(None, complaints)) + ".",
            "Its config.json and its weights do not belong together, or it is a variant that is not supported.",
        )
    module.load_weights(list(weights.items()))


def _misfits(parameters: Mapping[str, mx.array], weights: Mapping[str, mx.array]) -> Iterable[str]:
    for name in sorted(parameters.keys() & weights.keys()):
        wanted, given = parameters[name], weights[name]
        if wanted.shape != given.shape:
            yield f"{name} is {given.shape}, not {wanted.shape}"
        elif mx.issubdtype(wanted.dtype, mx.floating) != mx.issubdtype(given.dtype, mx.floating):
            yield f"{name} is {_name(given.dtype)}, not {_name(wanted.dtype)}"


def _name(dtype: mx.Dtype) -> str:
    return str(dtype).removeprefix("mlx.core.")


def _complaint(words: str, names: list[str]) -> str:
    return f"{words} {listed(names)}" if names else ""


def listed(names: list[str]) -> str:
    """The first few, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
