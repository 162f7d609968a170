"""Whether an answer's last token is one that the model ended it with, and so no part of its text."""

import pytest

from engine.api.events import FinishReason
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text
from engine.api.response_format import Regex
from engine.api.settings import EngineSettings, SamplingSettings
from engine.host import EngineHost
from tests.recording import ask

ENDS = SamplingSettings(logit_bias=((256, 100.0),))


@pytest.fixture
def client(tiny_llama):
    with EngineHost(EngineSettings()) as host:
        ask(host.client, LoadModel(str(tiny_llama))).end()
        yield host.client


@pytest.mark.parametrize(
    ("options", "reason", "expected"),
    [
        ({"sampling": ENDS}, FinishReason.STOP, True),
        ({"response_format": Regex("[a-d]{5}")}, FinishReason.STOP, False),
        ({"max_tokens": 3, "sampling": SamplingSettings(logit_bias=((256, -100.0),))}, FinishReason.LENGTH, False),
    ],
    ids=["by the model", "by its form", "by its length"],
)
def test_an_answer_says_whether_the_model_ended_it(client, options, reason, expected):
    prompt = (Message(Role.USER, (Text("Hello"),)),)
    answer = ask(client, GenerateRequest(prompt, **{"max_tokens": 20, "n": 2, **options}))
    assert [(end.reason, end.end_token) for end in answer.end().choices] == [(reason, expected)] * 2
