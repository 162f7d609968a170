"""Thinking that is ended, and tools that are called, through the whole engine: tokens, text and usage agree."""

import json
import shutil
from pathlib import Path

import mlx.core as mx
import pytest

from engine.api.errors import Fault
from engine.api.events import Failed, Finished, FinishReason, TextDelta, ThinkingDelta, ToolCallDelta
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text
from engine.api.settings import EngineSettings, SpeculationSettings
from engine.api.tools import Tool
from engine.host import EngineHost
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
def folder(tiny_llama, tmp_path_factory):
    """A tiny model whose template knows thinking and tools."""
    folder = tmp_path_factory.mktemp("thinking") / "model"
    shutil.copytree(tiny_llama, folder)
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


def test_a_budget_for_a_model_that_does_not_think_is_refused(answering, tiny_llama):
    with EngineHost(EngineSettings()) as host:
        ask(host.client, LoadModel(str(tiny_llama))).end()
        request = GenerateRequest((Message(Role.USER, (Text("x"),)),), thinking_budget=1)
        failed = ask(host.client, request).end()
    assert isinstance(failed, Failed)
    assert (failed.fault, "thinking_budget" in failed.message) == (Fault.USER, True)
