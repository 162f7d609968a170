"""What the tests of Anthropic's protocol share: frames held to its types, and read by its client."""

import anthropic
import httpx2
from anthropic.types import (
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawContentBlockStopEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
)

from engine.api.events import Accepted
from engine.serve import sse
from tests.serve.wire.openai_client import ID

TYPES = {
    "message_start": RawMessageStartEvent,
    "content_block_start": RawContentBlockStartEvent,
    "content_block_delta": RawContentBlockDeltaEvent,
    "content_block_stop": RawContentBlockStopEvent,
    "message_delta": RawMessageDeltaEvent,
    "message_stop": RawMessageStopEvent,
}


def frames_of(writer, events):
    return [*writer.opening(), *(frame for event in (Accepted(ID), *events) for frame in writer.write(event))]


def objects(writer, events):
    """What the frames hold, each of Anthropic's type and under its own name."""
    frames = frames_of(writer, events)
    for frame in frames:
        assert frame.event == frame.data["type"]
        TYPES[frame.event].model_validate(frame.data)
    return [frame.data for frame in frames]


def streamed(writer, events):
    """As it goes over the wire, with pings and comments between."""
    frames = frames_of(writer, events)
    ping = sse.encoded([writer.ping()]) + sse.KEEP_ALIVE
    return ping.join(sse.encoded([frame]) for frame in frames)


def client_of(content, status=200):
    """A real client of a server that answers everything with this."""
    is_stream = isinstance(content, bytes)
    kind = sse.MEDIA_TYPE if is_stream else "application/json"
    data = content if is_stream else sse.json_bytes(content)
    answer = httpx2.Response(status, headers={"content-type": kind}, content=data)
    return anthropic.Anthropic(
        api_key="some key",
        base_url="http://127.0.0.1:1",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(lambda _: answer)),
    )
