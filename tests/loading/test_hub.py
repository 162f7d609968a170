"""Names to folders, the list of models, and deleting one: on a hand-made cache, without a network."""

import json

import pytest

from engine.api.errors import CheckpointError, HubError, RequestError
from engine.api.settings import EngineSettings
from engine.loading.hub import local_models, remove_model, resolve


@pytest.fixture
def settings(tmp_path):
    return EngineSettings(hub_cache=tmp_path / "cache", resources=tmp_path / "resources")


def cached(settings, repo_id, commit="a" * 40, main=True, weights=True, **config):
    """A repository as the Hub's library leaves it: blobs, and links to them."""
    repo = settings.hub_cache / f"models--{repo_id.replace('/', '--')}"
    snapshot = repo / "snapshots" / commit
    blobs = repo / "blobs"
    for folder in (snapshot, blobs, repo / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    files = {"config.json": json.dumps({"model_type": "llama"} | config)}
    if weights:
        files["model.safetensors"] = "w" * 1000
    for name, text in files.items():
        (blobs / f"{commit[:4]}-{name}").write_text(text)
        (snapshot / name).symlink_to(blobs / f"{commit[:4]}-{name}")
    if main:
        (repo / "refs" / "main").write_text(commit)
    return snapshot


def refusal(error, action, *arguments):
    with pytest.raises(error) as caught:
        action(*arguments)
    assert caught.value.hint
    return caught.value


def test_a_folder_is_itself(settings, tmp_path):
    assert resolve(str(tmp_path), settings) == tmp_path


def test_a_repository_is_its_main_snapshot(settings):
    main = cached(settings, "org/model", "b" * 40)
    cached(settings, "org/model", "c" * 40, main=False)
    assert resolve("org/model", settings) == main


def test_without_a_main_branch_the_latest_snapshot_will_do(settings):
    only = cached(settings, "org/model", main=False)
    assert resolve("org/model", settings) == only


def test_a_revision_is_the_one_that_was_named_or_none(settings):
    cached(settings, "org/model", "b" * 40)
    other = cached(settings, "org/model", "c" * 40, main=False)
    (other.parents[1] / "refs" / "v2").write_text("c" * 40)
    assert resolve("org/model", settings, "v2") == resolve("org/model", settings, "c" * 40) == other
    assert "v3" in refusal(HubError, resolve, "org/model", settings, "v3").message
    refusal(RequestError, resolve, "org/model", settings, "../../refs")


def test_a_repository_that_is_not_here_says_how_to_get_it(settings):
    error = refusal(HubError, resolve, "org/model", settings)
    assert error.code == "not_downloaded"
    assert "fovea models pull org/model" in error.hint


def test_a_download_that_was_begun_is_not_taken_for_a_model(settings):
    blobs = settings.hub_cache / "models--org--model" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc.incomplete").write_bytes(b"x" * 10)
    assert "not completely" in refusal(HubError, resolve, "org/model", settings).message


@pytest.mark.parametrize("source", ["/no/such/folder", "./model", "~/model", "a/b/c", "org/model/"])
def test_what_looks_like_a_folder_but_is_none_says_so(settings, source):
    assert "no folder" in refusal(CheckpointError, resolve, source, settings).message


def test_a_file_is_no_model(settings, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x")
    error = refusal(CheckpointError, resolve, str(path), settings)
    assert "is a file" in error.message
    assert str(tmp_path) in error.hint


def test_a_name_that_cannot_be_one(settings):
    refusal(HubError, resolve, "what is this?", settings)


def test_an_incomplete_starter_says_what_is_missing(settings):
    error = refusal(CheckpointError, resolve, "starter", settings)
    assert "config.json" in error.message
    assert "make setup" in error.hint


def test_the_list_begins_with_the_starter_and_says_what_cannot_be_loaded(settings):
    cached(settings, "org/good")
    cached(settings, "org/pickled", weights=False)
    cached(settings, "org/strange", model_type="never_heard_of")
    (settings.hub_cache / "models--org--begun" / "blobs").mkdir(parents=True)
    (settings.hub_cache / "datasets--org--data").mkdir()
    starter, begun, good, pickled, strange = local_models(settings)
    assert starter.source == "starter"
    assert "not complete" in starter.problem
    assert (begun.source, begun.model_type) == ("org/begun", "")
    assert "not complete" in begun.problem
    assert (good.source, good.model_type, good.problem) == ("org/good", "llama", "")
    assert good.bytes == 1000 + len('{"model_type": "llama"}') + 40
    assert "no weights" in pickled.problem
    assert "never_heard_of" in strange.problem


def test_an_empty_cache_has_only_the_starter(settings):
    assert [model.source for model in local_models(settings)] == ["starter"]


def test_removing_takes_the_repository_and_nothing_else(settings):
    cached(settings, "org/model")
    kept = cached(settings, "org/model-2")
    remove_model("org/model", settings)
    assert not (settings.hub_cache / "models--org--model").exists()
    assert (kept / "config.json").is_file()
    refusal(HubError, remove_model, "org/model", settings)


def test_the_starter_and_folders_are_never_deleted(settings, tmp_path):
    for source in ("starter", str(tmp_path), "./folder", "../up"):
        refusal(RequestError, remove_model, source, settings)
