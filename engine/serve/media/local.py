"""Files on this machine that a request names, from below the folders that it may name them in.

Knows nothing of what is in them. What lies elsewhere and what does not exist are refused in the same words.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from engine.api.errors import MediaError
from engine.serve.media.kinds import Wanted
from engine.serve.media.refusal import empty, too_large

_HERE = ("", "localhost")


def path_of(named: str) -> str:
    """Of a `file:` address, or the path that it is already. Raises `ValueError` for a file of another machine."""
    if named[:5].lower() != "file:":
        return named
    address = urlsplit(named)
    if address.netloc.lower() not in _HERE or address.query or address.fragment:
        raise ValueError("not a file of this machine")
    return os.fsdecode(unquote_to_bytes(address.path))


def read_local(named: str, folders: Sequence[Path], wanted: Wanted, room: int) -> bytes:
    """At most `room` bytes. Raises `MediaError`."""
    if not folders:
        raise MediaError(
            f"The {wanted.what} is a file on this machine, and none may be named here.",
            "Send its content as a data: URI.",
            code="media_files_off",
        )
    try:
        path = Path(path_of(named))
        if not path.is_absolute():
            raise _refusal(wanted)
        real = path.resolve(strict=True)
        for base in (folder.resolve() for folder in folders):
            if real.is_relative_to(base):
                with _opened(base, real.relative_to(base)) as file:
                    return _read(file, wanted, room)
    except (OSError, ValueError, RuntimeError) as error:
        raise _refusal(wanted) from error
    raise _refusal(wanted)


@contextmanager
def _opened(base: Path, below: Path) -> Iterator[int]:
    """A file descriptor. Each folder on the way is opened from the one above and no link is followed, so that nothing
    can be put in the place of what was looked at."""
    here = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *folders, name = below.parts or (".",)
        for folder in folders:
            above = here
            here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
            os.close(above)
        # Without O_NONBLOCK, opening a pipe would wait for whoever writes to it.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)
    try:
        yield file
    finally:
        os.close(file)


def _read(file: int, wanted: Wanted, room: int) -> bytes:
    about, most = os.fstat(file), min(wanted.max_bytes, room)
    if not stat.S_ISREG(about.st_mode):
        raise _refusal(wanted)
    if about.st_size > most:
        raise too_large(wanted, most)
    with os.fdopen(os.dup(file), "rb") as stream:
        # It may grow meanwhile.
        data = stream.read(about.st_size + 1)
    if len(data) > most:
        raise too_large(wanted, most)
    if not data:
        raise empty(wanted)
    return data


def _refusal(wanted: Wanted) -> MediaError:
    return MediaError(
        f"The {wanted.what} is no file that may be named here.",
        "Files are let in by their whole path, from the folders that the server was told of.",
        code="media_refused",
    )
