"""The items of a response's output, each with the events that tell of it while it comes.

Knows nothing of what comes before or after an item, nor of the engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

Events = list[tuple[str, dict[str, Any]]]
"""Types and contents, without the numbers that all events share."""


@dataclass(slots=True)
class Message:
    prefix: ClassVar[str] = "msg"
    id: str
    summary: bool = False
    """Means nothing here."""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "content_index": 0}

    def opening(self) -> Events:
        item = {"id": self.id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        return [
            ("response.output_item.added", {"item": item}),
            ("response.content_part.added", {**self._place, "part": self._part("", [])}),
        ]

    def delta(self, text: str, logprobs: Sequence[dict[str, Any]]) -> Events:
        self.pieces.append(text)
        self.logprobs += logprobs
        return [("response.output_text.delta", {**self._place, "delta": text, "logprobs": list(logprobs)})]

    def closing(self, status: str) -> Events:
        text = "".join(self.pieces)
        return [
            ("response.output_text.done", {**self._place, "text": text, "logprobs": self.logprobs}),
            ("response.content_part.done", {**self._place, "part": self._part(text, self.logprobs)}),
            ("response.output_item.done", {"item": self.whole(status)}),
        ]

    def whole(self, status: str) -> dict[str, Any]:
        part = self._part("".join(self.pieces), self.logprobs)
        return {"id": self.id, "type": "message", "role": "assistant", "status": status, "content": [part]}

    def _part(self, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


@dataclass(slots=True)
class Thought:
    """What a model thinks before it answers: as it is, or as the summary that a client asked for."""

    prefix: ClassVar[str] = "rs"
    id: str
    summary: bool = False
    pieces: list[str] = field(default_factory=list)

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "summary_index" if self.summary else "content_index": 0}

    @property
    def _names(self) -> tuple[str, str]:
        """Of events of the part, and of its text."""
        if self.summary:
            return "response.reasoning_summary_part", "response.reasoning_summary_text"
        return "response.content_part", "response.reasoning_text"

    def opening(self) -> Events:
        item = {"id": self.id, "type": "reasoning", "summary": [], "status": "in_progress"}
        return [
            ("response.output_item.added", {"item": item}),
            (f"{self._names[0]}.added", {**self._place, "part": self._part("")}),
        ]

    def delta(self, text: str, logprobs: Sequence[dict[str, Any]]) -> Events:
        """Nobody asks for the log-probabilities of thinking."""
        self.pieces.append(text)
        return [(f"{self._names[1]}.delta", {**self._place, "delta": text})]

    def closing(self, status: str) -> Events:
        text = "".join(self.pieces)
        return [
            (f"{self._names[1]}.done", {**self._place, "text": text}),
            (f"{self._names[0]}.done", {**self._place, "part": self._part(text)}),
            ("response.output_item.done", {"item": self.whole(status)}),
        ]

    def whole(self, status: str) -> dict[str, Any]:
        part = self._part("".join(self.pieces))
        told = {"summary": [part]} if self.summary else {"summary": [], "content": [part]}
        return {"id": self.id, "type": "reasoning", **told, "status": status}

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "summary_text" if self.summary else "reasoning_text", "text": text}


@dataclass(frozen=True, slots=True)
class Call:
    """Comes whole, and is told in the pieces that clients expect."""

    id: str
    call_id: str
    name: str
    arguments: str

    @property
    def whole(self) -> dict[str, Any]:
        return self._item(self.arguments, "completed")

    def events(self) -> Events:
        place = {"item_id": self.id}
        return [
            ("response.output_item.added", {"item": self._item("", "in_progress")}),
            ("response.function_call_arguments.delta", {**place, "delta": self.arguments}),
            ("response.function_call_arguments.done", {**place, "name": self.name, "arguments": self.arguments}),
            ("response.output_item.done", {"item": self.whole}),
        ]

    def _item(self, arguments: str, status: str) -> dict[str, Any]:
        told = {"call_id": self.call_id, "name": self.name, "arguments": arguments}
        return {"id": self.id, "type": "function_call", **told, "status": status}
