"""One entry on the disk: a safetensors file of a key and arrays, which says itself whether it is whole.

Knows nothing of MLX or caches, nor of which entries are worth it. What it reads is checked before it is believed, and
nothing in it is ever run.
"""

import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from engine.cache.keys import Key

SUFFIX = ".safetensors"
PART = ".part"
"""Of a file that is being written."""

_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 10_000_000
_PIECE = 4 << 20
"""Bytes written between two looks at whether to go on."""

# bfloat16, which NumPy lacks, goes by its bits.
_TYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "F16": np.float16,
    "BF16": np.uint16,
    "U32": np.uint32,
    "I32": np.int32,
    "F32": np.float32,
    "U64": np.uint64,
    "I64": np.int64,
    "F64": np.float64,
}


class DamagedEntry(Exception):
    """The file is torn, altered, or none of ours."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An array as plain data."""

    dtype: str
    """As safetensors names it, such as "BF16"."""
    data: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True)
class Head:
    """What an entry says of itself."""

    fingerprint: str
    """Of the model and of all that its caches depend on."""
    scope: str
    key: Key = field(repr=False)
    trimmable: bool
    tree: str = field(repr=False)
    """JSON: where the arrays stand in the state of the caches."""


@dataclass(frozen=True, slots=True)
class Entry:
    head: Head
    arrays: Sequence[Stored] = field(repr=False)

    @property
    def bytes(self) -> int:
        return self.head.key.nbytes + sum(array.data.nbytes for array in self.arrays)


def write_entry(folder: Path, entry: Entry, go_on: Callable[[], bool]) -> Path | None:
    """Write to a file of a temporary name in `folder`, down to the disk itself; `None`, and no file, once `go_on` says
    no. Raises `OSError`."""
    head = entry.head
    stored = [("key", Stored("I64", head.key)), *((str(number), array) for number, array in enumerate(entry.arrays))]
    said = {"fingerprint": head.fingerprint, "scope": head.scope, "tree": head.tree}
    header = _header(said | {"trimmable": str(head.trimmable)}, stored)
    checksum = _checksum_of(header)
    for _, array in stored:
        checksum = zlib.crc32(_bytes(array.data), checksum)
    header["__metadata__"]["checksum"] = f"{checksum:08x}"
    text = _dumped(header)
    number, name = tempfile.mkstemp(PART, "", folder)
    path, whole = Path(name), False
    try:
        with os.fdopen(number, "wb") as file:
            file.write(_LENGTH.pack(len(text)) + text)
            for piece in (piece for _, array in stored for piece in _pieces(array.data)):
                if not go_on():
                    return None
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        whole = True
    finally:
        if not whole:
            path.unlink(missing_ok=True)
    return path


def read_head(path: Path) -> Head:
    """Raises `DamagedEntry`, and `OSError` where the file cannot be opened."""
    with path.open("rb") as file:
        return _opened(file)[0]


def read_arrays(path: Path, head: Head) -> Iterator[Stored]:
    """The arrays of the entry with this `head`, one by one; believe them once all have come. Raises as `read_head`
    does."""
    with path.open("rb") as file:
        found, entries, header, said = _opened(file)
        if (found.fingerprint, found.scope, found.tree) != (head.fingerprint, head.scope, head.tree):
            raise DamagedEntry(f"{path.name} has been replaced")
        checksum = zlib.crc32(_bytes(found.key), _checksum_of(header))
        for dtype, shape in entries[1:]:
            data = _read(file, dtype, shape)
            checksum = zlib.crc32(_bytes(data), checksum)
            yield Stored(dtype, data)
        if f"{checksum:08x}" != said or not np.array_equal(found.key, head.key):
            raise DamagedEntry(f"{path.name} has been altered")


_Shaped = tuple[str, tuple[int, ...]]


def _opened(file: BinaryIO) -> tuple[Head, list[_Shaped], dict[str, Any], str]:
    """The head, the types and shapes of the arrays, the header without its checksum, and the checksum. The file
    stands behind the key."""
    try:
        header = _loaded(file)
        metadata = header["__metadata__"]
        said = metadata.pop("checksum")
        entries = [(entry["dtype"], tuple(entry["shape"])) for name, entry in header.items() if name != "__metadata__"]
        promised = sum(np.dtype(_TYPES[dtype]).itemsize * _size(shape) for dtype, shape in entries)
        left = os.fstat(file.fileno()).st_size - file.tell()
        if left != promised or not entries or entries[0][0] != "I64" or len(entries[0][1]) != 1:
            raise DamagedEntry(f"{left} bytes where {promised} should be")
        key = _read(file, *entries[0])
        trimmable = {"True": True, "False": False}[metadata["trimmable"]]
        head = Head(metadata["fingerprint"], metadata["scope"], key, trimmable, metadata["tree"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise DamagedEntry(f"no header: {error!r}") from error
    return head, entries, header, str(said)


def _loaded(file: BinaryIO) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    if length > _LONGEST_HEADER:
        raise DamagedEntry(f"a header of {length} bytes")
    return json.loads(file.read(length))


def _header(metadata: dict[str, str], stored: Sequence[tuple[str, Stored]]) -> dict[str, Any]:
    header: dict[str, Any] = {"__metadata__": metadata}
    begin = 0
    for name, array in stored:
        end = begin + array.data.nbytes
        header[name] = {"dtype": array.dtype, "shape": list(array.data.shape), "data_offsets": [begin, end]}
        begin = end
    return header


def _dumped(header: dict[str, Any]) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _checksum_of(header: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(header, sort_keys=True).encode())


def _size(shape: tuple[int, ...]) -> int:
    # A product in Python's numbers: one of NumPy's could wrap around.
    size = 1
    for length in shape:
        if not isinstance(length, int) or length < 0:
            raise ValueError(f"a length of {length}")
        size *= length
    return size


def _read(file: BinaryIO, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    data = np.empty(shape, _TYPES[dtype])
    if file.readinto(_bytes(data)) != data.nbytes:
        raise DamagedEntry("cut short")
    return data


def _bytes(data: np.ndarray) -> np.ndarray:
    return data.reshape(-1).view(np.uint8)


def _pieces(data: np.ndarray) -> Iterator[np.ndarray]:
    flat = _bytes(data)
    for start in range(0, len(flat), _PIECE):
        yield flat[start : start + _PIECE]
