"""The folder that entries lie in, below one for all models: what is there, what is the best of it, what has to go.

Knows nothing of MLX or of when files are written. The folder is the truth and is looked at again at each question, so
that several engines may share it; whatever vanished, is torn or is none of ours is not there.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from engine.cache.entry_file import PART, SUFFIX, DamagedEntry, Entry, Head, Stored, read_arrays, read_head, write_entry
from engine.cache.keys import Key, common, usable

log = logging.getLogger("fovea.engine")

ABANDONED_S = 3600.0
"""Age at which a half-written file is nobody's any more."""


class EntryFolder:
    """Of the model told by `fingerprint`. The time of a file is when it was last used."""

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.root = root
        self.path = root / fingerprint
        self._fingerprint = fingerprint
        self._heads: dict[str, Head] = {}
        for path in self.path.glob(f"*{PART}"):
            used_ns, _ = _facts(path)
            if time.time() - used_ns / 1e9 > ABANDONED_S:
                _remove(path)

    # ---- on the engine's thread

    def best(self, worth: Callable[[Head], int], least: int) -> str | None:
        """The name of the entry that is worth most, and `least` at least."""
        self._look()
        best, best_worth = None, least - 1
        for name, head in self._heads.items():
            if (found := worth(head)) > best_worth:
                best, best_worth = name, found
        return best

    def head(self, name: str) -> Head:
        """Of one that `best` named."""
        return self._heads[name]

    def read(self, name: str) -> Iterator[Stored]:
        """As `read_arrays`."""
        self.touch(name)
        return read_arrays(self.path / name, self._heads[name])

    def touch(self, name: str) -> None:
        # Somebody else may have deleted it, or own it.
        with suppress(FileNotFoundError, PermissionError):
            os.utime(self.path / name)

    def forget(self, name: str) -> None:
        self._heads.pop(name, None)
        _remove(self.path / name)

    def clear(self) -> None:
        self._heads.clear()
        for path in self.files():
            _remove(path)

    # ---- on any thread

    def files(self) -> list[Path]:
        return list(self.path.glob(f"*{SUFFIX}"))

    def size(self, name: str) -> int:
        return _facts(self.path / name)[1]

    def sizes(self) -> list[int]:
        return [_facts(path)[1] for path in self.files()]

    def write(self, entry: Entry, go_on: Callable[[], bool]) -> Path | None:
        """As `write_entry`; `rename` makes an entry of the file."""
        # The texts of conversations, as numbers: nobody else's business.
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return write_entry(self.path, entry, go_on)

    def rename(self, part: Path, head: Head) -> None:
        """In the place of one of the same key, whoever wrote it; its beginnings go."""
        os.replace(part, self.path / _name(head))
        for path in self.files():
            with suppress(DamagedEntry, FileNotFoundError):
                if path.name != _name(head) and replaces(head, read_head(path)):
                    _remove(path)

    def make_room(self, size: int, max_bytes: int) -> int:
        """Delete what was used longest ago, of any model, until `size` bytes more are no more than `max_bytes`; returns
        how many entries that were."""
        files = sorted((*_facts(path), path) for path in self.root.glob(f"*/*{SUFFIX}"))
        held = sum(length for _, length, _ in files)
        gone = 0
        while held + size > max_bytes and gone < len(files):
            _, length, path = files[gone]
            _remove(path)
            held -= length
            gone += 1
        return gone

    def _look(self) -> None:
        paths = {path.name: path for path in self.files()}
        for name in self._heads.keys() - paths.keys():
            del self._heads[name]
        for name in paths.keys() - self._heads.keys():
            try:
                head = read_head(paths[name])
                if head.fingerprint != self._fingerprint or name != _name(head):
                    raise DamagedEntry("another model's, or under another's name")
            except DamagedEntry as error:
                log.warning("%s is no entry and is removed: %s", paths[name], error)
                _remove(paths[name])
            except OSError as error:
                log.info("%s cannot be opened: %s", paths[name], error)
            else:
                self._heads[name] = head


def replaces(new: Head, old: Head) -> bool:
    """Whether all that can be had of `old` can be had of `new`."""
    return new.trimmable and old.scope == new.scope and common(old.key, new.key) == len(old.key)


def covered(head: Head, scope: str, key: Key) -> int:
    """How many tokens of `key` (L,) can be had of an entry, wherever it ends."""
    return usable(head.key, head.trimmable, key, range(1, len(key) + 1)) if head.scope == scope else 0


def _name(head: Head) -> str:
    return sha256(head.scope.encode() + head.key.tobytes()).hexdigest()[:32] + SUFFIX


def _facts(path: Path) -> tuple[int, int]:
    """When it was last used, in nanoseconds, and its bytes; nothing where it is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s cannot be deleted: %s", path, error)
