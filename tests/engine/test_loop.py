"""The engine from the outside: whatever is asked, in whatever order, ends in exactly one terminal event."""

import io
import random

import pytest
from PIL import Image as PILImage

from engine.api.errors import Fault
from engine.api.events import Accepted, Failed, Finished, FinishReason, Progress, Stage, Status, TextDelta
from engine.api.request import (
    GenerateRequest,
    Image,
    LoadModel,
    Message,
    PullModel,
    Role,
    Text,
    TrainRequest,
    UnloadModel,
)
from engine.api.settings import CacheSettings, EngineSettings, SamplingSettings
from engine.host import EngineHost
from engine.loop import EngineLoop
from engine.run.runner import Runner
from tests.recording import Recorder, ask

SETTINGS = EngineSettings(cache=CacheSettings(prefill_step_size=16))


def question(text="Hello", **options):
    options.setdefault("max_tokens", 8)
    return GenerateRequest((Message(Role.USER, (Text(text),)),), **options)


@pytest.fixture
def host():
    with EngineHost(SETTINGS) as host:
        yield host


@pytest.fixture
def client(host, tiny_llama):
    """With the tiny model loaded."""
    loaded = ask(host.client, LoadModel(str(tiny_llama)))
    assert isinstance(loaded.end(), Finished), loaded.events
    return host.client


def test_loading_tells_how_far_it_is_and_what_was_loaded(host, tiny_llama):
    loaded = ask(host.client, LoadModel(str(tiny_llama)))
    finished = loaded.end()
    assert loaded.events[0] == Accepted(loaded.request_id)
    progress = [event for event in loaded.events if isinstance(event, Progress) and event.stage is Stage.LOADING]
    assert progress[-1].done == progress[-1].total == finished.model.weight_bytes
    assert [type(event) for event in loaded.events[-2:]] == [Status, Finished]
    assert (finished.model.model_type, finished.model.context_length) == ("llama", 512)


def test_an_answer_streams_and_ends_once(client):
    answer = ask(client, question())
    finished = answer.end()
    assert answer.events[0] == Accepted(answer.request_id)
    assert finished.reason in (FinishReason.LENGTH, FinishReason.STOP)
    assert len(answer.token_ids) == finished.usage.completion_tokens
    assert finished.usage.prompt_tokens > 0
    assert finished.timings.ttft_s > 0


def test_answers_under_way_together_equal_lone_ones(client):
    texts = ["One", "Two two", "Three three three" * 5]
    alone = []
    for text in texts:
        recorder = ask(client, question(text, max_tokens=20))
        recorder.end()
        alone.append(recorder.token_ids)
    together = [ask(client, question(text, max_tokens=20)) for text in texts]
    for recorder in together:
        recorder.end()
    assert [recorder.token_ids for recorder in together] == alone


def test_a_prompt_in_chunks_gives_the_same_answer(tiny_llama):
    answers = []
    for step in (7, 512):
        with EngineHost(EngineSettings(cache=CacheSettings(prefill_step_size=step))) as host:
            ask(host.client, LoadModel(str(tiny_llama))).end()
            answer = ask(host.client, question("A prompt of some length " * 4, max_tokens=12))
            answer.end()
            answers.append(answer.token_ids)
    assert answers[0] == answers[1]


def test_the_same_seed_gives_the_same_text_whatever_else_runs(client):
    request = question(sampling=SamplingSettings(temperature=1.0, seed=5), max_tokens=20)
    alone = ask(client, request)
    alone.end()
    other = ask(client, question("Else", sampling=SamplingSettings(temperature=1.0), max_tokens=40))
    again = ask(client, request)
    again.end()
    other.end()
    assert again.token_ids == alone.token_ids


def test_a_stop_string_ends_the_answer_before_it(client):
    whole = ask(client, question(max_tokens=30))
    whole.end()
    stop = whole.text[5:8]
    cut = ask(client, question(max_tokens=30, stop=(stop,)))
    assert cut.end().reason is FinishReason.STOP
    assert cut.text == whole.text[: whole.text.index(stop)]


def cancelled_at(client, request, is_the_moment):
    """The answer to `request`, stopped by its own sink, so before the engine's next look at its letters."""
    recorder = Recorder()

    def sink(events):
        recorder(events)
        for event in filter(is_the_moment, events):
            client.cancel(event.request_id)

    client.submit(request, sink)
    return recorder


def test_cancelling_stops_the_answer_within_a_step(client):
    answer = cancelled_at(client, question(max_tokens=400), lambda event: isinstance(event, TextDelta))
    finished = answer.end()
    first = next(event for event in answer.events if isinstance(event, TextDelta))
    assert finished.reason is FinishReason.CANCELLED
    assert finished.usage.completion_tokens == len(first.tokens)


def test_cancelling_a_long_prompt_stops_it_within_a_chunk(client):
    def is_prefill(event):
        return isinstance(event, Progress) and event.stage is Stage.PREFILL

    answer = cancelled_at(client, question("word " * 90), is_prefill)
    assert answer.end().reason is FinishReason.CANCELLED
    assert [event.done for event in answer.events if is_prefill(event)] == [SETTINGS.cache.prefill_step_size]
    assert answer.token_ids == []


def test_cancelling_one_that_has_ended_is_no_error(client):
    answer = ask(client, question())
    answer.end()
    client.cancel(answer.request_id)
    client.cancel("never-was")
    after = ask(client, question())
    after.end()
    assert len(answer.terminal) == 1


def test_without_a_model_the_request_fails_and_says_what_to_do(host):
    failed = ask(host.client, question()).end()
    assert (failed.code, failed.fault) == ("no_model", Fault.USER)
    assert failed.hint


def test_a_prompt_longer_than_the_context_fails_with_numbers(client):
    failed = ask(client, question("x" * 600)).end()
    assert failed.code == "context_length_exceeded"
    assert "512" in failed.message


def test_max_tokens_is_cut_to_the_context(client):
    finished = ask(client, question("x" * 490, max_tokens=100)).end()
    assert finished.usage.prompt_tokens + finished.usage.completion_tokens <= 512


def test_the_starter_is_not_looked_for_on_the_hub(host):
    failed = ask(host.client, PullModel("starter")).end()
    assert failed.fault is Fault.USER
    assert "comes with Fovea" in failed.message
    assert "make setup" in failed.hint


def test_what_is_not_built_yet_is_refused_by_name(client, tmp_path):
    failed = ask(client, TrainRequest(tmp_path, tmp_path)).end()
    assert (failed.code, "TrainRequest" in failed.message) == ("unsupported", True)


def test_a_step_that_fails_ends_those_in_it_and_leaves_the_engine_serving(client, monkeypatch, caplog):
    def explode(self, names):
        raise RuntimeError("the device caught fire")

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "decode", explode)
        failed = ask(client, question()).end()
    assert (failed.code, failed.fault) == ("internal", Fault.ENGINE)
    assert isinstance(ask(client, question()).end(), Finished)


def test_a_prompt_that_fails_ends_alone(client, monkeypatch, caplog):
    running = ask(client, question(max_tokens=300))
    running.began()
    prefill = Runner.prefill

    def explode(self, name):
        if name != running.request_id:
            raise MemoryError("[malloc] Unable to allocate 1 byte")
        return prefill(self, name)

    monkeypatch.setattr(Runner, "prefill", explode)
    assert ask(client, question()).end().code == "out_of_memory"
    assert isinstance(running.end(), Finished)


def test_a_sink_that_raises_costs_only_its_own_request(client, caplog):
    client.submit(question(max_tokens=300), lambda events: 1 / 0)
    assert isinstance(ask(client, question()).end(), Finished)


def test_a_second_model_is_loaded_only_when_the_first_has_gone(client, tiny_llama, monkeypatch):
    order = []
    vacate = EngineLoop.vacate
    monkeypatch.setattr(EngineLoop, "vacate", lambda self: (order.append("vacate"), vacate(self)))
    from engine import opening

    materialise = opening.materialise
    monkeypatch.setattr(opening, "materialise", lambda checkpoint: (order.append("read"), materialise(checkpoint))[1])
    ask(client, LoadModel(str(tiny_llama))).end()
    assert order == ["vacate", "read"]


def test_a_load_waits_for_the_answers_before_it_and_holds_those_after_it(client, tiny_llama):
    before = ask(client, question(max_tokens=50))
    load = ask(client, LoadModel(str(tiny_llama)))
    after = ask(client, question())
    assert [type(recorder.end()) for recorder in (before, load, after)] == [Finished] * 3
    assert before.end().reason is not FinishReason.CANCELLED


def test_a_model_that_cannot_be_loaded_leaves_the_loaded_one_usable(client, tmp_path):
    assert isinstance(ask(client, LoadModel(str(tmp_path))).end(), Failed)
    assert isinstance(ask(client, question()).end(), Finished)


def test_unloading_lets_go_of_the_model(client):
    status = [event for event in unloaded_events(client) if isinstance(event, Status)]
    assert status[-1].model is None
    assert ask(client, question()).end().code == "no_model"


def unloaded_events(client):
    recorder = ask(client, UnloadModel())
    recorder.end()
    return recorder.events


def test_closing_ends_everything_once_and_soon(tiny_llama):
    host = EngineHost(SETTINGS)
    host.start()
    ask(host.client, LoadModel(str(tiny_llama))).end()
    recorders = [ask(host.client, question(max_tokens=400)) for _ in range(12)]
    recorders[0].began()
    host.close()
    assert [len(recorder.terminal) for recorder in recorders] == [1] * 12
    late = ask(host.client, question())
    assert late.end().code == "engine_closed"


def test_a_device_that_cannot_be_opened_is_told_to_every_request(monkeypatch, caplog):
    def broken(settings):
        raise OSError("no device")

    monkeypatch.setattr("engine.loop.open_device", broken)
    with EngineHost(SETTINGS) as host:
        assert ask(host.client, question()).end().fault is Fault.ENGINE


def test_requests_arriving_cancelled_and_failing_at_random_all_end_once(client):
    rng = random.Random(1)
    recorders = []
    for _ in range(60):
        size = rng.choice((1, 20, 90, 700))
        recorder = ask(client, question("y" * size, max_tokens=rng.randint(1, 25)))
        recorders.append(recorder)
        if rng.random() < 0.4:
            client.cancel(rng.choice(recorders).request_id)
    for recorder in recorders:
        recorder.end()
    assert isinstance(ask(client, question()).end(), Finished)
    assert {len(recorder.terminal) for recorder in recorders} == {1}
    assert all(type(recorder.events[0]) is Accepted for recorder in recorders)
    assert all(recorder.events[-1] in recorder.terminal for recorder in recorders)


def test_text_deltas_carry_logprobs_when_asked(client):
    answer = ask(client, question(logprobs=True))
    answer.end()
    assert len(answer.logprobs) == answer.end().usage.completion_tokens
    assert all(logprob < 0 for logprob in answer.logprobs)


def picture(width=40, height=30):
    data = io.BytesIO()
    PILImage.new("RGB", (width, height), (200, 30, 30)).save(data, "PNG")
    return Image(data.getvalue())


def about(*parts, **options):
    return GenerateRequest((Message(Role.USER, (*parts, Text("What is this?"))),), **{"max_tokens": 8, **options})


@pytest.fixture
def seeing(host, tiny_smolvlm):
    assert isinstance(ask(host.client, LoadModel(str(tiny_smolvlm))).end(), Finished)
    return host.client


def test_pictures_go_in_and_are_counted(seeing):
    one, two = ask(seeing, about(picture())), ask(seeing, about(picture(), picture(16, 16)))
    assert (one.end().usage.image_tokens, two.end().usage.image_tokens) == (20, 40)


def test_a_border_between_chunks_inside_a_picture_changes_nothing(seeing, tiny_smolvlm):
    request = about(picture(), max_tokens=16)
    chunked = ask(seeing, request)
    chunked.end()
    with EngineHost(EngineSettings()) as whole_host:
        ask(whole_host.client, LoadModel(str(tiny_smolvlm))).end()
        whole = ask(whole_host.client, request)
        whole.end()
    assert chunked.token_ids == whole.token_ids


def test_what_a_picture_shows_changes_the_answer(seeing):
    red = ask(seeing, about(picture(), logprobs=True))
    data = io.BytesIO()
    PILImage.effect_noise((40, 30), 80).save(data, "PNG")
    noise = ask(seeing, about(Image(data.getvalue()), logprobs=True))
    red.end()
    noise.end()
    assert red.logprobs != noise.logprobs


def test_a_broken_picture_fails_its_own_request_only(seeing):
    good = ask(seeing, about(picture(), max_tokens=60))
    broken = ask(seeing, about(Image(b"not a picture", name="holiday.png")))
    failed = broken.end()
    assert (failed.code, failed.fault) == ("bad_media", Fault.USER)
    assert "holiday.png" in failed.message
    assert isinstance(good.end(), Finished)


def test_the_random_model_for_self_tests_is_written_when_asked_for_and_leaves_nothing(host, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert isinstance(ask(host.client, LoadModel("tiny")).end(), Finished)
    assert list(tmp_path.glob("fovea-*")) == []
    assert isinstance(ask(host.client, about(picture())).end(), Finished)


def test_loading_a_folder_writes_nothing(host, tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a disk without room"))
    assert isinstance(ask(host.client, LoadModel(str(tiny_llama))).end(), Finished)


def test_a_load_that_is_cancelled_or_fails_half_way_says_that_no_model_is_left(client, tiny_llama, monkeypatch):
    from engine import opening

    def endless(checkpoint):
        while True:
            yield 1, 2

    def torn(checkpoint):
        yield 1, 2
        raise OSError("the disk was pulled out")

    for materialise in (endless, torn):
        monkeypatch.setattr(opening, "materialise", materialise)
        load = ask(client, LoadModel(str(tiny_llama)))
        load.wait_for(lambda events: any(isinstance(e, Progress) and e.stage is Stage.LOADING for e in events))
        client.cancel(load.request_id)
        load.end()
        assert isinstance(load.events[-2], Status)
        assert load.events[-2].model is None


def test_a_stop_is_heard_between_the_tiles_of_one_picture(seeing, monkeypatch):
    from engine.models.towers.siglip import SiglipTower

    looks = []
    look = SiglipTower.__call__

    def stop_at_the_second(tower, pixels):
        looks.append(len(pixels))
        if len(looks) == 2:
            seeing.cancel(answer.request_id)
        return look(tower, pixels)

    monkeypatch.setattr(SiglipTower, "__call__", stop_at_the_second)
    answer = Recorder()
    answer.request_id = "r2"
    assert seeing.submit(about(picture()), answer) == answer.request_id
    assert answer.end().reason is FinishReason.CANCELLED
    assert looks == [1, 1]
