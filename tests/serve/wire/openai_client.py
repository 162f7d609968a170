"""What the tests of OpenAI's protocol share: made-up events, sent as the server would, read by a real client."""

from collections.abc import Iterable

import httpx2
import openai

from engine.api.events import (
    Accepted,
    ChoiceEnd,
    Event,
    Failed,
    Finished,
    FinishReason,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from engine.serve import sse
from engine.serve.wire.frames import AnswerFacts, Writer

FACTS = AnswerFacts("5eed", "some/model", 1_700_000_000)
ID = "r1"
USAGE = Usage(prompt_tokens=9, completion_tokens=4, cached_tokens=5, image_tokens=2, thinking_tokens=1)


def text(words: str, *tokens: TokenLogprob, choice: int = 0) -> TextDelta:
    return TextDelta(ID, words, tokens, choice)


def thought(words: str, *tokens: TokenLogprob, choice: int = 0) -> ThinkingDelta:
    return ThinkingDelta(ID, words, tokens, choice)


def call(index: int, name: str, arguments: str, *, choice: int = 0, call_id: str = "") -> ToolCallDelta:
    return ToolCallDelta(ID, index, name, arguments, call_id, choice)


def token(written: str | bytes, logprob: float, *alternatives: TokenLogprob) -> TokenLogprob:
    spelling = written if isinstance(written, bytes) else written.encode()
    return TokenLogprob(len(spelling), logprob, alternatives, spelling)


def end(*reasons: FinishReason, usage: Usage = USAGE) -> Finished:
    """A model that stops says so with a token of its own."""
    choices = tuple(ChoiceEnd(reason, usage, end_token=reason is not FinishReason.LENGTH) for reason in reasons)
    return Finished(ID, reasons[0], usage, choices=choices)


def streamed(writer: Writer, events: Iterable[Event]) -> bytes:
    """As it goes over the wire, with the comments that keep a connection alive between the pieces."""
    frames = [*writer.opening(), *(frame for event in (Accepted(ID), *events) for frame in writer.write(event))]
    return sse.KEEP_ALIVE.join(sse.encoded([frame]) for frame in frames)


def objects(writer: Writer, events: Iterable[Event]) -> list[dict]:
    """What the frames hold; `[DONE]` has to be the last."""
    frames = [*writer.opening(), *(frame for event in (Accepted(ID), *events) for frame in writer.write(event))]
    assert frames.pop().data == "[DONE]"
    assert all(frame.event is None for frame in frames)
    return [frame.data for frame in frames]


def whole(writer: Writer, events: Iterable[Event]) -> dict:
    for event in (Accepted(ID), *events):
        assert not isinstance(event, Failed)
        writer.write(event)
    return writer.whole()


def client_of(content: bytes | dict, status: int = 200) -> openai.OpenAI:
    """A real client of a server that answers everything with this."""
    is_stream = isinstance(content, bytes)
    kind = sse.MEDIA_TYPE if is_stream else "application/json"
    data = content if is_stream else sse.json_bytes(content)
    answer = httpx2.Response(status, headers={"content-type": kind}, content=data)
    return openai.OpenAI(
        api_key="some key",
        base_url="http://127.0.0.1:1/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(lambda _: answer)),
    )
