"""A conversion onto the disk: into a folder beside its place, which gets its name when all of it is there.

Knows nothing of what is converted how. Whatever happens, nothing half-written stays.
"""

import errno
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.api.errors import CheckpointError, DiskError, InternalError, RequestError
from engine.loading.checkpoint import prepare, reading_error
from engine.loading.convert import Conversion
from engine.loading.shards import write_shards
from engine.loading.weights import OTHER_FORMATS
from engine.sizes import format_size

_CONFIG = "config.json"
_TEMPLATES = "additional_chat_templates"
"""The one folder that belongs to a checkpoint."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


def check_target(target: Path) -> None:
    """Raises `RequestError` for a place where something is already."""
    if target.is_dir() and any(target.iterdir()):
        raise RequestError(f"{target} is not empty.", "Give the name of a new folder.", code="target_exists")
    if target.exists() and not target.is_dir():
        raise RequestError(f"{target} is a file.", "Give the name of a new folder.", code="target_exists")


def write(conversion: Conversion, target: Path) -> Iterator[tuple[int, int]]:
    """Write the model, look whether it can be loaded, and give it its place; yields bytes done and in total.

    Raises `DiskError` when there is no room or no permission, `CheckpointError` when the source cannot be read.
    """
    total = conversion.size
    others = list(_others(conversion.source))
    try:
        with _beside(target) as scratch:
            _check_room(scratch, total + sum(path.stat().st_size for path in others))
            yield from _write_tensors(conversion, scratch, total)
            for path in others:
                copy = scratch / path.relative_to(conversion.source)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, copy)
            _write_json(scratch / _CONFIG, conversion.config)
            _check(scratch)
    except OSError as error:
        raise _disk_error(error, target, total) from error


def _write_tensors(conversion: Conversion, scratch: Path, total: int) -> Iterator[tuple[int, int]]:
    sizes = {name: tensor.nbytes for name, tensor in conversion.tensors.items()}
    done = 0
    try:
        for name in write_shards(scratch, conversion.tensors, conversion.layout):
            done += sizes[name]
            yield done, total
    except RuntimeError as error:
        raise reading_error(conversion.source.name, total, error) from error


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of `target` in the end, or goes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    scratch.mkdir()
    try:
        yield scratch
        scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _others(source: Path) -> Iterator[Path]:
    """Everything of a checkpoint but its weights, what lists them, and its config."""
    for path in sorted([*source.glob("[!.]*"), *source.glob(f"{_TEMPLATES}/*")]):
        is_weights = path.suffix in (".safetensors", *OTHER_FORMATS) or path.name.endswith(".index.json")
        if path.is_file() and not is_weights and path.name != _CONFIG:
            yield path


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskError(
            f"The converted model needs {format_size(needed)} on the disk, and {format_size(free)} are free there.",
            "Free some space, choose another disk, or fewer bits.",
        )


def _check(folder: Path) -> None:
    try:
        prepare(folder.name, folder, None)
    except CheckpointError as error:
        raise InternalError(
            f"The converted model could not be loaded, so it was not kept: {error.message}",
            "This is a defect of Fovea, and worth a report.",
        ) from error


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(dict(sorted(content.items())), indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


def _disk_error(error: OSError, target: Path, size: int) -> DiskError:
    if error.errno in _NO_ROOM:
        return DiskError(
            f"The disk filled up while {target.name} was written; nothing of it was kept.",
            f"Free {format_size(size)}, or choose another disk.",
        )
    return DiskError(f"{target} cannot be written: {error.strerror or error}.", "Check who owns the folder above it.")
