"""What a model reads without answering: prompts that are counted, texts that become vectors; and whose model it is."""

import io
import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image as PILImage

from engine import readings
from engine.api.errors import RequestError
from engine.api.events import Failed, Finished, FinishReason, Progress, TextDelta
from engine.api.request import (
    CountTokens,
    EmbedRequest,
    GenerateRequest,
    Image,
    LoadModel,
    Message,
    RenderedPrompt,
    Role,
    Text,
)
from engine.api.settings import CacheSettings, EngineSettings
from engine.api.tools import Tool
from engine.host import EngineHost
from engine.run.prefill import Prefill
from tests.recording import Recorder, ask

SETTINGS = EngineSettings(cache=CacheSettings(prefill_step_size=16), max_waiting=3)
TEXTS = ("A lighthouse.", "A lighthouse by the sea, in winter, at night", "x")


@pytest.fixture
def host():
    with EngineHost(SETTINGS) as host:
        yield host


@pytest.fixture
def client(host, tiny_llama):
    assert isinstance(ask(host.client, LoadModel(str(tiny_llama))).end(), Finished)
    return host.client


@pytest.fixture
def seeing(host, tiny_smolvlm):
    assert isinstance(ask(host.client, LoadModel(str(tiny_smolvlm))).end(), Finished)
    return host.client


def says(*parts):
    return (Message(Role.USER, parts),)


def picture():
    data = io.BytesIO()
    PILImage.linear_gradient("L").resize((40, 24)).convert("RGB").save(data, "PNG")
    return Image(data.getvalue())


def embedded(client, *texts):
    finished = ask(client, EmbedRequest(texts)).end()
    assert isinstance(finished, Finished), finished
    return finished


# ---- counting


def test_a_prompt_is_counted_as_it_is_answered(client):
    counted = ask(client, CountTokens(says(Text("Hello there")))).end()
    answered = ask(client, GenerateRequest(says(Text("Hello there")), max_tokens=1)).end()
    assert counted.reason is FinishReason.DONE
    assert counted.usage.prompt_tokens == len(counted.token_ids) == answered.usage.prompt_tokens > 0
    assert counted.usage.completion_tokens == 0


def test_tools_and_what_the_template_is_told_are_counted(host, tiny_llama, tmp_path):
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    path = folder / "tokenizer_config.json"
    template = "{{ tools | tojson if tools else '' }}{{ style }}{% for m in messages %}{{ m.content }}{% endfor %}"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}))
    assert isinstance(ask(host.client, LoadModel(str(folder))).end(), Finished)
    options = [{}, {"template_options": (("style", "short"),)}, {"tools": (Tool("look_up"),)}]
    counts = [
        ask(host.client, CountTokens(says(Text("Hello")), **chosen)).end().usage.prompt_tokens for chosen in options
    ]
    assert counts[:2] == [5, 10]
    assert counts[2] > 10


def test_pictures_are_counted_and_no_tower_sees_them(seeing, monkeypatch):
    def look(*arguments):
        raise AssertionError("a tower was asked")

    monkeypatch.setattr(Prefill, "_look", look)
    conversation = says(picture(), Text("What is it?"))
    counted = ask(seeing, CountTokens(conversation)).end()
    monkeypatch.undo()
    answered = ask(seeing, GenerateRequest(conversation, max_tokens=1)).end()
    assert counted.usage.image_tokens == answered.usage.image_tokens > 0
    assert counted.usage.prompt_tokens == len(counted.token_ids) == answered.usage.prompt_tokens


def test_a_plain_text_is_counted(client):
    finished = ask(client, CountTokens(RenderedPrompt("Hello"))).end()
    assert finished.usage.prompt_tokens == len(finished.token_ids) == 5


def test_a_prompt_that_no_answer_would_be_given_to_is_not_counted(client):
    assert ask(client, CountTokens(says(picture()))).end().code == "unsupported_media"
    assert ask(client, CountTokens(())).end().code == "bad_request"


# ---- vectors


def test_vectors_have_length_one_and_tell_texts_apart(client):
    finished = embedded(client, *TEXTS)
    assert [math.hypot(*vector) for vector in finished.embeddings] == pytest.approx([1.0] * 3, abs=1e-6)
    assert len({len(vector) for vector in finished.embeddings}) == 1
    first, second, _ = map(np.array, finished.embeddings)
    assert first @ second < 0.9999
    assert finished.usage.prompt_tokens == sum(
        ask(client, CountTokens(RenderedPrompt(text))).end().usage.prompt_tokens for text in TEXTS
    )


def test_a_vector_does_not_depend_on_what_it_was_sent_with(client):
    together = embedded(client, *TEXTS).embeddings
    assert tuple(embedded(client, text).embeddings[0] for text in TEXTS) == together


def test_a_text_in_chunks_gives_the_same_vector(client, tiny_llama):
    with EngineHost(EngineSettings()) as whole:
        ask(whole.client, LoadModel(str(tiny_llama))).end()
        expected = embedded(whole.client, TEXTS[1]).embeddings
    assert np.allclose(embedded(client, TEXTS[1]).embeddings, expected, atol=1e-6)


def test_a_control_token_in_a_text_is_text(seeing):
    assert embedded(seeing, "<image> and <|im_end|>").usage.prompt_tokens > 5


def test_a_model_that_sees_embeds_texts(seeing):
    assert len(embedded(seeing, *TEXTS).embeddings) == 3


def test_answers_go_on_while_texts_are_read(client):
    answer = ask(client, GenerateRequest(says(Text("Hello")), max_tokens=60))
    answer.began()
    order = []

    def sink(events):
        recorder(events)
        order.extend(events)

    recorder = Recorder()
    answer_events = answer.events
    before = len(answer_events)
    client.submit(EmbedRequest(("y" * 400,)), sink)
    recorder.end()
    assert len([event for event in order if isinstance(event, Progress)]) == 400 // SETTINGS.cache.prefill_step_size
    assert any(isinstance(event, TextDelta) for event in answer_events[before:])
    assert isinstance(answer.end(), Finished)


def test_a_cancel_is_heard_between_two_chunks(client):
    recorder = Recorder()

    def sink(events):
        recorder(events)
        if any(isinstance(event, Progress) for event in events):
            client.cancel(events[0].request_id)

    client.submit(EmbedRequest(("y" * 400, "z" * 400)), sink)
    assert recorder.end().reason is FinishReason.CANCELLED
    assert len([event for event in recorder.events if isinstance(event, Progress)]) == 1


def test_what_is_too_much_is_refused(client, monkeypatch):
    assert ask(client, EmbedRequest(("y" * 600,))).end().code == "context_length_exceeded"
    monkeypatch.setattr(readings, "MOST_TOKENS", 100)
    assert ask(client, EmbedRequest(("y" * 60,) * 2)).end().code == "too_many_tokens"


@pytest.mark.parametrize("texts", [(), ("",), ("x",) * 2049])
def test_texts_that_make_no_sense_are_refused_at_once(texts):
    with pytest.raises(RequestError):
        EmbedRequest(texts)


def test_no_more_may_wait_than_may(client):
    ends = [recorder.end() for recorder in [ask(client, EmbedRequest(("y" * 400,))) for _ in range(5)]]
    assert [end.code for end in ends if isinstance(end, Failed)] in ([], ["busy"], ["busy"] * 2)
    assert isinstance(ends[0], Finished)


# ---- whose model


@pytest.mark.parametrize(
    "request_",
    [
        GenerateRequest(says(Text("Hello")), model="another"),
        CountTokens(says(Text("Hello")), model="another"),
        EmbedRequest(TEXTS, model="another"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_is_meant_for_another_model_fails(client, request_):
    failed = ask(client, request_).end()
    assert (failed.code, bool(failed.hint)) == ("model_changed", True)


def test_a_model_that_goes_before_its_turn_comes_is_missed(client, tiny_llama, tiny_smolvlm):
    here, there = str(tiny_llama), str(tiny_smolvlm)
    before = ask(client, GenerateRequest(says(Text("Hello")), max_tokens=4, model=here))
    ask(client, LoadModel(there))
    after = [ask(client, GenerateRequest(says(Text("Hello")), max_tokens=4, model=model)) for model in (here, there)]
    assert isinstance(before.end(), Finished)
    assert after[0].end().code == "model_changed"
    assert isinstance(after[1].end(), Finished)


def test_a_load_waits_for_the_texts_before_it(client, tiny_llama):
    reading = ask(client, EmbedRequest(("y" * 400,)))
    loading = ask(client, LoadModel(str(tiny_llama)))
    after = ask(client, EmbedRequest(TEXTS))
    assert isinstance(loading.end(), Finished)
    assert reading.terminal
    assert isinstance(reading.end(), Finished)
    assert isinstance(after.end(), Finished)


@pytest.mark.parametrize("request_", [CountTokens(says(Text("Hello"))), EmbedRequest(TEXTS)])
def test_without_a_model_nothing_is_read(host, request_):
    assert ask(host.client, request_).end().code == "no_model"
