"""The local API in words."""

import dataclasses

import pytest

from app.state.catalogue import Machine
from app.state.models import ModelsState
from app.state.request_log import RequestLine, Throughput
from app.state.server import ServerState
from app.state.server_port import Reach, ServerFailed, ServerOptions, ServerStarted
from app.state.server_wording import milliseconds_text, state_sentence, state_word, throughput_text, tokens_text
from engine.api.events import Status
from tests.app.state.ports import NotingPort
from tests.app.state.server_ports import Clock, NotingServerPort
from tests.fake_engine import INFO


@pytest.fixture
def models():
    return ModelsState(NotingPort(), (), Machine(16_000_000_000, on_cpu=False))


@pytest.fixture
def server():
    return ServerState(NotingServerPort(), ServerOptions(), Clock(), is_wanted=False)


def test_who_may_use_what_is_said(server, models):
    assert "cannot use" in state_sentence(server, models)
    server.turn(True)
    server.take(ServerStarted("http://127.0.0.1:8080"))
    assert state_sentence(server, models).endswith("can use the model once one is loaded.")
    models.take(Status("r", dataclasses.replace(INFO, source="lab/small"), 0, 0, 0))
    assert state_sentence(server, models) == "Programs on this computer that have the key can use small."
    models.take(Status("r", INFO, 0, 0, 0))
    assert state_sentence(server, models).endswith("the starter model.")
    server.options = ServerOptions(reach=Reach.NETWORK)
    assert "your network" in state_sentence(server, models)


def test_the_menu_bar_says_it_in_a_few_words(server):
    assert state_word(server) == "Local API is off"
    server.turn(True)
    assert state_word(server) == "Local API is starting…"
    server.take(ServerStarted("http://127.0.0.1:8080"))
    assert state_word(server) == "On at 127.0.0.1:8080"
    server.set_port(9000)
    assert state_word(server) == "Local API is starting anew…"
    server.turn(False)
    assert state_word(server) == "Local API is stopping…"
    server.turn(True)
    server.take(ServerFailed("No."))
    assert state_word(server) == "Local API could not be turned on"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Throughput(), "Quiet in the last minute"),
        (Throughput(1, 0.0), "1 request in the last minute"),
        (Throughput(1200, 14.04), "1,200 requests in the last minute · 14.0 tokens/s"),
    ],
)
def test_how_busy_it_was(given, words):
    assert throughput_text(given) == words


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(0.2, "1 ms"), (999, "999 ms"), (4210, "4.2 s"), (99_960, "100 s"), (3_600_000, "3,600 s")],
)
def test_how_long_it_took(milliseconds, words):
    assert milliseconds_text(milliseconds).replace("\u00a0", " ") == words


def test_tokens_are_left_out_where_there_were_none():
    line = RequestLine(0.0, "", "", 200, 12_034, 512)
    assert tokens_text(line) == "12,034 → 512"
    assert tokens_text(dataclasses.replace(line, prompt_tokens=0, completion_tokens=0)) == ""
