"""An entry comes back as it was written, or not at all."""

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from engine.cache.entry_file import PART, DamagedEntry, Entry, Stored, read_arrays, read_head, write_entry
from tests.cache.entries import entry

EVERY_TYPE = [
    Stored("BOOL", np.array([True, False])),
    Stored("F16", np.array([[1.5, -2]], np.float16)),
    Stored("BF16", np.array([0x3F80, 0xC000], np.uint16)),
    Stored("F32", np.arange(6, dtype=np.float32).reshape(1, 2, 3)),
    Stored("U32", np.array([2**32 - 1], np.uint32)),
    Stored("I64", np.array(-7, np.int64)),
    Stored("U8", np.zeros((0, 4), np.uint8)),
]


def written(folder, given):
    return write_entry(folder, given, lambda: True)


def test_what_was_written_comes_back(tmp_path):
    given = Entry(entry(1, -2, 2**40, trimmable=False).head, EVERY_TYPE)
    path = written(tmp_path, given)
    head = read_head(path)
    assert (head.fingerprint, head.scope, head.trimmable) == (given.head.fingerprint, "s", False)
    assert head.tree == given.head.tree
    assert head.key.tolist() == [1, -2, 2**40]
    found = list(read_arrays(path, head))
    for one, other in zip(found, EVERY_TYPE, strict=True):
        assert one.dtype == other.dtype
        assert one.data.dtype == other.data.dtype
        assert one.data.shape == other.data.shape
        assert np.array_equal(one.data, other.data)


def test_it_is_a_safetensors_file_that_others_read(tmp_path):
    path = written(tmp_path, Entry(entry(1, 2).head, EVERY_TYPE[:-1]))
    found = mx.load(str(path), format="safetensors")
    assert found["key"].tolist() == [1, 2]
    assert found["2"].dtype == mx.bfloat16
    assert found["2"].tolist() == [1.0, -2.0]


def test_its_name_is_temporary_and_nobody_else_may_read_it(tmp_path):
    path = written(tmp_path, entry(1))
    assert path.suffix == PART
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_torn_file_is_told(tmp_path):
    path = written(tmp_path, entry(1, 2, 3))
    head, whole = read_head(path), path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedEntry):
            read_head(path)
        with pytest.raises(DamagedEntry):
            list(read_arrays(path, head))
    path.write_bytes(whole + b"x")
    with pytest.raises(DamagedEntry):
        read_head(path)


def test_every_altered_byte_is_told(tmp_path):
    path = written(tmp_path, entry(1, 2, 3, size=16))
    head, whole = read_head(path), path.read_bytes()
    blanks = whole.find(b"}  ") + 1, 8 + struct.unpack("<Q", whole[:8])[0]
    for at in range(len(whole)):
        if blanks[0] <= at < blanks[1]:
            continue
        altered = bytearray(whole)
        altered[at] ^= 1
        path.write_bytes(altered)
        with pytest.raises(DamagedEntry):
            list(read_arrays(path, head))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"[" * 100_000,
        json.dumps({"__metadata__": {}}).encode(),
        json.dumps({"__metadata__": {"checksum": "0"}, "key": {"dtype": "I64", "shape": [-1]}}).encode(),
        json.dumps({"__metadata__": {"checksum": "0"}, "key": {"dtype": "O", "shape": [1]}}).encode(),
        json.dumps({"__metadata__": {"checksum": "0"}, "key": {"dtype": "I64", "shape": [2**62]}}).encode(),
        json.dumps({"__metadata__": {"checksum": "0"}, "key": {"dtype": "I64", "shape": [0]}}).encode(),
        json.dumps({"__metadata__": {"checksum": "0"}, "key": {"dtype": "I64", "shape": ["1"]}}).encode(),
    ],
)
def test_what_is_none_of_ours_is_told(tmp_path, header):
    path = tmp_path / "foreign"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(DamagedEntry):
        read_head(path)


@pytest.mark.parametrize("content", [b"not a cache", b"\xff" * 100, struct.pack("<Q", 2**60)])
def test_other_files_are_told(tmp_path, content):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(DamagedEntry):
        read_head(path)


def test_what_was_replaced_meanwhile_is_told(tmp_path):
    path = written(tmp_path, entry(1, 2))
    head = read_head(path)
    for other in (replace(head, tree="[]"), replace(head, scope="t"), replace(head, key=head.key + 1)):
        with pytest.raises(DamagedEntry):
            list(read_arrays(path, other))


def test_stopped_it_leaves_nothing(tmp_path):
    asked = []

    def go_on():
        asked.append(None)
        return len(asked) < 3

    assert write_entry(tmp_path, entry(1, size=20 << 20), go_on) is None
    assert len(asked) == 3
    assert list(tmp_path.iterdir()) == []


def test_where_it_cannot_be_written_nothing_is_left(tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        written(tmp_path, entry(1))
    assert list(tmp_path.iterdir()) == []


def test_neither_it_nor_who_writes_in_the_background_needs_mlx(tmp_path):
    root = Path(__file__).parents[2]
    code = (
        "import sys; from tests.absent import hide; hide('mlx', 'mlx_lm')\n"
        "from pathlib import Path\n"
        "from engine.cache.disk import DiskLimits, DiskStore\n"
        "from tests.cache.entries import FINGERPRINT, entry\n"
        "given = entry(*range(300))\n"
        "store = DiskStore(Path(sys.argv[1]), FINGERPRINT, DiskLimits(1 << 20, least_free=0))\n"
        "store.put(('a',), given.head.key, True, given.head.tree, given.arrays)\n"
        "assert store.flush(30) and store.counts.entries == 1\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, check=True, timeout=120)
