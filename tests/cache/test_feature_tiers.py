"""What towers have seen outlives the program: found again whole, or looked at again."""

import mlx.core as mx
import pytest

from engine.cache.disk import DiskLimits, DiskStore
from engine.cache.feature_tiers import TieredFeatureCache
from tests.cache.entries import FINGERPRINT

SCOPE = (None, "")
BYTES = 4 * 8 * 4
PATIENCE_S = 60


class Run:
    """One run of the program, with this much room."""

    def __init__(self, folder, max_bytes=3 * BYTES, disk_bytes=1 << 20, fingerprint=FINGERPRINT, free=1 << 30):
        self.disk = DiskStore(folder, fingerprint, DiskLimits(disk_bytes, least_free=0, least_tokens=1))
        self.features = TieredFeatureCache(max_bytes, self.disk, lambda: free)

    def __enter__(self):
        return self.features

    def __exit__(self, *exception):
        assert self.disk.flush(PATIENCE_S)
        self.features.close()


def seen(number, dtype=mx.float32):
    return mx.full((4, 8), float(number)).astype(dtype)


def files(folder):
    return sorted(folder.glob("*/*"))


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])
def test_the_next_run_finds_it(tmp_path, dtype):
    with Run(tmp_path) as yesterday:
        assert yesterday.find(SCOPE, "a") is None
        yesterday.store(SCOPE, "a", seen(1, dtype))
        yesterday.store(SCOPE, "b", seen(2, dtype))
    with Run(tmp_path) as today:
        for _ in range(2):
            found = today.find(SCOPE, "b")
            assert (found.dtype, mx.array_equal(found, seen(2, dtype)).item()) == (dtype, True)
        assert today.find(SCOPE, "c") is None
        disk, memory = today.disk_counts, today.counts
    # The second time it was in memory.
    assert (disk.hits, disk.misses, disk.entries, disk.tokens_saved) == (1, 1, 2, 0)
    assert (memory.hits, memory.misses, memory.entries) == (1, 2, 1)


def test_what_had_to_go_from_memory_is_read_again(tmp_path):
    run = Run(tmp_path, max_bytes=BYTES)
    with run as features:
        features.store(SCOPE, "a", seen(1))
        features.store(SCOPE, "b", seen(2))
        assert run.disk.flush(PATIENCE_S)
        assert mx.array_equal(features.find(SCOPE, "a"), seen(1))
        assert features.bytes == BYTES


@pytest.mark.parametrize(
    ("scope", "digest", "fingerprint"),
    [((None, "somebody else"), "a", FINGERPRINT), (SCOPE, "aa", FINGERPRINT), (SCOPE, "a", "0" * 32)],
    ids=["tenant", "picture or settings", "model"],
)
def test_another_is_not_taken_for_it(tmp_path, scope, digest, fingerprint):
    with Run(tmp_path) as yesterday:
        yesterday.store(SCOPE, "a", seen(1))
    with Run(tmp_path, fingerprint=fingerprint) as today:
        assert today.find(scope, digest) is None


def test_it_is_written_once(tmp_path):
    with Run(tmp_path) as yesterday:
        yesterday.store(SCOPE, "a", seen(1))
    (written,) = files(tmp_path)
    before = written.stat().st_ino
    with Run(tmp_path) as today:
        today.store(SCOPE, "a", seen(1))
    assert [path.stat().st_ino for path in files(tmp_path)] == [before]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"nonsense" * 100),
    ],
    ids=["torn", "altered", "empty", "none of ours"],
)
def test_what_is_damaged_is_removed_and_never_taken(tmp_path, damage):
    with Run(tmp_path) as yesterday:
        yesterday.store(SCOPE, "a", seen(1))
    (written,) = files(tmp_path)
    damage(written)
    with Run(tmp_path) as today:
        assert today.find(SCOPE, "a") is None
        assert files(tmp_path) == []
        today.store(SCOPE, "a", seen(1))
    with Run(tmp_path) as tomorrow:
        assert mx.array_equal(tomorrow.find(SCOPE, "a"), seen(1))


def test_the_bytes_are_those_of_all_that_lies_there(tmp_path):
    size = 2000
    with Run(tmp_path, disk_bytes=size, fingerprint="0" * 32) as of_another_model:
        of_another_model.store(SCOPE, "z", seen(1))
    run = Run(tmp_path, disk_bytes=size)
    with run as features:
        for digest in "abcd":
            features.store(SCOPE, digest, seen(1))
            assert run.disk.flush(PATIENCE_S)
        assert features.disk_counts.evictions > 0
        assert sum(path.stat().st_size for path in files(tmp_path)) <= size
        assert [path.parent.name for path in files(tmp_path)].count("0" * 32) == 0


def test_nothing_is_copied_where_there_is_no_memory_for_it(tmp_path):
    with Run(tmp_path, free=BYTES - 1) as features:
        features.store(SCOPE, "a", seen(1))
        assert features.find(SCOPE, "a") is not None
    assert files(tmp_path) == []


def test_what_is_reset_is_gone_from_the_disk_too(tmp_path):
    with Run(tmp_path) as features:
        features.store(SCOPE, "a", seen(1))
        features.reset()
        assert features.find(SCOPE, "a") is None
        assert features.disk_counts.entries == 0
    assert files(tmp_path) == []
