"""Entries kept on the disk: found by how a key begins, written in the background.

Knows nothing of MLX or caches: the thread that writes is given plain data, and touches nothing else.
"""

import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from engine.api.events import CacheCounts
from engine.cache.counts import Counts
from engine.cache.entry_file import Entry, Head, Stored
from engine.cache.entry_folder import EntryFolder, covered, replaces
from engine.cache.keys import Key, Scope, usable

log = logging.getLogger("fovea.engine")

MOST_WAITING = 1 << 30
"""Bytes that may wait to be written, unless it is a single entry."""


@dataclass(frozen=True, slots=True)
class DiskLimits:
    max_bytes: int
    """Of the entries of all models together."""
    least_free: int = 2 << 30
    """Bytes of the disk that are left to others."""
    least_tokens: int = 256
    """Of an entry that is worth a file, and of what one has to save."""
    closing_s: float = 0.8
    """How long what waits to be written may take at the end."""


@dataclass(frozen=True, slots=True)
class _Job:
    entry: Entry
    epoch: int


class DiskStore:
    """Of the model told by `fingerprint`. But for the writing, everything happens on the caller's thread."""

    def __init__(self, folder: Path, fingerprint: str, limits: DiskLimits) -> None:
        self._fingerprint = fingerprint
        self._limits = limits
        self._folder = EntryFolder(folder, fingerprint)
        self._counts = Counts()
        self._worker: threading.Thread | None = None
        self._changed = threading.Condition()
        """Guards what follows, and the moment in which a file becomes an entry."""
        self._jobs: deque[_Job] = deque()
        self._current: _Job | None = None
        self._epoch = 0
        self._deadline: float | None = None
        """Once it closes."""

    def scope_of(self, scope: Scope) -> str:
        """What stands for a scope on the disk, where no tenant's name is written."""
        return sha256(repr((self._fingerprint, scope)).encode()).hexdigest()

    def find(self, scope: Scope, key: Key, stops: Sequence[int], here: int) -> tuple[str, int] | None:
        """The entry that saves most of `key` (L,) up to one of `stops`, and its bytes; if that is worth it where `here`
        tokens are saved anyhow."""
        least = here + self._limits.least_tokens
        if not stops or stops[-1] < least:
            return None
        hashed = self.scope_of(scope)

        def worth(head: Head) -> int:
            return usable(head.key, head.trimmable, key, stops) if head.scope == hashed else 0

        name = self._folder.best(worth, least)
        if name is None:
            self._counts.misses += 1
            return None
        return name, self._folder.size(name)

    def read(self, name: str) -> tuple[Head, Iterator[Stored]]:
        """As `read_arrays`. Whoever cannot use what comes should `forget` it."""
        return self._folder.head(name), self._folder.read(name)

    def forget(self, name: str) -> None:
        self._folder.forget(name)

    def saved(self, tokens: int) -> None:
        """An entry was read, and saves so many."""
        self._counts.found(tokens)

    def wants(self, scope: Scope, key: Key, size: int) -> bool:
        """Whether an entry of `size` bytes is worth a file. Not if seven eighths of it are here: a conversation that
        grows is written anew when it has become longer by an eighth, so that no disk is worn out."""
        hashed = self.scope_of(scope)
        name = self._folder.best(lambda head: covered(head, hashed, key), 1)
        here = 0 if name is None else covered(self._folder.head(name), hashed, key)
        if name is not None:
            self._folder.touch(name)
        with self._changed:
            jobs = [*self._jobs, *([self._current] if self._current else [])]
            closed = self._deadline is not None
        here = max([here, *(covered(job.entry.head, hashed, key) for job in jobs)])
        waiting = sum(job.entry.bytes for job in jobs)
        if closed or size > self._limits.max_bytes or (jobs and waiting + size > MOST_WAITING):
            return False
        return len(key) - here >= max(self._limits.least_tokens, len(key) // 8)

    def put(self, scope: Scope, key: Key, trimmable: bool, tree: str, arrays: Sequence[Stored]) -> None:
        """Have an entry written, in the place of those of its beginnings that still wait. The arrays are the store's
        own from now on."""
        entry = Entry(Head(self._fingerprint, self.scope_of(scope), key, trimmable, tree), arrays)
        with self._changed:
            self._jobs = deque(job for job in self._jobs if not replaces(entry.head, job.entry.head))
            self._jobs.append(_Job(entry, self._epoch))
            self._changed.notify_all()
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="cache writer", daemon=True)
            self._worker.start()

    def flush(self, timeout: float) -> bool:
        """Wait until nothing waits to be written; whether that came to be."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._current, timeout)

    def reset(self) -> None:
        """Delete the model's entries, those on their way included."""
        with self._changed:
            self._jobs.clear()
            self._epoch += 1
            self._folder.clear()
        self._counts = Counts()

    def close(self) -> None:
        """What waits is written in time, or dropped."""
        with self._changed:
            self._deadline = time.monotonic() + self._limits.closing_s
            self._changed.notify_all()
        if self._worker is not None:
            # A little longer, for what was begun to be taken away.
            self._worker.join(self._limits.closing_s + 0.2)

    @property
    def counts(self) -> CacheCounts:
        sizes = self._folder.sizes()
        return self._counts.told(len(sizes), sum(sizes))

    # ---- the worker's thread

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._write(job)
            except OSError as error:
                log.warning("Nothing more is kept in %s: %s", self._folder.path, error)
                with self._changed:
                    self._deadline = time.monotonic()
            finally:
                with self._changed:
                    self._current = None
                    self._changed.notify_all()

    def _next(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._deadline is not None)
            if not self._jobs or self._too_late:
                self._jobs.clear()
                self._changed.notify_all()
                return None
            self._current = self._jobs.popleft()
            return self._current

    @property
    def _too_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _write(self, job: _Job) -> None:
        def go_on() -> bool:
            return job.epoch == self._epoch and not self._too_late

        size = job.entry.bytes
        self._counts.evictions += self._folder.make_room(size, self._limits.max_bytes)
        if not self._disk_has(size):
            return
        part = self._folder.write(job.entry, go_on)
        with self._changed:
            if part is not None and go_on():
                self._folder.rename(part, job.entry.head)
            elif part is not None:
                part.unlink()

    def _disk_has(self, size: int) -> bool:
        there = next(path for path in (self._folder.root, *self._folder.root.absolute().parents) if path.exists())
        return shutil.disk_usage(there).free >= size + self._limits.least_free
