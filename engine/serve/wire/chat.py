"""`/v1/chat/completions`: from events to chunks, or to one object. Knows nothing of HTTP, clocks or randomness.

https://developers.openai.com/api/reference/resources/chat; thinking goes into `reasoning_content`, as DeepSeek has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.api.events import (
    Event,
    Failed,
    Finished,
    FinishReason,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
)
from engine.serve.wire.ending import endings, error_frame, whole_end
from engine.serve.wire.frames import AnswerFacts, Frame, Json
from engine.serve.wire.logprobs import WithoutEnd, chat_logprobs
from engine.serve.wire.tools import call_object
from engine.serve.wire.usage import usage_object

DONE = Frame("[DONE]")


@dataclass(slots=True)
class _Choice:
    """What has been told of one of the answers."""

    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)
    begun: bool = False
    reason: str = ""


class ChatWriter:
    def __init__(
        self,
        facts: AnswerFacts,
        *,
        logprobs: bool = False,
        tells_usage: bool = False,
        one_call: bool = False,
    ) -> None:
        """`tells_usage`: whether a stream says at its end what was used. `one_call`: tell of the first call only."""
        self._facts = facts
        self._logprobs = logprobs
        self._tells_usage = tells_usage
        self._one_call = one_call
        self._without_end = WithoutEnd()
        self._choices: dict[int, _Choice] = {}
        self._finished: Finished | None = None

    def opening(self) -> list[Frame]:
        """Nothing: until there is something to be said, a failure can still be told by an HTTP status."""
        return []

    def write(self, event: Event) -> list[Frame]:
        events = self._without_end.take(event) if self._logprobs else [event]
        return [frame for each in events for frame in self._frames(each)]

    def whole(self) -> Json:
        """Raises `EngineError` for an answer that was cancelled."""
        end = whole_end(self._finished)
        choices = [self._whole_choice(number) for number in sorted(self._choices)]
        return self._object("chat.completion", choices) | {"usage": usage_object(end.usage)}

    def ping(self) -> Frame | None:
        return None

    def _frames(self, event: Event) -> list[Frame]:
        match event:
            case TextDelta():
                return self._text(event)
            case ThinkingDelta() if event.text:
                self._choice(event.choice).thinking.append(event.text)
                return [self._delta(event.choice, {"reasoning_content": event.text})]
            case ToolCallDelta():
                return self._call(event)
            case Finished(reason=FinishReason.CANCELLED) | Failed():
                return [error_frame(event), DONE]
            case Finished():
                return self._end(event)
        return []

    def _text(self, event: TextDelta) -> list[Frame]:
        tokens = event.tokens if self._logprobs else ()
        if not event.text and not tokens:
            return []
        choice = self._choice(event.choice)
        choice.text.append(event.text)
        choice.tokens += tokens
        return [self._delta(event.choice, {"content": event.text}, tokens=tokens)]

    def _call(self, event: ToolCallDelta) -> list[Frame]:
        if self._one_call and event.index:
            return []
        call = call_object(event, self._facts.number)
        self._choice(event.choice).calls.append(call)
        return [self._delta(event.choice, {"tool_calls": [{"index": event.index, **call}]})]

    def _end(self, event: Finished) -> list[Frame]:
        self._finished = event
        frames = []
        for number, reason in enumerate(endings(event)):
            choice = self._choice(number)
            choice.reason = reason
            # With a role if nothing was said at all, as every answer has one.
            frames += [] if choice.begun else [self._delta(number, {})]
            frames.append(self._delta(number, {}, reason=reason))
        if self._tells_usage:
            frames.append(Frame(self._object("chat.completion.chunk", []) | {"usage": usage_object(event.usage)}))
        return [*frames, DONE]

    def _delta(
        self, number: int, delta: dict[str, Any], *, tokens: Sequence[TokenLogprob] = (), reason: str | None = None
    ) -> Frame:
        choice = self._choice(number)
        if not choice.begun:
            choice.begun = True
            delta = {"role": "assistant", "content": "", **delta}
        told = {
            "index": number,
            "delta": delta,
            "logprobs": chat_logprobs(tokens) | {"refusal": None} if tokens else None,
            "finish_reason": reason,
        }
        chunk = self._object("chat.completion.chunk", [told])
        return Frame(chunk | {"usage": None} if self._tells_usage else chunk)

    def _whole_choice(self, number: int) -> dict[str, Any]:
        choice = self._choices[number]
        text = "".join(choice.text)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if choice.calls and not text else text,
            "refusal": None,
        }
        if choice.thinking:
            message["reasoning_content"] = "".join(choice.thinking)
        if choice.calls:
            message["tool_calls"] = choice.calls
        return {
            "index": number,
            "message": message,
            "logprobs": chat_logprobs(choice.tokens) | {"refusal": None} if self._logprobs else None,
            "finish_reason": choice.reason,
        }

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self._facts.number}",
            "object": kind,
            "created": self._facts.created,
            "model": self._facts.model,
            "choices": choices,
        }

    def _choice(self, number: int) -> _Choice:
        return self._choices.setdefault(number, _Choice())
