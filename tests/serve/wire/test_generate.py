"""mlx-vlm's older shape: one prompt with its media in, one text out."""

import pytest

from engine.api.errors import ContextError, EngineError
from engine.api.events import Accepted, Failed, Finished, FinishReason, Timings
from engine.api.request import Audio, Image, Message, Priority, Role, Text, Video
from engine.serve.failures import Refused
from engine.serve.wire.generate import GenerateBody, GenerateWriter, generate_request
from tests.serve.wire.openai_client import FACTS, ID, USAGE, end, text, thought, whole

TIMINGS = Timings(prompt_tps=100.0, generation_tps=20.0, peak_memory_bytes=5_000_000_000)
USED = {
    "input_tokens": 9,
    "output_tokens": 4,
    "total_tokens": 13,
    "prompt_tps": 100.0,
    "generation_tps": 20.0,
    "peak_memory": 5.0,
}
EVENTS = [thought("Hm."), text("Hel"), text("lo"), Finished(ID, FinishReason.STOP, USAGE, TIMINGS)]


def request(**fields):
    return generate_request(GenerateBody.model_validate({"prompt": "What is this?", **fields}), tenant="salt")


def test_media_come_before_the_prompt():
    asked = request(
        system="Be brief.",
        image=["data:,1", "data:,2"],
        audio="data:,3",
        video=["data:,4"],
        max_tokens=7,
        resize_shape=[9],
    )
    assert asked.prompt == (
        Message(Role.SYSTEM, (Text("Be brief."),)),
        Message(
            Role.USER, (Image("data:,1"), Image("data:,2"), Audio("data:,3"), Video("data:,4"), Text("What is this?"))
        ),
    )
    assert (asked.max_tokens, asked.resize_shape) == (7, (9, 9))
    assert (asked.priority, asked.tenant) == (Priority.API, "salt")


@pytest.mark.parametrize("fields", [{"n": 2}, {"adapter_path": "/a"}])
def test_what_is_not_supported_is_refused_by_name(fields):
    with pytest.raises(Refused) as caught:
        request(**fields)
    assert caught.value.param == next(iter(fields))


def test_in_one_piece():
    assert whole(GenerateWriter(FACTS), EVENTS) == {"text": "Hello", "model": "some/model", "usage": USED}


def test_in_pieces():
    writer = GenerateWriter(FACTS)
    frames = [frame.data for event in (Accepted(ID), *EVENTS) for frame in writer.write(event)]
    assert frames == [
        {"chunk": "Hel", "model": "some/model", "usage": None},
        {"chunk": "lo", "model": "some/model", "usage": None},
        {"chunk": "", "model": "some/model", "usage": USED},
    ]


def test_failures():
    [frame] = GenerateWriter(FACTS).write(Failed.from_error(ID, ContextError("Too long.")))
    assert frame.data["error"]["code"] == "context_length_exceeded"
    [frame] = GenerateWriter(FACTS).write(end(FinishReason.CANCELLED))
    assert frame.data["error"]["code"] == "cancelled"
    with pytest.raises(EngineError, match="stopped"):
        whole(GenerateWriter(FACTS), [end(FinishReason.CANCELLED)])
