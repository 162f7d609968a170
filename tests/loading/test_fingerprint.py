"""What caches depend on changes their fingerprint; nothing else does, not even another process."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from engine.api.settings import CacheSettings
from engine.loading.checkpoint import prepare
from engine.loading.fingerprint import fingerprint

SETTINGS = CacheSettings()


def fingerprint_of(folder, settings=SETTINGS, dtype=None):
    checkpoint = prepare(str(folder), folder, None)
    if dtype is not None:
        checkpoint.model.set_dtype(dtype)
    return fingerprint(checkpoint.folder, checkpoint.config, checkpoint.model, settings)


@pytest.fixture
def folder(tiny_smolvlm, tmp_path):
    return shutil.copytree(tiny_smolvlm, tmp_path / "model")


def test_it_is_the_same_in_another_process(folder):
    code = (
        "import sys; from pathlib import Path; from engine.environment import keep_torch_out\n"
        "keep_torch_out(sys.modules)\n"
        "from tests.loading.test_fingerprint import fingerprint_of\n"
        "print(fingerprint_of(Path(sys.argv[1])))"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=root,
        env=os.environ | {"PYTHONHASHSEED": "123"},
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == fingerprint_of(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: os.utime(folder / "model.safetensors", (1000, 1000)),
        lambda folder: (folder / "config.json").write_text((folder / "config.json").read_text() + " "),
        lambda folder: (folder / "adapter.safetensors").touch(),
    ],
)
def test_files_change_it(folder, change):
    before = fingerprint_of(folder)
    change(folder)
    assert fingerprint_of(folder) != before


@pytest.mark.parametrize(
    "changes", [{"kv_bits": 4}, {"kv_bits": 8}, {"kv_bits": 8, "kv_group_size": 32}, {"max_kv_size": 64}]
)
def test_how_caches_are_kept_changes_it(folder, changes):
    assert fingerprint_of(folder, replace(SETTINGS, **changes)) != fingerprint_of(folder)


def test_what_changes_no_cache_does_not_change_it(folder):
    assert fingerprint_of(folder, CacheSettings(prefill_step_size=7, prefix_bytes=0)) == fingerprint_of(folder)


def test_weights_of_another_type_change_it(folder):
    import mlx.core as mx

    assert fingerprint_of(folder, dtype=mx.bfloat16) != fingerprint_of(folder)


def test_it_does_not_name_the_place(folder, tmp_path):
    moved = folder.rename(tmp_path / "moved")
    assert fingerprint_of(moved) == fingerprint_of(shutil.copytree(moved, tmp_path / "copied"))
