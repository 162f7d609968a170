"""`/v1/completions`: from events to chunks, or to one object. Knows nothing of HTTP, clocks or randomness.

A bare text has no place for thinking, so what a model thought is part of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.api.events import Event, Failed, Finished, FinishReason, TextDelta, ThinkingDelta, TokenLogprob
from engine.serve.wire.chat import DONE
from engine.serve.wire.ending import endings, error_frame, whole_end
from engine.serve.wire.frames import AnswerFacts, Frame, Json
from engine.serve.wire.logprobs import WithoutEnd, completion_logprobs
from engine.serve.wire.usage import usage_object


@dataclass(slots=True)
class _Choice:
    text: list[str] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)
    written: int = 0
    """Characters of all tokens so far."""
    reason: str = ""


class CompletionsWriter:
    def __init__(self, facts: AnswerFacts, *, logprobs: int | None = None, tells_usage: bool = False) -> None:
        """`logprobs`: how many other tokens are told of with each, `None` for nothing at all."""
        self._facts = facts
        self._logprobs = logprobs
        self._tells_usage = tells_usage
        self._without_end = WithoutEnd()
        self._choices: dict[int, _Choice] = {}
        self._finished: Finished | None = None

    def opening(self) -> list[Frame]:
        return []

    def write(self, event: Event) -> list[Frame]:
        events = [event] if self._logprobs is None else self._without_end.take(event)
        return [frame for each in events for frame in self._frames(each)]

    def whole(self) -> Json:
        """Raises `EngineError` for an answer that was cancelled."""
        end = whole_end(self._finished)
        choices = [
            self._told(number, "".join(choice.text), choice.tokens, 0, choice.reason)
            for number, choice in sorted(self._choices.items())
        ]
        return self._object(choices) | {"usage": usage_object(end.usage)}

    def ping(self) -> Frame | None:
        return None

    def _frames(self, event: Event) -> list[Frame]:
        match event:
            case TextDelta() | ThinkingDelta():
                return self._piece(event)
            case Finished(reason=FinishReason.CANCELLED) | Failed():
                return [error_frame(event), DONE]
            case Finished():
                return self._end(event)
        return []

    def _piece(self, event: TextDelta | ThinkingDelta) -> list[Frame]:
        tokens = () if self._logprobs is None else event.tokens
        if not event.text and not tokens:
            return []
        choice = self._choice(event.choice)
        before = choice.written
        choice.text.append(event.text)
        choice.tokens += tokens
        choice.written += sum(len(token.text) for token in tokens)
        return [self._chunk(self._told(event.choice, event.text, tokens, before, None))]

    def _end(self, event: Finished) -> list[Frame]:
        self._finished = event
        frames = []
        for number, reason in enumerate(endings(event)):
            self._choice(number).reason = reason
            frames.append(self._chunk(self._told(number, "", (), 0, reason)))
        if self._tells_usage:
            frames.append(Frame(self._object([]) | {"usage": usage_object(event.usage)}))
        return [*frames, DONE]

    def _told(
        self, number: int, text: str, tokens: Sequence[TokenLogprob], offset: int, reason: str | None
    ) -> dict[str, Any]:
        logprobs = None
        if self._logprobs is not None and (tokens or text):
            logprobs = completion_logprobs(tokens, offset, most=self._logprobs)
        return {"index": number, "text": text, "logprobs": logprobs, "finish_reason": reason}

    def _chunk(self, choice: dict[str, Any]) -> Frame:
        chunk = self._object([choice])
        return Frame(chunk | {"usage": None} if self._tells_usage else chunk)

    def _object(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"cmpl-{self._facts.number}",
            "object": "text_completion",
            "created": self._facts.created,
            "model": self._facts.model,
            "choices": choices,
        }

    def _choice(self, number: int) -> _Choice:
        return self._choices.setdefault(number, _Choice())
