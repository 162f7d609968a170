"""Whoever watches the engine is told of it at once and at each change, and keeps it neither busy nor open."""

import threading

import pytest

from engine.api.events import Accepted, Finished, FinishReason, Status
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text, UnloadModel, WatchStatus
from engine.api.settings import EngineSettings
from engine.host import EngineHost
from engine.inbox import Inbox
from tests.recording import PATIENCE_S, ask


@pytest.fixture
def client():
    with EngineHost(EngineSettings()) as host:
        yield host.client


def question(**options):
    return GenerateRequest((Message(Role.USER, (Text("Hello"),)),), **options)


def states(recorder):
    return [event for event in recorder.events if isinstance(event, Status)]


def watch(client):
    recorder = ask(client, WatchStatus())
    recorder.wait_for(lambda events: any(isinstance(event, Status) for event in events))
    return recorder


def test_the_state_is_told_at_once(client, tiny_llama):
    empty = watch(client)
    assert type(empty.events[0]) is Accepted
    assert (states(empty)[0].model, states(empty)[0].loading) == (None, "")
    info = ask(client, LoadModel(str(tiny_llama))).end().model
    assert states(watch(client))[0].model == info


def test_a_load_is_told_as_it_begins_and_as_it_ends(client, tiny_llama):
    watcher = watch(client)
    info = ask(client, LoadModel(str(tiny_llama))).end().model
    watcher.wait_for(lambda events: any(isinstance(event, Status) and event.model == info for event in events))
    told = [(status.model, status.loading) for status in states(watcher)]
    assert told[:2] == [(None, ""), (None, str(tiny_llama))]
    assert told[-1] == (info, "")


def test_a_load_that_fails_and_one_that_is_cancelled_are_over(client, tmp_path, tiny_llama):
    watcher = watch(client)
    for load in (LoadModel(str(tmp_path)), LoadModel(str(tiny_llama))):
        before = len(states(watcher))
        loading = ask(client, load)
        watcher.wait_for(lambda events, load=load: any(getattr(e, "loading", "") == load.source for e in events))
        client.cancel(loading.request_id)
        loading.end()
        watcher.wait_for(lambda events, seen=before + 1: len(states(watcher)) > seen)
        assert states(watcher)[-1].loading == ""


def test_whoever_loads_is_told_that_it_is_over(client, tiny_llama):
    loaded = ask(client, LoadModel(str(tiny_llama)))
    loaded.end()
    assert [status.loading for status in states(loaded)] == [""]


def test_an_unload_and_the_answers_under_way_are_told(client, tiny_llama):
    ask(client, LoadModel(str(tiny_llama))).end()
    watcher, second = watch(client), watch(client)
    ask(client, question(max_tokens=4)).end()
    watcher.wait_for(lambda events: [status.running for status in states(watcher)] == [0, 1, 0])
    ask(client, UnloadModel()).end()
    watcher.wait_for(lambda events: states(watcher)[-1].model is None)
    second.wait_for(lambda events: states(second)[-1].model is None)
    assert [status.request_id for status in states(second)] == [second.request_id] * len(states(second))
    assert len(states(second)) == len(states(watcher))


def test_a_watch_ends_when_it_is_cancelled(client, tiny_llama):
    watcher, other = watch(client), watch(client)
    client.cancel(watcher.request_id)
    assert watcher.end().reason is FinishReason.CANCELLED
    ask(client, LoadModel(str(tiny_llama))).end()
    other.wait_for(lambda events: states(other)[-1].model is not None)
    assert watcher.events[-1] is watcher.end()


def test_a_watcher_that_raises_is_forgotten(client, tiny_llama, caplog):
    client.submit(WatchStatus(), lambda events: 1 / 0)
    ask(client, LoadModel(str(tiny_llama))).end()
    assert len([record for record in caplog.records if "raised" in record.message]) == 1


def test_a_watched_engine_sleeps_while_there_is_nothing_to_do(monkeypatch):
    asleep = threading.Event()
    told = threading.Event()
    drain = Inbox.drain

    def noticed(self, *, wait, timeout=None):
        if told.is_set() and wait and timeout is None:
            asleep.set()
        return drain(self, wait=wait, timeout=timeout)

    def sink(events):
        if any(isinstance(event, Status) for event in events):
            told.set()

    monkeypatch.setattr(Inbox, "drain", noticed)
    with EngineHost(EngineSettings()) as host:
        host.client.submit(WatchStatus(), sink)
        assert asleep.wait(PATIENCE_S)


def test_closing_the_engine_ends_a_watch():
    host = EngineHost(EngineSettings())
    host.start()
    watcher = watch(host.client)
    host.close()
    assert isinstance(watcher.end(), Finished)
    assert len(watcher.terminal) == 1
