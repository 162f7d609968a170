"""Where media stand in a prompt: markers that a template wrote, those that somebody typed, and the features' places.

Knows nothing of how media are read. A marker that was typed is text, and never becomes a place.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.api.errors import CheckpointError, RequestError
from engine.api.events import Modality
from engine.api.request import Image, MediaPart, Message, Part, Text
from engine.api.tools import Tool, ToolCall, ToolResult
from engine.models.base import MediaProcessor, PreparedMedia, finished
from engine.models.clips.plan import ClipProcessor

_NAMES = {Modality.IMAGE: "picture", Modality.VIDEO: "clip"}


@dataclass(frozen=True, slots=True)
class Typed:
    """Words of markers that stood in somebody's text, and the stand-ins that keep their places meanwhile."""

    nonce: str = ""
    words: tuple[str, ...] = ()

    def stretches(self, text: str) -> list[tuple[str, bool]]:
        """`text` cut at the stand-ins, which are words again; with each piece, whether somebody typed it."""
        if not self.words:
            return [(text, False)]
        pieces = re.split(f"{self.nonce}<([0-9]+)>", text)
        return [(self.words[int(piece)], True) if at % 2 else (piece, False) for at, piece in enumerate(pieces)]


class Markers:
    """Those of one model; `tokenizer` is asked for the words of its slot tokens."""

    def __init__(self, tokenizer: Any, pictures: MediaProcessor | None, clips: ClipProcessor | None) -> None:
        processors = [(pictures, Modality.IMAGE), (clips, Modality.VIDEO)]
        known = [(processor, modality) for processor, modality in processors if processor is not None]
        self.slot_ids = frozenset(processor.slot_id for processor, _ in known)
        self._modalities = {processor.marker: modality for processor, modality in known}
        slots = {str(tokenizer.convert_ids_to_tokens(slot)) for slot in self.slot_ids}
        self._protected = tuple(sorted({*self._modalities, *slots}, key=len, reverse=True))
        self._pattern = _any_of(self._modalities)

    def set_typed_aside(
        self, messages: Sequence[Message], tools: Sequence[Tool] = ()
    ) -> tuple[Typed, Sequence[Message], Sequence[Tool]]:
        """In what people wrote, and in what tools say of themselves, were given and gave."""
        pattern = _any_of(self._protected)
        texts = [text for message in messages for part in message.parts for text in _texts(part)]
        texts += [text for tool in tools for text in (tool.description, tool.parameters)]
        if not any(map(pattern.search, texts)):
            return Typed(), messages, tools
        typed = Typed(secrets.token_hex(16), self._protected)

        def swap(text: str) -> str:
            return pattern.sub(lambda found: f"{typed.nonce}<{typed.words.index(found[0])}>", text)

        def swapped(part: Part) -> Part:
            match part:
                case Text() | ToolResult():
                    return replace(part, text=swap(part.text))
                case ToolCall():
                    return replace(part, name=swap(part.name), arguments_json=swap(part.arguments_json))
            return part

        return (
            typed,
            [replace(message, parts=tuple(map(swapped, message.parts))) for message in messages],
            [replace(tool, description=swap(tool.description), parameters=swap(tool.parameters)) for tool in tools],
        )

    def check(self, text: str, parts: Sequence[MediaPart]) -> None:
        """Raises `CheckpointError` unless the template wrote one marker for each of the media, in their order."""
        wanted = [Modality.IMAGE if isinstance(part, Image) else Modality.VIDEO for part in parts]
        found = [self._modalities[marker] for marker in self._pattern.findall(text)]
        if found != wanted:
            raise CheckpointError(
                f"The model's chat template left places for {_listed(found)}, the conversation has {_listed(wanted)}.",
                "It may have been made for text alone: choose another version of the model.",
            )

    def expand(self, text: str, media: Sequence[PreparedMedia]) -> str:
        """`text` with each medium's own words in place of its marker. Raises `RequestError` if they do not go
        together."""
        found = self._pattern.findall(text)
        if [self._modalities[marker] for marker in found] != [item.modality for item in media]:
            raise RequestError(
                f"The prompt has markers for {_listed([self._modalities[marker] for marker in found])}, "
                f"there are {_listed([item.modality for item in media])}.",
                "Put one marker for each into the prompt, in their order: apply_chat_template(..., num_images=...) "
                f"does. Here they are {' and '.join(self._modalities) or 'not known, as the model takes none'}.",
                code="marker_mismatch",
            )
        expansions = iter(media)
        return finished(self._pattern.sub(lambda _: next(expansions).expansion, text), media)


def _texts(part: Part) -> tuple[str, ...]:
    match part:
        case Text() | ToolResult():
            return (part.text,)
        case ToolCall():
            return (part.name, part.arguments_json)
    return ()


def _any_of(words: Sequence[str] | dict[str, Modality]) -> re.Pattern[str]:
    """Matches any of `words`, the longest first; nothing at all if there are none."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _listed(modalities: Sequence[Modality]) -> str:
    counts = {name: modalities.count(modality) for modality, name in _NAMES.items()}
    parts = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count]
    return " and ".join(parts) or "no media"
