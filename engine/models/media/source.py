"""Gets at the bytes of one attached file, wherever they are: on disk, in memory, in a `data:` URI.

Knows nothing of what is in them. Nothing is ever fetched from a network.
"""

import base64
import binascii
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from engine.api.errors import MediaError
from engine.api.request import MediaPart

_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]+):", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Content:
    data: bytes = field(repr=False)
    name: str
    """What to call it in a message to a person."""

    @property
    def digest(self) -> str:
        """sha256, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class LocalFile:
    path: Path
    name: str
    """What to call it in a message to a person."""


def read_content(part: MediaPart, max_bytes: int) -> Content:
    """The bytes of `part`. Raises `MediaError` when there are none, or more than `max_bytes` (seen before reading)."""
    located = _locate(part, max_bytes)
    return located if isinstance(located, Content) else _read_file(located.path, located.name, max_bytes)


@contextmanager
def local_file(part: MediaPart, max_bytes: int) -> Iterator[LocalFile]:
    """`part` as a file, for decoders that want one: its own, or a copy that is gone afterwards. Raises as above."""
    located = _locate(part, max_bytes)
    if isinstance(located, LocalFile):
        with _opened(located.path, located.name) as file:
            _check_size(os.fstat(file.fileno()).st_size, max_bytes, located.name)
        yield located
        return
    with tempfile.NamedTemporaryFile(prefix="fovea-") as copy:
        copy.write(located.data)
        copy.flush()
        yield LocalFile(Path(copy.name), located.name)


def _locate(part: MediaPart, max_bytes: int) -> Content | LocalFile:
    source = part.source
    if isinstance(source, bytes):
        name = part.name or "the attachment"
        _check_size(len(source), max_bytes, name)
        return Content(source, name)
    if isinstance(source, Path):
        return LocalFile(source, part.name or source.name or str(source))
    scheme = _SCHEME.match(source)
    kind = scheme[1].lower() if scheme else ""
    if kind == "data":
        return _decode_uri(source, part.name or "the attachment", max_bytes)
    if kind and kind != "file" and source[len(kind) :].startswith("://"):
        raise MediaError(
            f"{source[:200]} is an address on a network, and Fovea fetches nothing by itself.",
            "Download the file and give its path.",
        )
    path = Path(url2pathname(urlsplit(source).path)) if kind == "file" else Path(source)
    return LocalFile(path, part.name or path.name)


def _check_size(size: int, max_bytes: int, name: str) -> None:
    if size == 0:
        raise MediaError(f"{name} is empty (0 bytes).", "Perhaps it was not copied or downloaded to the end.")
    if size > max_bytes:
        raise MediaError(
            f"{name} has {size:,} bytes, more than the {max_bytes:,} that are opened.", "Save a smaller copy of it."
        )


def _read_file(path: Path, name: str, max_bytes: int) -> Content:
    with _opened(path, name) as file:
        size = os.fstat(file.fileno()).st_size
        _check_size(size, max_bytes, name)
        return Content(file.read(size), name)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[BinaryIO]:
    """An ordinary file that can be read; whatever goes wrong with it is a `MediaError`."""
    try:
        if path.is_dir():
            raise MediaError(f"{name} is a folder.", "Choose a file in it.")
        if not path.exists():
            raise MediaError(f"There is no file {path}.", "Check the spelling and the folder.")
        if not path.is_file():
            raise MediaError(f"{name} is not an ordinary file.", "Save its content to a file first.")
        with path.open("rb") as file:
            yield file
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MediaError(f"{name[:200]} cannot be read: {reason}.", "Check the path and who may read it.") from error


def _decode_uri(uri: str, name: str, max_bytes: int) -> Content:
    """RFC 2397, with the base64 held to its alphabet: a wrong letter is an error, not a different picture."""
    header, comma, payload = uri.partition(",")
    if not comma:
        raise MediaError(f"The data: URI of {name} has no comma and so no content.", "Copy it once more, to the end.")
    if not header.lower().endswith(";base64"):
        # An escaped byte takes three characters, so this cannot refuse too much.
        _check_size(len(payload) // 3 + 1, max_bytes, name)
        data = unquote_to_bytes(payload)
    else:
        encoded = re.sub(r"\s+", "", unquote_to_bytes(payload).decode("latin-1"))
        _check_size(len(encoded) * 3 // 4, max_bytes, name)
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise MediaError(
                f"The data: URI of {name} is not correct base64: {error}.", "Copy it once more, to the end."
            ) from error
    _check_size(len(data), max_bytes, name)
    return Content(data, name)
