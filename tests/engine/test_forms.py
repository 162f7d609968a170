"""Answers held to a form through the whole engine: several at once, refused by name, and ended like any other."""

import json
import re

import jsonschema
import pytest

from engine.api.events import Failed, Finished, FinishReason, TextDelta
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text
from engine.api.response_format import Choice, JsonSchema, Regex
from engine.api.settings import ConstraintLimits, EngineSettings, SamplingSettings
from engine.host import EngineHost
from tests.recording import ask

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string", "maxLength": 5}, "b": {"type": "boolean"}},
    "required": ["a", "b"],
}
WARM = SamplingSettings(temperature=1.0, seed=3)


@pytest.fixture(scope="module")
def client(tiny_llama):
    limits = ConstraintLimits(max_regex_length=50)
    with EngineHost(EngineSettings(constraints=limits)) as host:
        assert isinstance(ask(host.client, LoadModel(str(tiny_llama))).end(), Finished)
        yield host.client


def question(form, **options):
    options = {"max_tokens": 400, "sampling": WARM} | options
    return GenerateRequest((Message(Role.USER, (Text("Hello"),)),), response_format=form, **options)


def test_answers_under_way_together_have_each_its_form(client):
    schema = JsonSchema.of(SCHEMA, strict=True)
    forms = [schema, Regex("[a-d]{12}"), None, Choice(("left", "right")), schema]
    recorders = [ask(client, question(form, max_tokens=400 if form else 30)) for form in forms]
    ends = [recorder.end() for recorder in recorders]
    first, letters, _, side, last = [recorder.text for recorder in recorders]
    assert [end.reason for end, form in zip(ends, forms, strict=True) if form] == [FinishReason.STOP] * 4
    jsonschema.validate(json.loads(first), SCHEMA)
    assert last == first, "the same seed gives the same text, whatever else runs"
    assert re.fullmatch("[a-d]{12}", letters)
    assert side in ("left", "right")


def test_alone_it_is_the_same(client):
    form = Regex("[a-z]{20}")
    alone = ask(client, question(form))
    alone.end()
    together = [ask(client, question(form)), ask(client, question(Regex("x{30}")))]
    for recorder in together:
        recorder.end()
    assert together[0].token_ids == alone.token_ids


def test_limits_and_stop_strings_end_it_as_they_do_others(client):
    form = Regex("[ab]{40}c")
    cut = ask(client, question(form, max_tokens=7))
    assert cut.end().reason is FinishReason.LENGTH
    assert len(cut.text) == 7
    stopped = ask(client, question(form, stop=("b",)))
    assert stopped.end().reason is FinishReason.STOP
    assert [choice.stop for choice in stopped.end().choices] == ["b"]
    assert [choice.stop for choice in cut.end().choices] == [""]
    assert set(stopped.text) <= {"a"}


def test_a_complete_answer_ends_at_once(client):
    """Without a token for the end, nor a wait for one: what it holds is the form and nothing else."""
    recorder = ask(client, question(Regex("[a-d]{12}")))
    end = recorder.end()
    assert end.reason is FinishReason.STOP
    assert (len(recorder.token_ids), end.usage.completion_tokens) == (12, 12)
    exact = ask(client, question(Regex("[a-d]{12}"), max_tokens=12))
    assert exact.end().reason is FinishReason.STOP, "complete, although there was no room for more"
    assert exact.token_ids == recorder.token_ids


def test_an_answer_that_may_go_on_ends_where_the_model_ends_it(client):
    end = ask(client, question(Regex("[a-d]{3,}"), max_tokens=40)).end()
    assert end.reason in (FinishReason.STOP, FinishReason.LENGTH)
    assert end.usage.completion_tokens > 3


def test_complete_answers_beside_longer_ones_leave_them_as_they_are(client):
    alone = ask(client, question(None, max_tokens=30))
    alone.end()
    several = ask(client, question(Regex("[a-d]{5}|[e-h]{9}"), n=4))
    beside = ask(client, question(None, max_tokens=30))
    ends = several.end().choices
    assert [choice.reason for choice in ends] == [FinishReason.STOP] * 4
    assert {choice.usage.completion_tokens for choice in ends} <= {5, 9}
    beside.end()
    assert beside.token_ids == alone.token_ids


def test_what_a_complete_answer_left_behind_is_found_again(client):
    first = ask(client, question(Regex("[a-d]{12}x"), tenant="kept"))
    first.end()
    prompt = (Message(Role.USER, (Text("Hello"),)), Message(Role.ASSISTANT, (Text(first.text),)))
    follow_up = (*prompt, Message(Role.USER, (Text("And?"),)))
    warm = ask(client, GenerateRequest(follow_up, max_tokens=20, sampling=WARM, tenant="kept"))
    cold = ask(client, GenerateRequest(follow_up, max_tokens=20, sampling=WARM, tenant="other"))
    usage = warm.end().usage
    plain = ask(client, question(None, max_tokens=1)).end().usage
    assert usage.cached_tokens >= plain.prompt_tokens + 13, "the answer itself, to its last token"
    assert cold.end().usage.cached_tokens == 0
    assert warm.token_ids == cold.token_ids


@pytest.mark.parametrize(
    ("form", "word", "code"),
    [
        (JsonSchema.of({"not": {}}), "'not' at #", "unsupported_schema"),
        (Regex("a" * 51), "at most 50", "format_too_large"),
        (Regex("("), "cannot be enforced", "bad_format"),
    ],
)
def test_what_cannot_be_held_fails_and_others_go_on(client, form, word, code):
    other = ask(client, question(None, max_tokens=40))
    failed = ask(client, question(form)).end()
    assert isinstance(failed, Failed)
    assert word in failed.message
    assert failed.code == code
    assert isinstance(other.end(), Finished)


def test_alternatives_come_with_their_tokens(client):
    asking = question(Regex("[ab]{5}"), logprobs=True, top_logprobs=3)
    recorder = ask(client, asking)
    recorder.end()
    tokens = [token for event in recorder.events if isinstance(event, TextDelta) for token in event.tokens]
    assert len(tokens) >= 5
    for token in tokens:
        assert len(token.alternatives) == 3
        logprobs = [alternative.logprob for alternative in token.alternatives]
        assert logprobs == sorted(logprobs, reverse=True)
        assert token.logprob <= logprobs[0]
        assert all(alternative.bytes for alternative in token.alternatives)
    assert b"".join(token.bytes for token in tokens[:5]).decode() == recorder.text
