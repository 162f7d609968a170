"""An answer in the shapes of Anthropic's messages: named events, or one message.

Pure: ids and names are given to it, and it sees nothing but the engine's events.
"""

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from engine.api.errors import EngineError
from engine.api.events import (
    Event,
    Failed,
    Finished,
    FinishReason,
    Progress,
    Stage,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
)
from engine.serve.failures import Protocol, error_body
from engine.serve.wire.ending import cancelled
from engine.serve.wire.frames import AnswerFacts, Frame, Json
from engine.serve.wire.messages_body import MessagesBody
from engine.serve.wire.tools import call_object


class Shown(Enum):
    """How much of the model's thinking a client is shown."""

    NONE = "none"
    EMPTY = "empty"
    """That it thought, and not what."""
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Manner:
    """How an answer is told, as far as its request says."""

    thinking: Shown = Shown.NONE
    one_call: bool = False
    """Whether only the first call of a tool is told of."""
    max_tokens: int = 0


def manner_of(body: MessagesBody) -> Manner:
    thinking = Shown.NONE
    if body.thinking is not None and body.thinking.is_on:
        thinking = Shown.EMPTY if body.thinking.display == "omitted" else Shown.WHOLE
    one_call = body.tool_choice is not None and body.tool_choice.disable_parallel_tool_use is True
    return Manner(thinking, one_call, body.max_tokens)


@dataclass(slots=True)
class _Block:
    start: dict[str, Any]
    """As it begins, empty."""
    pieces: list[str] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)
    """What is known of it at its end alone."""

    @property
    def whole(self) -> dict[str, Any]:
        text = "".join(self.pieces)
        match self.start["type"]:
            case "text":
                return self.start | {"text": text}
            case "thinking":
                return self.start | {"thinking": text} | self.end
            case _:
                return self.start | {"input": json.loads(text)}


class MessagesWriter:
    """The message begins where the length of the prompt is known, since clients read that from its first event."""

    def __init__(self, facts: AnswerFacts, manner: Manner) -> None:
        self._facts = facts
        self._manner = manner
        self._blocks: list[_Block] = []
        self._is_open = False
        """The last of the blocks."""
        self._begun = False
        self._called = False
        self._stop: dict[str, Any] = {"stop_reason": None, "stop_sequence": None}
        self._usage = _usage(Usage())

    def opening(self) -> list[Frame]:
        return []

    def write(self, event: Event) -> list[Frame]:
        match event:
            case Progress(stage=Stage.PREFILL, total=total):
                return self._begin(total)
            case ThinkingDelta():
                return self._begin() + self._think(event.text)
            case TextDelta() if event.text:
                return self._begin() + self._say({"type": "text", "text": ""}, event.text)
            case ToolCallDelta() if not (self._called and self._manner.one_call):
                return self._begin() + self._call(event)
            case Finished():
                return self._begin() + self._finish(event)
            case Failed():
                return [_error(event)]
            case _:
                return []

    def whole(self) -> Json:
        """Raises `EngineError` for an answer that was cancelled."""
        if self._stop["stop_reason"] is None:
            raise cancelled()
        return self._message() | {"content": [block.whole for block in self._blocks]}

    def ping(self) -> Frame | None:
        """Nothing comes before the message itself."""
        return Frame({"type": "ping"}, "ping") if self._begun else None

    def _message(self) -> dict[str, Any]:
        return {
            "id": f"msg_{self._facts.number}",
            "type": "message",
            "role": "assistant",
            "model": self._facts.model,
            "content": [],
            **self._stop,
            "usage": self._usage,
        }

    def _begin(self, prompt_tokens: int = 0) -> list[Frame]:
        if self._begun:
            return []
        self._begun = True
        self._usage = _usage(Usage(prompt_tokens=prompt_tokens))
        return [_frame("message_start", message=self._message())]

    def _think(self, text: str) -> list[Frame]:
        if not text or self._manner.thinking is Shown.NONE:
            return []
        start = {"type": "thinking", "thinking": "", "signature": ""}
        return self._say(start, text if self._manner.thinking is Shown.WHOLE else "")

    def _call(self, call: ToolCallDelta) -> list[Frame]:
        self._called = True
        name = call_object(call, self._facts.number)["id"]
        start = {"type": "tool_use", "id": name, "name": call.name, "input": {}}
        return self._close() + self._say(start, call.arguments) + self._close()

    def _say(self, start: dict[str, Any], text: str) -> list[Frame]:
        """In the block that is open, if it is of that kind."""
        frames = []
        if not (self._is_open and self._blocks[-1].start["type"] == start["type"]):
            frames += self._close()
            self._blocks.append(_Block(start))
            self._is_open = True
            frames.append(_frame("content_block_start", index=len(self._blocks) - 1, content_block=start))
        if text:
            self._blocks[-1].pieces.append(text)
            frames.append(self._delta(_delta(start["type"], text)))
        return frames

    def _close(self) -> list[Frame]:
        if not self._is_open:
            return []
        self._is_open = False
        frames = []
        block = self._blocks[-1]
        if block.start["type"] == "thinking":
            # Clients send thinking back only with a signature. Nothing is signed here, and nothing checked.
            block.end = {"signature": self._facts.number}
            frames.append(self._delta({"type": "signature_delta", **block.end}))
        return [*frames, _frame("content_block_stop", index=len(self._blocks) - 1)]

    def _delta(self, delta: dict[str, Any]) -> Frame:
        return _frame("content_block_delta", index=len(self._blocks) - 1, delta=delta)

    def _finish(self, end: Finished) -> list[Frame]:
        frames = self._close()
        self._usage = _usage(end.usage)
        if end.reason is FinishReason.CANCELLED:
            return [*frames, _error(cancelled())]
        self._stop = _stop(end, self._manner.max_tokens)
        return [*frames, _frame("message_delta", delta=self._stop, usage=self._usage), _frame("message_stop")]


def _frame(kind: str, **content: Any) -> Frame:
    return Frame({"type": kind, **content}, kind)


def _error(error: EngineError | Failed) -> Frame:
    return Frame(error_body(Protocol.ANTHROPIC, error), "error")


def _delta(kind: str, text: str) -> dict[str, Any]:
    match kind:
        case "text":
            return {"type": "text_delta", "text": text}
        case "thinking":
            return {"type": "thinking_delta", "thinking": text}
        case _:
            return {"type": "input_json_delta", "partial_json": text}


def _stop(end: Finished, max_tokens: int) -> dict[str, Any]:
    sequence = end.choices[0].stop if end.choices else ""
    match end.reason:
        case FinishReason.TOOL_CALLS:
            reason = "tool_use"
        case FinishReason.LENGTH if end.usage.completion_tokens < max_tokens:
            reason = "model_context_window_exceeded"
        case FinishReason.LENGTH:
            reason = "max_tokens"
        case _:
            reason = "stop_sequence" if sequence else "end_turn"
    return {"stop_reason": reason, "stop_sequence": sequence or None if reason == "stop_sequence" else None}


def _usage(usage: Usage) -> dict[str, Any]:
    """What was found computed is told apart from what was read."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.thinking_tokens},
    }
