"""A request's conversation to token ids with a place for every media feature.

Knows nothing of the decoder. Each picture is one piece of work, so that a stop is heard between two of them.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.api.errors import CheckpointError, RequestError
from engine.api.request import GenerateRequest, Image, MediaPart, Message, Part, RenderedPrompt, Role, Text
from engine.api.settings import MediaLimits
from engine.models.base import MediaProcessor, PreparedMedia
from engine.models.media.picture import open_picture
from engine.run.template import ChatTemplate


@dataclass(frozen=True, slots=True)
class Prompt:
    token_ids: np.ndarray = field(repr=False)
    """(L,) int32"""
    slots: np.ndarray = field(repr=False)
    """(N,) int32: which of them take a feature row, in order."""
    media: tuple[PreparedMedia, ...]
    text: str = field(repr=False)
    """As rendered, before media markers were expanded."""


class PromptBuilder:
    def __init__(
        self, tokenizer: Any, processor: MediaProcessor | None, template: ChatTemplate, limits: MediaLimits
    ) -> None:
        self._tokenizer = tokenizer
        self._processor = processor
        self._template = template
        self._limits = limits

    def build(self, request: GenerateRequest) -> Iterator[Prompt | None]:
        """Yields `None` between pictures and the prompt at last.

        Raises `RequestError` or `MediaError` for what the model or the limits refuse.
        """
        parts = media_parts(request)
        self._check(parts)
        media: list[PreparedMedia] = []
        for part in parts:
            picture = open_picture(part, self._limits)
            media.append(self._processor.prepare(picture.image, picture.digest))
            yield None
        yield self._assemble(request, tuple(media))

    def _check(self, parts: Sequence[MediaPart]) -> None:
        for part in parts:
            if not isinstance(part, Image) or self._processor is None:
                kind = type(part).__name__.lower()
                raise RequestError(
                    f"This model does not take {'pictures' if kind == 'image' else kind}.",
                    "Remove the attachment, or choose a model that takes it.",
                    code="unsupported_media",
                )
        if len(parts) > self._limits.max_images:
            raise RequestError(
                f"{len(parts)} pictures in one conversation; at most {self._limits.max_images} are taken.",
                "Remove some, or begin a new chat.",
                code="too_many_images",
            )

    def _assemble(self, request: GenerateRequest, media: tuple[PreparedMedia, ...]) -> Prompt:
        if isinstance(request.prompt, RenderedPrompt):
            text, typed, stand_in = request.prompt.text, "", ""
            bos = getattr(self._tokenizer, "bos_token", None)
            special = not (bos and text.startswith(bos))
        else:
            typed, stand_in, messages = self._set_typed_markers_aside(request.prompt)
            text = self._template.render(messages, dict(request.template_options))
            self._check_places(text, len(media))
            special = False
        ids, slots = self._tokenise(text, media, typed=typed, stand_in=stand_in, special=special)
        if not ids:
            raise RequestError("The prompt is empty.", "Write something, or add a picture.")
        return Prompt(np.asarray(ids, np.int32), np.asarray(slots, np.int32), media, text)

    def _check_places(self, text: str, pictures: int) -> None:
        """A template has to write one marker for each picture it is given."""
        places = text.count(self._processor.marker) if self._processor else 0
        if places != pictures:
            raise CheckpointError(
                f"The model's chat template left {places} places for the pictures of the conversation, not {pictures}.",
                "It may have been made for text alone: choose another version of the model.",
            )

    def _set_typed_markers_aside(self, messages: Sequence[Message]) -> tuple[str, str, Sequence[Message]]:
        """A marker that somebody typed is text and must not become a picture's place: it is swapped for a nonce."""
        marker = self._processor.marker if self._processor else ""
        if not marker or not any(marker in message.text for message in messages):
            return "", "", messages
        stand_in = secrets.token_hex(16)

        def swap(part: Part) -> Part:
            return Text(part.text.replace(marker, stand_in)) if isinstance(part, Text) else part

        return marker, stand_in, [Message(m.role, tuple(map(swap, m.parts))) for m in messages]

    def _tokenise(
        self, text: str, media: tuple[PreparedMedia, ...], *, typed: str, stand_in: str, special: bool
    ) -> tuple[list[int], list[int]]:
        """Token ids, and the indices of those that take a feature."""
        if self._processor is None:
            return self._encode(text, special), []
        text = self._expand(text, media)
        ids: list[int] = []
        slots: list[int] = []
        for number, stretch in enumerate(text.split(stand_in) if stand_in else [text]):
            if number:
                ids += self._tokenizer.encode(typed, add_special_tokens=False, split_special_tokens=True)
            stretch_ids = self._encode(stretch, special and number == 0)
            slots += [len(ids) + i for i, token in enumerate(stretch_ids) if token == self._processor.slot_id]
            ids += stretch_ids
        wanted = sum(item.feature_count for item in media)
        if len(slots) != wanted:
            raise RequestError(
                f"The prompt has room for {len(slots)} picture features, the pictures give {wanted}.",
                "The model's processor files and its tokenizer do not belong together; download the model again.",
            )
        return ids, slots

    def _expand(self, text: str, media: tuple[PreparedMedia, ...]) -> str:
        stretches = text.split(self._processor.marker)
        if len(stretches) - 1 != len(media):
            raise RequestError(
                f"The prompt has {len(stretches) - 1} picture markers ({self._processor.marker}) "
                f"for {len(media)} pictures.",
                "Put one marker a picture into the prompt: apply_chat_template(..., num_images=...) does.",
                code="marker_mismatch",
            )
        expanded = [stretches[0]]
        for item, stretch in zip(media, stretches[1:], strict=True):
            expanded += [item.expansion, stretch]
        return "".join(expanded)

    def _encode(self, text: str, special: bool) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=special))


def media_parts(request: GenerateRequest) -> list[MediaPart]:
    """The media of a request in the order of their markers."""
    if isinstance(request.prompt, RenderedPrompt):
        return list(request.prompt.media)
    if not any(message.role is not Role.SYSTEM for message in request.prompt):
        raise RequestError("The conversation has no question.", "Write something, or add a picture.")
    return [part for message in request.prompt for part in message.parts if not isinstance(part, Text)]
