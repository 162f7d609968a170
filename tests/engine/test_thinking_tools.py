"""Thinking that is ended, and tools that are called, through the whole engine: tokens, text and usage agree."""

import json
from pathlib import Path

import jsonschema
import mlx.core as mx
import pytest

from engine.api.errors import Fault
from engine.api.events import Failed, Finished, FinishReason, TextDelta, ThinkingDelta, ToolCallDelta
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text
from engine.api.response_format import Choice, JsonSchema
from engine.api.settings import EngineSettings, SamplingSettings, SpeculationSettings
from engine.api.tools import Tool, ToolChoice
from engine.host import EngineHost
from engine.loading.tiny import write_tiny_llama
from engine.loading.tokenizer import load_tokenizer
from engine.run.sampler import Sampler
from tests.recording import ask

TEMPLATE = (
    "{{ tools | tojson if tools else '' }}{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
    "<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}{% endfor %}{% if enable_thinking %}<think>{% endif %}"
)
CALL = '<tool_call>{"name": "get_time", "arguments": {"zone": "UTC"}}</tool_call>'
CLOCK = Tool("get_time")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model whose template knows thinking and tools."""
    folder = write_tiny_llama(tmp_path_factory.mktemp("thinking"), context_length=4096)
    path = Path(folder) / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": TEMPLATE + "{# </think> #}"}))
    return folder


@pytest.fixture(scope="module")
def client(folder):
    # What is written is drawn in its order, and cannot be drawn again behind a guess that was wrong.
    with EngineHost(EngineSettings(speculation=SpeculationSettings(lookup=False))) as host:
        loaded = ask(host.client, LoadModel(str(folder)))
        assert isinstance(loaded.end(), Finished), loaded.events
        yield host.client


@pytest.fixture
def answering(client, folder, monkeypatch):
    """Asks for an answer that is `written`, letter by letter, wherever nothing is forced; then the model ends."""
    tokenizer = load_tokenizer(folder, ())
    end = tokenizer.eos_token_id

    def answer(written, **options):
        drawn = iter([*tokenizer.encode(written, add_special_tokens=False), end])
        choose = lambda self, logits: mx.array([next(drawn, end)], dtype=mx.uint32)  # noqa: E731
        monkeypatch.setattr(Sampler, "_choose", choose)
        options.setdefault("max_tokens", 200)
        return ask(client, GenerateRequest((Message(Role.USER, (Text("When?"),)),), **options))

    return answer


def joined(recorder, kind):
    return "".join(event.text for event in recorder.events if isinstance(event, kind))


def sampled(recorder):
    return sum(len(event.tokens) for event in recorder.events if isinstance(event, TextDelta | ThinkingDelta))


@pytest.mark.parametrize("budget", [0, 1, 5])
def test_thinking_is_ended_by_its_budget(answering, budget):
    answer = answering("x" * 40, thinking_budget=budget, template_options=(("enable_thinking", True),))
    usage = answer.end().usage
    assert joined(answer, ThinkingDelta) == "x" * budget
    assert joined(answer, TextDelta).strip("x") == ""
    assert usage.thinking_tokens == budget
    assert sampled(answer) == usage.completion_tokens == 40 + len("</think>") + 1


def test_thinking_without_a_budget_is_counted(answering):
    answer = answering("hm</think>yes", template_options=(("enable_thinking", True),))
    assert answer.end().usage.thinking_tokens == 2
    assert (joined(answer, ThinkingDelta), joined(answer, TextDelta)) == ("hm", "yes")


def test_a_call_ends_the_answer(answering):
    answer = answering(f"Wait. {CALL}", tools=(CLOCK,))
    finished = answer.end()
    (call,) = (event for event in answer.events if isinstance(event, ToolCallDelta))
    assert (call.index, call.name, call.arguments) == (0, "get_time", '{"zone": "UTC"}')
    assert call.call_id
    assert joined(answer, TextDelta) == "Wait."
    assert finished.reason is FinishReason.TOOL_CALLS
    assert sampled(answer) == finished.usage.completion_tokens
    assert finished.notes == ()


def test_a_call_that_is_cut_is_text_and_said(answering):
    answer = answering(CALL, tools=(CLOCK,), max_tokens=len(CALL) - 12)
    finished = answer.end()
    assert finished.reason is FinishReason.LENGTH
    assert joined(answer, TextDelta) == CALL[:-12]
    assert "call of a tool" in finished.notes[0]


PLACES = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 4}, "days": {"type": "integer", "maximum": 9, "minimum": 1}},
    "required": ["city", "days"],
}
WEATHER = Tool("get_weather", "", json.dumps(PLACES))
ANSWER = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}


def held(client, seed, *, shuns=(), **options):
    """An answer of the model's own, without tokens that it `shuns` where it may."""
    sampling = SamplingSettings(
        temperature=1.0, seed=seed, logit_bias=tuple((token, -100.0) for token in shuns) or None
    )
    options = {"max_tokens": 3000, "sampling": sampling, "tools": (WEATHER, CLOCK)} | options
    return ask(client, GenerateRequest((Message(Role.USER, (Text("When?"),)),), **options))


def called(recorder):
    events = [event for event in recorder.events if isinstance(event, ToolCallDelta)]
    return [(event.name, json.loads(event.arguments)) for event in events]


def check_calls(calls, names):
    assert calls
    for name, arguments in calls:
        assert name in names
        jsonschema.validate(arguments, PLACES if name == "get_weather" else {"maxProperties": 0})


@pytest.mark.parametrize("choice", [ToolChoice.REQUIRED, "get_weather", "get_time"])
def test_a_call_that_was_asked_for_is_made(client, choice):
    recorders = [held(client, seed, tool_choice=choice) for seed in range(3)]
    free = held(client, 7, max_tokens=30)
    for recorder in recorders:
        end = recorder.end()
        assert end.reason is FinishReason.TOOL_CALLS, end
        assert joined(recorder, TextDelta).strip() == ""
        calls = called(recorder)
        check_calls(calls, ("get_weather", "get_time") if choice is ToolChoice.REQUIRED else (choice,))
        assert len(calls) == 1 or choice is ToolChoice.REQUIRED
    assert isinstance(free.end(), Finished)


def test_each_of_several_answers_makes_its_call(client):
    recorder = held(client, 1, tool_choice="get_weather", n=3)
    assert [choice.reason for choice in recorder.end().choices] == [FinishReason.TOOL_CALLS] * 3
    assert sorted(event.choice for event in recorder.events if isinstance(event, ToolCallDelta)) == [0, 1, 2]
    check_calls(called(recorder), ("get_weather",))


@pytest.mark.parametrize("shunned", ["<", "{"])
def test_an_answer_has_its_form_or_is_a_call(client, folder, shunned):
    # A line's end may stand before a call, but not before the form.
    ids = load_tokenizer(folder, ()).encode(f"{shunned}\n\r\t ", add_special_tokens=False)
    form = JsonSchema.of(ANSWER, strict=True)
    recorder = held(client, 2, shuns=ids, response_format=form)
    end = recorder.end()
    if shunned == "{":
        assert end.reason is FinishReason.TOOL_CALLS
        check_calls(called(recorder), ("get_weather", "get_time"))
    else:
        assert (end.reason, called(recorder)) == (FinishReason.STOP, [])
        jsonschema.validate(json.loads(joined(recorder, TextDelta)), ANSWER)


@pytest.mark.parametrize(
    "options", [{"tool_choice": "get_weather"}, {"response_format": JsonSchema.of(ANSWER, strict=True)}]
)
def test_thinking_comes_first(client, options):
    thinks = {"template_options": (("enable_thinking", True),), "thinking_budget": 6}
    recorder = held(client, 3, **thinks, **options)
    end = recorder.end()
    assert end.usage.thinking_tokens == 6
    if end.reason is FinishReason.TOOL_CALLS:
        check_calls(called(recorder), ("get_weather", "get_time"))
    else:
        jsonschema.validate(json.loads(joined(recorder, TextDelta)), ANSWER)


def test_markers_in_a_held_answer_are_words(client, folder):
    words = "<think> <tool_call> </think> </tool_call>"
    shuns = load_tokenizer(folder, ()).encode("<\n\r\t ", add_special_tokens=False)
    recorder = held(client, 4, shuns=shuns, response_format=Choice((f"[{words}]",)))
    end = recorder.end()
    assert (end.reason, joined(recorder, TextDelta)) == (FinishReason.STOP, f"[{words}]")
    assert (end.notes, end.usage.thinking_tokens) == ((), 0)


def test_arguments_that_cannot_be_held_to_their_schema_are_named(client):
    strange = Tool("strange", "", '{"properties": {"a": {"not": {}}}}')
    failed = held(client, 5, tools=(CLOCK, strange), tool_choice=ToolChoice.REQUIRED).end()
    assert isinstance(failed, Failed)
    assert (failed.code, "'not' at strange#/properties/a" in failed.message) == ("unsupported_schema", True)


def test_a_budget_for_a_model_that_does_not_think_is_refused(answering, tiny_llama):
    with EngineHost(EngineSettings()) as host:
        ask(host.client, LoadModel(str(tiny_llama))).end()
        request = GenerateRequest((Message(Role.USER, (Text("x"),)),), thinking_budget=1)
        failed = ask(host.client, request).end()
    assert isinstance(failed, Failed)
    assert (failed.fault, "thinking_budget" in failed.message) == (Fault.USER, True)
