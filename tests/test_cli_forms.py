"""`fovea generate` with an answer held to a form: flags to the request, files to their text, and what cannot be."""

import json

import pytest

from engine.api.response_format import Choice, Grammar, JsonObject, JsonSchema, Regex
from engine.cli import main
from tests.fake_engine import FakeEngine


def asked(*words):
    engine = FakeEngine()
    assert main(("generate", "--prompt", "x", *words), open_engine=engine.open) == 0
    return engine.requests[1].response_format


def refusal(capsys, *words):
    engine = FakeEngine()
    assert main(("generate", "--prompt", "x", "--json", *words), open_engine=engine.open) == 2
    assert not engine.requests, "nothing is loaded for what cannot be asked"
    return json.loads(capsys.readouterr().err)["error"]


def test_flags():
    assert asked() is None
    assert asked("--json-object") == JsonObject()
    assert asked("--regex", "a|b") == Regex("a|b")
    assert asked("--choices", "yes", "no") == Choice(("yes", "no"))


def test_files(tmp_path):
    schema, grammar = tmp_path / "schema.json", tmp_path / "sum.lark"
    schema.write_text('{ "type": "object" }', encoding="utf-8-sig")
    grammar.write_text('start: "ä"', encoding="utf-8")
    assert asked("--json-schema", str(schema)) == JsonSchema('{"type":"object"}', strict=True)
    assert asked("--grammar", str(grammar)) == Grammar('start: "ä"')


@pytest.mark.parametrize(
    ("content", "word"), [(None, "cannot be read"), (b"\xff", "not UTF-8"), (b"{", "not JSON"), (b"[]", "neither")]
)
def test_files_that_are_none(tmp_path, capsys, content, word):
    path = tmp_path / "schema.json"
    if content is not None:
        path.write_bytes(content)
    assert word in refusal(capsys, "--json-schema", str(path))["message"]


def test_one_form_at_most(capsys):
    assert "--regex" in refusal(capsys, "--json-object", "--regex", "a")["message"]


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--presence-penalty", "2.1"), ("--frequency-penalty", "nan"), ("--xtc-threshold", "0.6"), ("--regex", "")],
)
def test_values_out_of_range(capsys, flag, value):
    message = refusal(capsys, flag, value)["message"]
    assert flag in message or "regular expression is empty" in message
