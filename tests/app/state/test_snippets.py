"""Lines that set up other programs: they say what they have to, whatever the model is called."""

import ast
import json
import shlex

import pytest

from app.state.snippets import make_snippets

ADDRESS, KEY = "http://127.0.0.1:8081", "fovea-0123456789abcdef"
MODELS = ["lab/small-4bit", '/Volumes/me/it\'s "mine"', "C:\\models\\größe"]


def snippets(model):
    return {snippet.name: snippet for snippet in make_snippets(ADDRESS, KEY, model)}


def test_every_program_is_there_with_address_and_key():
    found = snippets("lab/small")
    assert list(found) == ["curl", "Python", "JavaScript", "Open WebUI", "Continue", "Claude Code"]
    for snippet in found.values():
        assert ADDRESS in snippet.code
        assert KEY in snippet.code
        assert snippet.language
        assert "\n#" not in snippet.code, "a shell on macOS takes no comments where lines are pasted"
        assert snippet.where


@pytest.mark.parametrize("model", MODELS)
def test_curl_sends_json_that_names_the_model(model):
    words = shlex.split(snippets(model)["curl"].code)
    body = json.loads(words[words.index("-d") + 1])
    assert body == {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}
    assert words[:2] == ["curl", f"{ADDRESS}/v1/chat/completions"]
    assert f"Authorization: Bearer {KEY}" in words


@pytest.mark.parametrize("model", MODELS)
def test_python_is_python_and_names_the_model(model):
    calls = [node for node in ast.walk(ast.parse(snippets(model)["Python"].code)) if isinstance(node, ast.Call)]
    given = {keyword.arg: keyword.value for call in calls for keyword in call.keywords}
    assert ast.literal_eval(given["model"]) == model
    assert ast.literal_eval(given["base_url"]) == f"{ADDRESS}/v1"
    assert ast.literal_eval(given["api_key"]) == KEY


@pytest.mark.parametrize("model", MODELS)
def test_claude_code_is_given_an_address_without_a_path_and_the_model(model):
    words = shlex.split(snippets(model)["Claude Code"].code.replace("\\\n", ""))
    given = dict(word.split("=", 1) for word in words[:-1])
    assert words[-1] == "claude"
    assert given["ANTHROPIC_BASE_URL"] == ADDRESS
    assert given["ANTHROPIC_AUTH_TOKEN"] == KEY
    assert given["ANTHROPIC_MODEL"] == given["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == model


def test_what_is_not_known_yet_is_named():
    code = " ".join(snippet.code for snippet in make_snippets(ADDRESS, "", ""))
    assert "YOUR_KEY" in code
    assert "YOUR_MODEL" in code
