"""Downloading from the Hub: what is fetched, what is kept, and how it fails. The Hub is a fake in memory."""

import errno
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.utils import _http

from engine.api.errors import CheckpointError, DiskError, HubError
from engine.api.settings import EngineSettings
from engine.loading import pull as pull_module
from engine.loading import transfer
from engine.loading.hub import resolve
from engine.loading.pull import PullCancelled, hub_token, pull
from tests.loading.fake_hub import COMMIT, FakeHub, model_files


@pytest.fixture
def hub(monkeypatch):
    fake = FakeHub(model_files())
    huggingface_hub.set_client_factory(fake.client)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
    yield fake
    huggingface_hub.set_client_factory(_http.default_client_factory)


@pytest.fixture
def settings(tmp_path):
    return EngineSettings(hub_cache=tmp_path / "cache", hub_token="hf_test")


def fetch(settings, repo_id="org/tiny", report=lambda done, total: None, cancelled=lambda: False):
    return pull(repo_id, None, settings, report, cancelled)


def refusal(error, *arguments, **options):
    with pytest.raises(error) as caught:
        fetch(*arguments, **options)
    assert caught.value.hint
    return caught.value


def incomplete(settings):
    return list(settings.hub_cache.rglob("*.incomplete"))


def test_only_what_a_model_needs_is_fetched(hub, settings):
    folder = fetch(settings)
    assert folder.name == COMMIT
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    assert resolve("org/tiny", settings) == folder
    assert incomplete(settings) == []
    ours = [request for request in hub.requests if "org/tiny" in request.url.path]
    assert all(request.headers["authorization"] == "Bearer hf_test" for request in ours)


def test_progress_counts_bytes_up_to_the_whole(hub, settings):
    reports = []
    fetch(settings, report=lambda done, total: reports.append((done, total)))
    total = sum(len(hub.files[name]) for name in ("config.json", "model.safetensors", "tokenizer.json"))
    total += len(hub.files["chat_template.jinja"])
    assert {whole for _, whole in reports} == {total}
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    assert reports[-1] == (total, total)


def test_what_is_here_is_not_fetched_again(hub, settings):
    fetch(settings)
    hub.requests.clear()
    fetch(settings)
    assert hub.fetched("model.safetensors") == []


def test_an_interrupted_file_goes_on_where_it_stopped(hub, settings):
    hub.cut_after = 4000
    error = refusal(HubError, settings)
    assert error.code == "offline"
    assert "goes on where it stopped" in error.hint
    assert [path.stat().st_size for path in incomplete(settings)] == [4000]
    hub.cut_after, hub.offline = None, False
    hub.requests.clear()
    folder = fetch(settings)
    assert hub.fetched("model.safetensors") == ["bytes=4000-"]
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_a_part_that_does_not_belong_to_the_file_is_found_by_its_hash(hub, settings):
    hub.cut_after = 4000
    refusal(HubError, settings)
    hub.cut_after, hub.offline = None, False
    incomplete(settings)[0].write_bytes(b"x" * 4000)
    assert "model.safetensors arrived damaged" in refusal(HubError, settings).message
    assert incomplete(settings) == []
    fetch(settings)


def test_cancel_acts_between_chunks_and_keeps_what_came(hub, settings):
    seen = []
    with pytest.raises(PullCancelled):
        fetch(settings, report=lambda done, _: seen.append(done), cancelled=lambda: len(seen) > 3)
    assert 0 < incomplete(settings)[0].stat().st_size < len(hub.files["model.safetensors"])


def test_no_network(hub, settings):
    hub.offline = True
    error = refusal(HubError, settings)
    assert error.code == "offline"
    assert "cannot be reached" in error.message
    assert not settings.hub_cache.exists()


def test_a_repository_that_does_not_exist(hub, settings):
    error = refusal(HubError, settings, "org/nothing")
    assert error.code == "not_found"
    assert "org/nothing" in error.message
    assert not settings.hub_cache.exists()


def test_a_revision_that_does_not_exist(hub, settings):
    hub.refuse["/revision/"] = (404, "RevisionNotFound")
    with pytest.raises(HubError, match="no such revision"):
        pull("org/tiny", "v9", settings, lambda *_: None, lambda: False)


def test_a_gated_repository_says_how_to_add_a_token(hub, settings):
    hub.refuse["/resolve/"] = (403, "GatedRepo")
    error = refusal(HubError, settings)
    assert error.code == "gated"
    assert "https://huggingface.co/org/tiny" in error.hint
    assert "settings/tokens" in error.hint


def test_other_answers_of_the_hub_are_named(hub, settings):
    hub.refuse["/api/"] = (418, "")
    assert "418" in refusal(HubError, settings).message


def test_a_repository_of_pickles_is_refused_before_anything_is_fetched(hub, settings):
    for name in [name for name in hub.files if name.endswith(".safetensors")]:
        del hub.files[name]
    assert "no .safetensors" in refusal(CheckpointError, settings).message
    assert not settings.hub_cache.exists()


def test_a_second_copy_is_fetched_when_it_is_the_only_one(hub, settings):
    del hub.files["model.safetensors"]
    assert (fetch(settings) / "consolidated.safetensors").exists()


def test_too_little_disk_space_is_refused_with_the_numbers(hub, settings, monkeypatch):
    monkeypatch.setattr(pull_module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 5000))
    message = refusal(DiskError, settings).message
    assert "10 kB" in message
    assert "5.0 kB" in message
    assert not settings.hub_cache.exists()


def test_a_disk_that_fills_up_leaves_nothing_half_written(hub, settings, monkeypatch):
    def full(url, file, **_):
        file.write(b"x" * 100)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_download, "http_get", full)
    assert "disk is full" in refusal(DiskError, settings).message
    assert incomplete(settings) == []


def test_a_cache_that_cannot_be_written(hub, settings, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "/cache/blobs")

    monkeypatch.setattr(transfer.Path, "mkdir", denied)
    assert "/cache/blobs cannot be written" in refusal(DiskError, settings).message


@pytest.mark.parametrize("name", ["", "a/b/c", "org/na me", "../up"])
def test_a_name_that_cannot_be_one(hub, settings, name):
    refusal(HubError, settings, name)
    assert hub.requests == []


def test_the_token_comes_from_the_settings_and_then_from_the_keychain(monkeypatch):
    import keyring
    from keyring.errors import KeyringError

    asked = []
    monkeypatch.setattr(keyring, "get_password", lambda *names: asked.append(names) or "hf_kept")
    assert hub_token(EngineSettings(hub_token="hf_given")) == "hf_given"
    assert asked == []
    assert hub_token(EngineSettings()) == "hf_kept"
    assert asked == [("fovea", "huggingface")]

    def locked(*_):
        raise KeyringError("locked")

    monkeypatch.setattr(keyring, "get_password", locked)
    assert hub_token(EngineSettings()) is None


def test_the_cache_is_where_the_settings_say():
    assert pull_module.cache_of(EngineSettings(hub_cache=Path("/x"))) == Path("/x")
    assert pull_module.cache_of(EngineSettings()) == Path(constants.HF_HUB_CACHE)
