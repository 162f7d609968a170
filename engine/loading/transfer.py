"""One large file over HTTP into the Hub's cache, going on where an earlier try stopped, and checked by its hash.

Knows nothing of repositories. The Hub's own library starts a file anew after each interruption.
"""

import errno
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engine.api.errors import HubError


@dataclass(frozen=True, slots=True)
class Transfer:
    url: str
    headers: dict[str, str] = field(repr=False)
    target: Path
    size: int
    sha256: str


def fetch(transfer: Transfer, advance: Callable[[int], None]) -> None:
    """Make `target` hold the file. `advance` hears how many bytes are here, and may raise to stop.

    An interrupted file stays beside the target as `.incomplete`; one for which the disk was too small does not.
    """
    from huggingface_hub.file_download import http_get

    if transfer.target.is_file():
        advance(transfer.size)
        return
    part = transfer.target.with_name(f"{transfer.target.name}.incomplete")
    part.parent.mkdir(parents=True, exist_ok=True)
    held = part.stat().st_size if part.is_file() else 0
    if held > transfer.size:
        part.unlink()
        held = 0
    advance(held)
    try:
        with part.open("r+b" if held else "wb") as file:
            file.seek(held)
            http_get(
                transfer.url,
                file,
                resume_size=held,
                headers=transfer.headers,
                expected_size=transfer.size,
                tqdm_class=lambda **_: _Count(held, advance),
            )
    except OSError as error:
        if error.errno == errno.ENOSPC:
            part.unlink(missing_ok=True)
        raise
    _verify(part, transfer)
    part.replace(transfer.target)


def _verify(part: Path, transfer: Transfer) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != transfer.sha256:
        part.unlink()
        raise HubError(
            f"{transfer.url.rpartition('/')[2]} arrived damaged: its hash is not the one the Hub promised.",
            "Try again; nothing of it was kept.",
            code="hash_mismatch",
        )


class _Count:
    """What the Hub's library takes for a progress bar."""

    def __init__(self, done: int, advance: Callable[[int], None]) -> None:
        self._done, self._advance = done, advance

    def __enter__(self) -> "_Count":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, count: int) -> None:
        self._done += count
        self._advance(self._done)
