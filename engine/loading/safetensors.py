"""The header of a safetensors file, read and checked in plain Python: what it promises against what the file holds.

Knows nothing of models or arrays. Source: the format's own description, github.com/huggingface/safetensors.
"""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.api.errors import CheckpointError

AGAIN = "The copy or download is incomplete or damaged; get the file again."

_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 100_000_000
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class TensorEntry:
    dtype: str
    """As the format names it, such as "BF16"."""
    shape: tuple[int, ...]
    begin: int
    end: int
    """Byte offsets after the header."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Each tensor's entry by name. Raises `CheckpointError` naming the file when it cannot be what it says it is."""
    text, held = _read(path)
    entries = _entries(path, text)
    promised = _LENGTH.size + len(text) + max((entry.end for entry in entries.values()), default=0)
    if held < promised:
        raise _cut_short(path, held, promised)
    return entries


def read_format(path: Path) -> str:
    """Whose names and layouts the file says it has, such as "pt" or "mlx"; "pt" where it says nothing."""
    try:
        said = json.loads(_read(path)[0]).get("__metadata__") or {}
        return str(said.get("format", "pt"))
    except (ValueError, AttributeError) as error:
        raise _damaged(path) from error


def _read(path: Path) -> tuple[bytes, int]:
    """The header's text, and the length of the file."""
    try:
        held = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_LENGTH.size)
            if start == _LFS_POINTER[: _LENGTH.size]:
                raise CheckpointError(
                    f"{path.name} is a Git LFS pointer, not the weights themselves.",
                    "Run `git lfs pull` in its folder.",
                )
            length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
            if len(start) == _LENGTH.size and not 2 <= length <= _LONGEST_HEADER:
                raise CheckpointError(f"{path.name} is not a safetensors file.", AGAIN)
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror}.", AGAIN) from error
    if len(start) < _LENGTH.size or len(text) < length:
        raise _cut_short(path, held, max(_LENGTH.size + length, held + 1))
    return text, held


def _entries(path: Path, text: bytes) -> dict[str, TensorEntry]:
    try:
        written: dict[str, Any] = json.loads(text)
        return {
            name: TensorEntry(entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"])
            for name, entry in written.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(f"The header of {path.name} is damaged.", AGAIN)


def _cut_short(path: Path, held: int, promised: int) -> CheckpointError:
    return CheckpointError(f"{path.name} is cut short: it has {held:,} of {promised:,} bytes.", AGAIN)
