"""Entries on the disk: what is kept, found, replaced and let go, by one engine, by two, and after a crash."""

import logging
import os
import threading
import time
from dataclasses import replace

import pytest

from engine.cache.disk import DiskLimits, DiskStore
from engine.cache.entry_file import PART
from engine.cache.entry_folder import ABANDONED_S, EntryFolder
from tests.cache.entries import FINGERPRINT, entry, numbers

LIMITS = DiskLimits(1 << 20, least_free=0, least_tokens=4, closing_s=5.0)
SCOPE = (None, "")
PATIENCE_S = 60


def opened(folder, fingerprint=FINGERPRINT, **limits):
    return DiskStore(folder, fingerprint, replace(LIMITS, **limits))


@pytest.fixture
def disk(tmp_path):
    store = opened(tmp_path)
    yield store
    store.close()


def put(store, *tokens, scope=SCOPE, trimmable=True, size=64, fill=1):
    given = entry(*tokens, size=size, fill=fill)
    store.put(scope, given.head.key, trimmable, given.head.tree, given.arrays)
    assert store.flush(PATIENCE_S)


def found(store, *tokens, scope=SCOPE, stops=None, here=0):
    """The key of what is found."""
    key = numbers(*tokens)
    best = store.find(scope, key, stops or range(1, len(tokens)), here)
    return None if best is None else store.read(best[0])[0].key.tolist()


def files(folder):
    return sorted(folder.glob("*/*"))


def test_what_was_put_is_found_again_after_a_restart(tmp_path, disk):
    put(disk, 1, 2, 3, 4, 5, fill=7)
    disk.close()
    again = opened(tmp_path)
    name, size = again.find(SCOPE, numbers(1, 2, 3, 4, 5, 6), range(1, 6), 0)
    head, arrays = again.read(name)
    assert head.key.tolist() == [1, 2, 3, 4, 5]
    assert [array.data.tolist() for array in arrays] == [[7] * 64]
    assert size == files(tmp_path)[0].stat().st_size


def test_it_has_to_be_worth_it(disk):
    put(disk, 1, 2, 3, 4, 5)
    assert found(disk, 1, 2, 3, 4, 9) == [1, 2, 3, 4, 5]
    assert found(disk, 1, 2, 3, 9, 9) is None
    assert found(disk, 1, 2, 3, 4, 5, 6, here=1) == [1, 2, 3, 4, 5]
    assert found(disk, 1, 2, 3, 4, 5, 6, here=2) is None


def test_stops_are_respected_and_a_whole_is_a_whole(disk):
    put(disk, 1, 2, 3, 4, 5, trimmable=False)
    assert found(disk, 1, 2, 3, 4, 9, 9) is None
    assert found(disk, 1, 2, 3, 4, 5, 6, stops=[4]) is None
    assert found(disk, 1, 2, 3, 4, 5, 6) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("other", [("pictures", ""), (None, "somebody else"), (None,)])
def test_scopes_are_kept_apart(disk, other):
    put(disk, 1, 2, 3, 4)
    assert found(disk, 1, 2, 3, 4, 5, scope=other) is None
    assert disk.wants(other, numbers(1, 2, 3, 4), 64)
    put(disk, 1, 2, 3, 4, scope=other)
    assert disk.counts.entries == 2


def test_no_tenants_name_is_written(tmp_path, disk):
    put(disk, 1, 2, 3, 4, scope=(None, "a-secret-name"))
    (path,) = files(tmp_path)
    assert b"a-secret-name" not in path.read_bytes()
    assert "a-secret-name" not in str(path)


def test_a_folder_of_ones_own(tmp_path, disk):
    put(disk, 1, 2, 3, 4)
    assert (tmp_path / FINGERPRINT).stat().st_mode & 0o077 == 0


def test_another_model_finds_nothing_of_it(tmp_path, disk):
    put(disk, 1, 2, 3, 4)
    assert found(opened(tmp_path, "e" * 32), 1, 2, 3, 4, 5) is None
    assert disk.counts.entries == 1


def test_what_another_model_left_under_this_ones_name_is_removed(tmp_path, disk, caplog):
    (tmp_path / FINGERPRINT).mkdir()
    put(opened(tmp_path, "e" * 32), 1, 2, 3, 4)
    (path,) = files(tmp_path)
    path.rename(tmp_path / FINGERPRINT / path.name)
    with caplog.at_level(logging.WARNING):
        assert found(disk, 1, 2, 3, 4, 5) is None
    assert "another model's" in caplog.text
    assert files(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"x" * 100])
def test_foreign_files_are_removed_and_never_read(tmp_path, disk, content):
    put(disk, 1, 2, 3, 4)
    foreign = tmp_path / FINGERPRINT / "foreign.safetensors"
    foreign.write_bytes(content)
    assert found(disk, 1, 2, 3, 4, 5) == [1, 2, 3, 4]
    assert not foreign.exists()


def test_half_an_entry_is_removed(tmp_path, disk):
    put(disk, 1, 2, 3, 4)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    again = opened(tmp_path)
    assert found(again, 1, 2, 3, 4, 5) is None
    assert files(tmp_path) == []


def test_what_a_crash_left_half_written_goes_when_it_is_old(tmp_path):
    (tmp_path / FINGERPRINT).mkdir()
    old, new = (tmp_path / FINGERPRINT / f"{name}{PART}" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - ABANDONED_S - 60,) * 2)
    opened(tmp_path)
    assert files(tmp_path) == [new]


def test_a_longer_entry_replaces_its_beginnings(disk):
    put(disk, 1, 2, 3, 4)
    put(disk, 1, 9, 9, 9)
    put(disk, 1, 2, 3, 4, scope=("pictures", ""))
    put(disk, 1, 2, 3, 4, 5, 6)
    assert disk.counts.entries == 3
    put(disk, 1, 2, 3, 4, 5, 6, 7, 8, trimmable=False)
    assert disk.counts.entries == 4


def test_what_is_mostly_here_is_not_wanted_again(disk):
    put(disk, *range(32))
    assert not disk.wants(SCOPE, numbers(*range(36 - 1)), 64)
    assert disk.wants(SCOPE, numbers(*range(36)), 64)
    assert not disk.wants(SCOPE, numbers(*range(20)), 64)
    assert not disk.wants(SCOPE, numbers(1, 2, 3), 64)
    assert disk.wants(SCOPE, numbers(*range(1, 20)), 64)
    put(disk, *range(64))
    assert not disk.wants(SCOPE, numbers(*range(64 + 8)), 64)
    assert disk.wants(SCOPE, numbers(*range(64 + 9)), 64)


def test_what_is_larger_than_all_the_room_is_not_wanted(disk):
    assert not disk.wants(SCOPE, numbers(1, 2, 3, 4), LIMITS.max_bytes + 1)


def test_what_was_used_longest_ago_goes_first_whichever_model_it_was_of(tmp_path):
    one, other = opened(tmp_path, max_bytes=3 * 1000), opened(tmp_path, "e" * 32, max_bytes=3 * 1000)
    put(one, 1, 1, 1, 1, size=500)
    put(other, 2, 2, 2, 2, size=500)
    put(one, 3, 3, 3, 3, size=500)
    paths = {path.parent.name[0] + path.name: path for path in files(tmp_path)}
    assert len(paths) == 3
    for age, path in enumerate(sorted(paths.values(), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, (1000 + age, 1000 + age))
    assert found(one, 1, 1, 1, 1, 5) == [1, 1, 1, 1]
    put(one, 4, 4, 4, 4, size=500)
    assert found(other, 2, 2, 2, 2, 5) is None
    assert found(one, 1, 1, 1, 1, 5) == [1, 1, 1, 1]
    assert found(one, 4, 4, 4, 4, 5) == [4, 4, 4, 4]
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 3000
    assert one.counts.evictions == 1


def test_being_asked_for_again_is_use(tmp_path, disk):
    put(disk, 1, 1, 1, 1)
    (path,) = files(tmp_path)
    os.utime(path, (1000, 1000))
    assert not disk.wants(SCOPE, numbers(1, 1, 1, 1), 64)
    assert path.stat().st_mtime > 1000


def test_two_engines_share_a_folder(tmp_path, disk):
    other = opened(tmp_path)
    put(disk, 1, 2, 3, 4, fill=1)
    assert found(other, 1, 2, 3, 4, 5) == [1, 2, 3, 4]
    put(other, 1, 2, 3, 4, fill=2)
    name, _ = disk.find(SCOPE, numbers(1, 2, 3, 4, 5), range(1, 5), 0)
    assert next(disk.read(name)[1]).data[0] == 2
    assert disk.counts.entries == 1
    other.reset()
    assert found(disk, 1, 2, 3, 4, 5) is None


def test_what_another_engine_deletes_while_it_is_read_is_gone(tmp_path, disk):
    put(disk, 1, 2, 3, 4)
    name, _ = disk.find(SCOPE, numbers(1, 2, 3, 4, 5), range(1, 5), 0)
    opened(tmp_path).reset()
    with pytest.raises(FileNotFoundError):
        list(disk.read(name)[1])
    disk.forget(name)
    assert found(disk, 1, 2, 3, 4, 5) is None


def test_two_engines_write_at_the_same_time(tmp_path):
    stores = [opened(tmp_path, max_bytes=20_000) for _ in range(2)]
    for number in range(40):
        for fill, store in enumerate(stores):
            given = entry(*range(number, number + 8), size=1000, fill=fill)
            store.put(SCOPE, given.head.key, True, given.head.tree, given.arrays)
            store.find(SCOPE, given.head.key, range(1, 8), 0)
    assert all(store.flush(PATIENCE_S) for store in stores)
    assert not list((tmp_path / FINGERPRINT).glob(f"*{PART}"))
    again = opened(tmp_path)
    assert found(again, *range(39, 39 + 9)) == list(range(39, 39 + 8))
    name, _ = again.find(SCOPE, numbers(*range(39, 48)), range(1, 9), 0)
    assert len(list(again.read(name)[1])) == 1


def test_counts(disk):
    found(disk, 1, 2, 3, 4, 5)
    put(disk, 1, 2, 3, 4)
    found(disk, 1, 2, 3, 4, 5)
    disk.saved(4)
    counts = disk.counts
    assert (counts.hits, counts.misses, counts.tokens_saved, counts.entries) == (1, 1, 4, 1)
    assert counts.bytes > 64


class Gate(EntryFolder):
    """A folder in which writing takes until it is told to go on."""

    def __init__(self, *given):
        super().__init__(*given)
        self.reached, self.opened = threading.Event(), threading.Event()
        self.asked = []

    def write(self, given, go_on):
        self.asked.append(given.head.key.tolist())
        self.reached.set()
        assert self.opened.wait(PATIENCE_S)
        return super().write(given, go_on)


@pytest.fixture
def gated(tmp_path):
    def build(**limits):
        store = opened(tmp_path, **limits)
        store._folder = Gate(tmp_path, FINGERPRINT)
        return store, store._folder

    return build


def queue(store, *tokens):
    given = entry(*tokens)
    store.put(SCOPE, given.head.key, True, given.head.tree, given.arrays)


def test_what_waits_gives_way_to_what_it_is_the_beginning_of(gated):
    store, gate = gated()
    queue(store, 1, 1, 1, 1)
    assert gate.reached.wait(PATIENCE_S)
    queue(store, 2, 2, 2, 2)
    queue(store, 3, 3, 3, 3)
    queue(store, 2, 2, 2, 2, 5)
    assert not store.wants(SCOPE, numbers(1, 1, 1, 1), 64)
    assert not store.wants(SCOPE, numbers(2, 2, 2, 2, 5), 64)
    gate.opened.set()
    assert store.flush(PATIENCE_S)
    assert gate.asked == [[1, 1, 1, 1], [3, 3, 3, 3], [2, 2, 2, 2, 5]]


def test_what_was_on_its_way_is_forgotten_too(gated):
    store, gate = gated()
    queue(store, 1, 1, 1, 1)
    assert gate.reached.wait(PATIENCE_S)
    queue(store, 2, 2, 2, 2)
    store.reset()
    gate.opened.set()
    assert store.flush(PATIENCE_S)
    assert gate.files() == []
    assert list(gate.path.iterdir()) == []
    assert gate.asked == [[1, 1, 1, 1]]


def test_closing_waits_for_what_is_being_written(tmp_path, disk):
    queue(disk, 1, 1, 1, 1)
    queue(disk, 2, 2, 2, 2)
    disk.close()
    assert len(files(tmp_path)) == 2
    assert not disk._worker.is_alive()
    assert not disk.wants(SCOPE, numbers(5, 5, 5, 5), 64)


def test_closing_drops_what_cannot_be_written_in_time(gated):
    store, gate = gated(closing_s=0.0)
    queue(store, 1, 1, 1, 1)
    assert gate.reached.wait(PATIENCE_S)
    queue(store, 2, 2, 2, 2)
    store.close()
    gate.opened.set()
    store._worker.join(PATIENCE_S)
    assert gate.asked == [[1, 1, 1, 1]]
    assert list(gate.path.iterdir()) == []


def test_closing_without_having_written_is_nothing(disk):
    disk.close()
    assert disk._worker is None


def test_a_disk_that_refuses_ends_the_writing_and_nothing_else(tmp_path, monkeypatch, caplog, disk):
    def full(number):
        raise OSError(28, "No space left on device")

    put(disk, 1, 1, 1, 1)
    monkeypatch.setattr("os.fsync", full)
    with caplog.at_level(logging.WARNING):
        put(disk, 2, 2, 2, 2)
    assert "No space left" in caplog.text
    assert found(disk, 1, 1, 1, 1, 5) == [1, 1, 1, 1]
    assert not disk.wants(SCOPE, numbers(3, 3, 3, 3), 64)
    assert len(files(tmp_path)) == 1


def test_others_are_left_room_on_the_disk(tmp_path):
    store = opened(tmp_path, least_free=1 << 60)
    put(store, 1, 1, 1, 1)
    assert store.counts.entries == 0
