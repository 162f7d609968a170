"""`fovea models`: each action is one request, and its answer is text or JSON."""

import json

import pytest

from engine.api.errors import HubError
from engine.api.events import Finished, FinishReason, LocalModel, Progress, Stage
from engine.api.request import DescribeModel, ListModels, PullModel, RemoveModel
from engine.cli import main
from tests.fake_engine import FakeEngine, fail, finish

MODELS = (
    LocalModel("starter", "/models/starter", "fovea_starter", 127_000_000),
    LocalModel("owner/long-name", "/cache/b", "", 2_300_000_000, "its weights are missing"),
)


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def models(*words, scripts=None):
    engine = FakeEngine(scripts)
    return main(["models", *words], open_engine=engine.open), engine.requests


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["list"], ListModels()),
        (["pull", "a/b"], PullModel("a/b")),
        (["pull", "a/b", "--revision", "v2"], PullModel("a/b", "v2")),
        (["info", "starter"], DescribeModel("starter")),
        (["remove", "a/b"], RemoveModel("a/b")),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_each_action_is_one_request(words, request_, form, capsys):
    assert models(*words, *form) == (0, [request_])
    out, err = capsys.readouterr()
    assert err == ""
    if form:
        json.loads(out)


def test_list_is_a_table(capsys):
    models("list", scripts={ListModels: finish(models=MODELS)})
    assert capsys.readouterr().out.splitlines() == [
        "starter          fovea_starter  127 MB",
        "owner/long-name  ?              2.3 GB  its weights are missing",
    ]


def test_list_of_nothing_says_what_to_do(capsys):
    models("list", scripts={ListModels: finish(models=())})
    assert "fovea models pull" in capsys.readouterr().out


def test_list_as_json(capsys):
    models("list", "--json", scripts={ListModels: finish(models=MODELS)})
    first = json.loads(capsys.readouterr().out)["models"][0]
    assert first == {
        "source": "starter",
        "path": "/models/starter",
        "model_type": "fovea_starter",
        "bytes": 127_000_000,
        "problem": "",
    }


def test_info_says_what_is_known(capsys):
    models("info", "starter")
    out = capsys.readouterr().out
    assert "Takes:     image, text\n" in out
    assert "Weights:   1,000,000, 4.0 MB\n" in out
    assert "Quantised" not in out


def test_pull_prints_where_it_lies_and_says_how_big_it_is(capsys):
    def pull(request_id, request):
        yield Progress(request_id, Stage.DOWNLOADING, 5, 34_000_000, note="a/b")
        yield Finished(request_id, FinishReason.DONE, path="/cache/b")

    models("pull", "a/b", scripts={PullModel: pull})
    out, err = capsys.readouterr()
    assert out == "/cache/b\n"
    assert err == "a/b is not on this machine yet: downloading (34 MB).\n"


def test_pull_offline_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert models("pull", "a/b") == (2, [])


def test_failures_have_their_exit_status(capsys):
    error = HubError("a/b is gated.", "Set HF_TOKEN.")
    assert models("pull", "a/b", scripts={PullModel: fail(error)})[0] == 2
    assert capsys.readouterr().err == "fovea: a/b is gated.\nSet HF_TOKEN.\n"


def test_an_action_is_needed(capsys):
    assert models()[0] == 2
    assert "ACTION" in capsys.readouterr().err
