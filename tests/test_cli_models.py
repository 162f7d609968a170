"""`fovea models`: each action is one request, and its answer is text or JSON."""

import json
from dataclasses import replace

import pytest

from engine.api.errors import HubError
from engine.api.events import (
    Finished,
    FinishReason,
    LocalModel,
    Progress,
    Stage,
)
from engine.api.model_facts import Capabilities, ContextMemory, PictureCut
from engine.api.request import DescribeModel, Image, ListModels, PullModel, RemoveModel
from engine.cli import main
from tests.fake_engine import INFO, FakeEngine, fail, finish

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


RICH = replace(
    INFO,
    quantization="4-bit affine",
    capabilities=Capabilities(pictures=True, most_pictures=1, tools=True, thinking=True),
    memory=(ContextMemory(4096, 5_000_000), ContextMemory(32_768, 12_000_000)),
    picture=PictureCut((1600, 1200), (512, 384), 13, 832),
)


def test_info_says_what_it_can_do_and_what_it_takes(capsys):
    models("info", "starter", scripts={DescribeModel: finish(model=RICH)})
    out = capsys.readouterr().out.splitlines()
    assert "Takes:     image, text (at most 1 picture in a conversation)" in out
    assert "Knows:     tools, thinking" in out
    at = out.index("Memory:    5.0 MB with 4,096 tokens")
    assert out[at + 1] == "           12 MB with 32,768 tokens"
    assert "Picture:   1600 x 1200, seen as 13 tiles of 512 x 384: 832 tokens" in out


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (PictureCut((9, 8), (4, 6), 1, 5), "9 x 8, seen as 4 x 6: 5 tokens"),
        (PictureCut((9, 8), (0, 0), 1, 5), "9 x 8: 5 tokens"),
        (PictureCut((9, 8), (0, 0), 3, 5), "9 x 8, seen as 3 tiles: 5 tokens"),
    ],
)
def test_a_picture_of_which_less_is_known(cut, words, capsys):
    models("info", "starter", scripts={DescribeModel: finish(model=replace(INFO, picture=cut))})
    assert f"Picture:   {words}\n" in capsys.readouterr().out


def test_info_as_json(capsys):
    models("info", "starter", "--json", scripts={DescribeModel: finish(model=RICH)})
    shape = json.loads(capsys.readouterr().out)
    assert shape["modalities"] == ["image", "text"]
    assert shape["memory"][1] == {"tokens": 32_768, "bytes": 12_000_000}
    assert shape["picture"] == {"size": [1600, 1200], "seen_size": [512, 384], "tiles": 13, "tokens": 832}
    assert shape["capabilities"] == {
        "pictures": True,
        "most_pictures": 1,
        "video": False,
        "sound": False,
        "tools": True,
        "thinking": True,
    }


def test_info_of_a_picture(tmp_path, capsys):
    path = tmp_path / "a.png"
    path.write_bytes(b"looked at by the engine")
    assert models("info", "starter", "--image", str(path)) == (0, [DescribeModel("starter", Image(path, "a.png"))])
    assert models("info", "starter", "--image", str(tmp_path / "none.png")) == (2, [])
    assert "none.png" in capsys.readouterr().err


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
