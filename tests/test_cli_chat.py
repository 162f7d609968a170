"""`fovea chat`: turns add up, commands act, errors do not end it."""

import io
import sys

import pytest

from engine.api.errors import ContextError
from engine.api.request import GenerateRequest, Image, LoadModel, Role
from engine.cli import main
from tests.fake_engine import FakeEngine, fail


@pytest.fixture
def chat(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def run(typed, *words, scripts=None):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        engine = FakeEngine(scripts)
        status = main(["chat", *words], open_engine=engine.open)
        return status, [request for request in engine.requests if isinstance(request, GenerateRequest)]

    return run


def turns(request):
    return [(message.role, message.text) for message in request.prompt]


def test_turns_add_up(chat, capsys):
    status, (first, second) = chat("Who?\n\nAnd then?\n", "--system", "Be brief.", "--max-tokens", "9")
    assert status == 0
    assert capsys.readouterr().out == "Hello world\nHello world\n"
    assert turns(first) == [(Role.SYSTEM, "Be brief."), (Role.USER, "Who?")]
    assert turns(second) == [
        *turns(first),
        (Role.ASSISTANT, "Hello world"),
        (Role.USER, "And then?"),
    ]
    assert second.max_tokens == 9


def test_pictures_go_with_the_next_question_and_stay_in_its_turn(chat, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    _, (first, second) = chat(f"/image {b}\nWhat?\nAnd?\n", "--image", str(a))
    assert first.prompt[0].parts[:2] == (Image(a, "a.png"), Image(b, "b.png"))
    assert second.prompt[0] == first.prompt[0]
    assert len(second.prompt[2].parts) == 1


def test_clear_begins_anew_and_quit_leaves(chat):
    _, requests = chat("One\n/clear\nTwo\n/quit\nThree\n", "--system", "Be brief.")
    assert [turns(request)[1:] for request in requests] == [[(Role.USER, "One")], [(Role.USER, "Two")]]


def test_an_error_leaves_the_conversation_as_it_was(chat, capsys):
    error = ContextError("Too long.", "Shorten it.")
    status, requests = chat("One\nTwo\n", scripts={GenerateRequest: fail(error)})
    assert status == 0
    assert capsys.readouterr().err == "Too long. Shorten it.\n" * 2
    assert [turns(request) for request in requests] == [[(Role.USER, "One")], [(Role.USER, "Two")]]


def test_a_missing_picture_is_told_at_once(chat, capsys):
    chat("/image nowhere.png\n")
    assert "nowhere.png" in capsys.readouterr().err


def test_a_model_that_does_not_load_ends_it(chat, capsys):
    assert chat("One\n", scripts={LoadModel: fail(ContextError("No.", "Other one."))}) == (2, [])
