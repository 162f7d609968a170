"""Converting as a request: progress, one end, a stop that leaves nothing, and answers that go on meanwhile."""

import pytest

from engine.api.conversion import ConvertModel
from engine.api.errors import Fault
from engine.api.events import Finished, FinishReason, Progress, Stage
from engine.api.quantization import Quantization
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text
from engine.api.settings import EngineSettings
from engine.host import EngineHost
from engine.loading.source_names import in_order
from tests.recording import Recorder, ask

BY_32 = Quantization.of(group_size=32)


@pytest.fixture
def client():
    with EngineHost(EngineSettings()) as host:
        yield host.client


def test_the_end_says_what_was_written_and_it_loads(client, tiny_smolvlm, tmp_path):
    conversion = ask(client, ConvertModel(str(tiny_smolvlm), tmp_path / "out", BY_32))
    finished = conversion.end()
    assert isinstance(finished, Finished), finished
    assert finished.path == str(tmp_path / "out")
    assert (finished.model.quantization, finished.model.name) == ("4-bit affine", "out")
    steps = [event for event in conversion.events if isinstance(event, Progress) and event.stage is Stage.CONVERTING]
    assert [event.done for event in steps] == sorted(event.done for event in steps)
    assert steps[-1].done == steps[-1].total == finished.model.weight_bytes
    assert isinstance(ask(client, LoadModel(finished.path)).end(), Finished)


def test_stopped_it_leaves_nothing(client, tiny_llama, tmp_path):
    recorder = Recorder()

    def sink(events):
        recorder(events)
        for event in events:
            if isinstance(event, Progress) and event.stage is Stage.CONVERTING:
                client.cancel(event.request_id)

    client.submit(ConvertModel(str(tiny_llama), tmp_path / "out"), sink)
    assert recorder.end().reason is FinishReason.CANCELLED
    assert list(tmp_path.iterdir()) == []


def test_answers_go_on_meanwhile(client, tiny_llama, tmp_path):
    assert isinstance(ask(client, LoadModel(str(tiny_llama))).end(), Finished)
    answer = ask(client, GenerateRequest((Message(Role.USER, (Text("Hello"),)),), max_tokens=400))
    answer.began()
    conversion = ask(client, ConvertModel(str(tiny_llama), tmp_path / "out"))
    assert isinstance(conversion.end(), Finished)
    assert answer.terminal == []
    assert isinstance(answer.end(), Finished)


def test_it_does_not_wait_for_a_network_between_tensors(client, tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.loop.POLL_S", 3600)
    assert isinstance(ask(client, ConvertModel(str(tiny_llama), tmp_path / "out")).end(), Finished)


def test_a_source_that_is_not_there_and_a_place_that_is_taken(client, tiny_llama, tmp_path):
    missing = ask(client, ConvertModel(str(tmp_path / "nowhere"), tmp_path / "out")).end()
    taken = ask(client, ConvertModel(str(tiny_llama), tiny_llama)).end()
    starter = ask(client, ConvertModel("starter", tmp_path / "out")).end()
    assert [failed.fault for failed in (missing, taken, starter)] == [Fault.USER] * 3
    assert "no folder" in missing.message
    assert taken.code == "target_exists"
    assert list(tmp_path.iterdir()) == []


def test_names_are_put_in_order_by_their_numbers():
    names = ["b", "a.10.w", "a.2.w", "a.2.b", "a.x"]
    assert [name for name, _ in in_order(dict.fromkeys(names))] == ["a.x", "a.2.b", "a.2.w", "a.10.w", "b"]
