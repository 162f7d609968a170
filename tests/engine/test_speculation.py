"""Guesses through the whole engine: the answers are those without, and what was guessed is told."""

import shutil
from contextlib import contextmanager

import pytest

from engine import generate, load
from engine.api.errors import CheckpointError, RequestError
from engine.api.events import Failed, Finished, FinishReason
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text
from engine.api.response_format import Regex
from engine.api.settings import EngineSettings, SamplingSettings, SpeculationSettings
from engine.host import EngineHost
from engine.loading.tiny import write_tiny_decoder, write_tiny_llama
from tests.recording import ask
from tests.tiny_decoders import CONFIGS

OFF = EngineSettings(speculation=SpeculationSettings(lookup=False))
QUESTION = "Say it again. Say it again. Say it again. Say it"
GREEDY = SamplingSettings(temperature=0.0)
# Says one thing for the most part, so that what comes next can be guessed.
BIASED = SamplingSettings(temperature=0.0, logit_bias=((70, 20.0),))


def request(text=QUESTION, **options):
    options = {"max_tokens": 100, "sampling": GREEDY, "logprobs": True} | options
    return GenerateRequest((Message(Role.USER, (Text(text),)),), **options)


def answered(client, asked):
    recorder = ask(client, asked)
    end = recorder.end()
    assert isinstance(end, Finished), end
    return recorder, end


@contextmanager
def engine(folder, settings=EngineSettings(), draft=None):  # noqa: B008
    with EngineHost(settings) as host:
        loaded = ask(host.client, LoadModel(str(folder), draft_model=draft and str(draft))).end()
        assert isinstance(loaded, Finished), loaded
        yield host.client


REQUESTS = {
    "greedy": request(),
    "one thing": request(sampling=BIASED),
    "cool": request(sampling=SamplingSettings(temperature=0.3, seed=4, logit_bias=((70, 20.0),))),
    "a form": request(response_format=Regex("(round and ){6}")),
    "a form with a choice": request(response_format=Regex("((round|about) and ){6}"), sampling=BIASED),
    "cut": request(sampling=BIASED, max_tokens=23),
    "stopped": request(response_format=Regex("(round and ){6}"), stop=("d and round and round a",)),
    "penalties": request(sampling=SamplingSettings(temperature=0.0, repetition_penalty=1.05)),
}
# What cannot be said twice, and what is guessed seldom.
SELDOM = ("greedy", "penalties")


def test_answers_are_those_without(tiny_llama):
    said = []
    for settings in (EngineSettings(), OFF):
        with engine(tiny_llama, settings) as client:
            said.append({name: answered(client, asked) for name, asked in REQUESTS.items()})
    for name in REQUESTS:
        (recorder, end), (other, without) = (each[name] for each in said)
        assert recorder.token_ids == other.token_ids, name
        assert (recorder.text, end.reason) == (other.text, without.reason)
        assert recorder.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        usage = end.usage
        assert usage.completion_tokens == len(recorder.token_ids)
        assert usage.accepted_tokens <= usage.drafted_tokens
        assert usage.accepted_tokens > 5 or name in SELDOM, name
        assert without.usage.drafted_tokens == 0
    cut, stopped = said[0]["cut"][1], said[0]["stopped"][0]
    assert (cut.reason, cut.usage.completion_tokens) == (FinishReason.LENGTH, 23)
    assert stopped.text == "roun"


def test_a_warm_answer_is_not_guessed(tiny_llama):
    asked = request(sampling=SamplingSettings(temperature=0.9, seed=1, logit_bias=((70, 60.0),)))
    with engine(tiny_llama) as client:
        _, end = answered(client, asked)
    assert end.usage.drafted_tokens == 0


def test_what_was_guessed_is_found_again_by_the_next_question(tiny_llama):
    """Caches hold what was said: a conversation goes on as in an engine that guesses nothing."""
    answers = []
    for settings in (EngineSettings(), OFF):
        with engine(tiny_llama, settings) as client:
            first, _ = answered(client, request(sampling=BIASED, max_tokens=31))
            turns = (
                Message(Role.USER, (Text(QUESTION),)),
                Message(Role.ASSISTANT, (Text(first.text),)),
                Message(Role.USER, (Text("And now?"),)),
            )
            second, end = answered(client, GenerateRequest(turns, max_tokens=20, sampling=GREEDY))
        answers.append((first.text, second.token_ids))
        assert end.usage.cached_tokens > len(QUESTION)
    assert answers[0] == answers[1]


def test_a_stop_is_heard_between_guesses(tiny_llama):
    with engine(tiny_llama) as client:
        recorder = ask(client, request(sampling=BIASED, max_tokens=400))
        recorder.began()
        client.cancel(recorder.request_id)
        end = recorder.end()
    assert end.reason in (FinishReason.CANCELLED, FinishReason.LENGTH)
    assert end.usage.completion_tokens == len(recorder.token_ids)


@pytest.fixture(scope="module")
def draft(tmp_path_factory):
    return write_tiny_llama(tmp_path_factory.mktemp("draft") / "draft", seed=8)


@pytest.mark.parametrize("sampling", [GREEDY, BIASED, SamplingSettings(temperature=1.0, seed=2)])
def test_a_draft_model_changes_no_token(tiny_llama, draft, sampling):
    asked = request("Anything", sampling=sampling)
    with engine(tiny_llama, draft=draft) as client:
        guessed, end = answered(client, asked)
    with engine(tiny_llama, OFF) as client:
        without, _ = answered(client, asked)
    assert guessed.token_ids == without.token_ids
    assert end.usage.drafted_tokens > 0


def test_a_model_guesses_well_for_itself(tiny_llama):
    with engine(tiny_llama, draft=tiny_llama) as client:
        _, end = answered(client, request("Anything", max_tokens=50))
        assert end.usage.accepted_tokens == end.usage.drafted_tokens > 35
        # Warm, it is right now and then.
        _, end = answered(client, request("Anything", sampling=SamplingSettings(temperature=0.5, seed=2)))
        assert 0 < end.usage.accepted_tokens < end.usage.drafted_tokens


def test_a_draft_model_that_does_not_fit_is_refused_and_the_one_before_stays(tiny_llama, tmp_path):
    other = shutil.copytree(tiny_llama, tmp_path / "other")
    path = other / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("<|user|>", "<|somebody|>"), encoding="utf-8")
    recurrent = write_tiny_decoder(tmp_path / "recurrent", "qwen3_next", **CONFIGS["qwen3_next"], head_dim=8)
    with EngineHost(OFF) as host:
        assert isinstance(ask(host.client, LoadModel(str(tiny_llama))).end(), Finished)
        for wrong, word in ((other, "other tokens"), (recurrent, "taken back"), (tmp_path / "none", "")):
            failed = ask(host.client, LoadModel(str(tiny_llama), draft_model=str(wrong))).end()
            assert isinstance(failed, Failed)
            assert word in failed.message
            assert failed.kind is CheckpointError or not word
        answered(host.client, request())


def test_python_takes_a_draft_model(tiny_llama, draft):
    model, processor = load(tiny_llama, draft_model=draft, settings=OFF)
    with model:
        result = generate(model, processor, "Anything", max_tokens=30, temperature=0.0)
        assert result.usage.drafted_tokens > 0
        with pytest.raises(RequestError, match="draft_model"):
            generate(model, processor, "Anything", draft_model="x")


@pytest.mark.parametrize("most", [0, 65])
def test_settings_in_range(most):
    with pytest.raises(RequestError, match="between 1 and 64"):
        SpeculationSettings(most=most)
