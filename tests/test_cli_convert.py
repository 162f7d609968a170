"""`fovea convert`: the flags become one request, and its answer is text or JSON."""

import json
from pathlib import Path

import pytest

from engine.api.conversion import ConvertModel, FloatType
from engine.api.errors import DiskError
from engine.api.events import Finished, FinishReason, Progress, Stage
from engine.api.quantization import PackingMode, Quantization, Recipe
from engine.cli import main
from tests.fake_engine import INFO, FakeEngine, fail

PLAIN = ["--model", "a/b", "--out", "/models/new"]
OUT = Path("/models/new")


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def convert(*words, scripts=None):
    engine = FakeEngine(scripts)
    return main(["convert", *words], open_engine=engine.open), engine.requests


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--offline"], {"download": False}),
        (["--revision", "v2", "--dtype", "bfloat16"], {"revision": "v2", "float_type": FloatType.BFLOAT16}),
        (["--dequantize"], {"dequantize": True}),
        (["--quantize"], {"quantization": Quantization(PackingMode.AFFINE, 4, 64)}),
        (
            ["--quantize", "--bits", "8", "--group-size", "32"],
            {"quantization": Quantization(PackingMode.AFFINE, 8, 32)},
        ),
        (["--quantize", "--mode", "nvfp4"], {"quantization": Quantization(PackingMode.NVFP4, 4, 16)}),
        (
            ["--quantize", "--recipe", "mixed_2_6"],
            {"quantization": Quantization(PackingMode.AFFINE, 2, 64, Recipe.MIXED_2_6)},
        ),
    ],
)
def test_the_flags_are_one_request(words, expected):
    fields = {"source": "a/b", "target": OUT, "download": True} | expected
    assert convert(*PLAIN, *words) == (0, [ConvertModel(**fields)])


def test_mlx_vlms_spelling(capsys):
    theirs = ["--hf-path", "a/b", "--mlx-path", "/models/new", "-q", "--q-bits", "3", "--q-group-size", "128"]
    quantization = Quantization(PackingMode.AFFINE, 3, 128)
    assert convert(*theirs, "--q-mode", "affine") == (0, [ConvertModel("a/b", OUT, quantization, download=True)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--quantize", "--dequantize"], "at once"),
        (["--bits", "4"], "--bits"),
        (["--group-size", "64"], "--group-size"),
        (["--quantize", "--bits", "7"], "7 bits"),
        (["--quantize", "--mode", "mxfp4", "--bits", "8"], "mxfp4"),
        (["--quantize", "--recipe", "mixed_3_4", "--bits", "3"], "mixed_3_4"),
        (["--quantize", "--mode", "gptq"], "gptq"),
        (["--dtype", "int8"], "int8"),
    ],
)
def test_what_contradicts_itself_is_told_before_the_engine_starts(words, message, capsys):
    assert convert(*PLAIN, *words) == (2, [])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("lacking", ["--model", "--out"])
def test_a_source_and_a_place_are_needed(lacking, capsys):
    at = PLAIN.index(lacking)
    assert convert(*PLAIN[:at], *PLAIN[at + 2 :])[0] == 2
    assert lacking in capsys.readouterr().err


def script(request_id, request):
    yield Progress(request_id, Stage.CONVERTING, 5, 10)
    yield Finished(request_id, FinishReason.DONE, model=INFO, path="/models/new", notes=("2 layers stay plain.",))


def test_the_answer_as_text(capsys):
    convert(*PLAIN, scripts={ConvertModel: script})
    out, err = capsys.readouterr()
    assert out.splitlines() == ["/models/new", "32.00 bits a weight, 4.0 MB", "2 layers stay plain."]
    assert err == ""


def test_the_answer_as_json(capsys):
    convert(*PLAIN, "--json", scripts={ConvertModel: script})
    answer = json.loads(capsys.readouterr().out)
    assert (answer["path"], answer["notes"]) == ("/models/new", ["2 layers stay plain."])
    assert answer["model"]["weight_bytes"] == 4_000_000


def test_a_failure_has_its_exit_status(capsys):
    error = DiskError("The disk filled up.", "Free some space.")
    assert convert(*PLAIN, scripts={ConvertModel: fail(error)})[0] == 2
    assert capsys.readouterr().err == "fovea: The disk filled up.\nFree some space.\n"
