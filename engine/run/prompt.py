"""A request's conversation to token ids with a place for every media feature.

Knows nothing of the decoder, nor of how media are read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engine.api.conversation import Conversation, media_of
from engine.api.errors import RequestError
from engine.api.request import GenerateRequest, RenderedPrompt, Role
from engine.models.base import PreparedMedia
from engine.models.recipes.pictures import Pair
from engine.run.markers import Markers, Typed
from engine.run.media import MediaReader, Pause, Prepared
from engine.run.template import ChatTemplate
from engine.run.tools import offered_tools

SMALL = 4096
"""Bytes of an array that says how a picture lies, and not what it shows."""


@dataclass(frozen=True, slots=True)
class Prompt:
    token_ids: np.ndarray = field(repr=False)
    """(L,) int32"""
    slots: np.ndarray = field(repr=False)
    """(N,) int32: which of them take a feature row, in order."""
    media: tuple[PreparedMedia, ...]
    text: str = field(repr=False)
    """As rendered, before media markers were expanded."""
    sizes: tuple[Pair, ...] = ()
    """Height and width of each of the media as it was given."""
    notes: tuple[str, ...] = ()
    """What a person ought to know of the media, such as that a clip is damaged."""

    def without_pixels(self) -> "Prompt":
        """What is left to be known once it is read. The large arrays of its media go."""
        media = (
            replace(item, arrays={name: array for name, array in item.arrays.items() if array.nbytes <= SMALL})
            for item in self.media
        )
        return replace(self, media=tuple(media))


class PromptBuilder:
    def __init__(
        self,
        tokenizer: Any,
        template: ChatTemplate,
        reader: MediaReader,
        begin: Callable[[Any], str] | None = None,
    ) -> None:
        """`begin` gives the words that every prompt begins with, by the tokenizer."""
        self._tokenizer = tokenizer
        self._beginning = begin(tokenizer) if begin else _beginning(tokenizer) if reader.pictures else ""
        self._template = template
        self._reader = reader
        self._markers = Markers(tokenizer, reader.pictures, reader.clips)

    def build(self, request: GenerateRequest) -> Iterator[Prompt | Pause]:
        """Yields after each piece of work on the media, and before one that takes memory how much; the prompt at last.

        Raises `RequestError` or `MediaError` for what the model or the limits refuse.
        """
        _check_question(request.prompt)
        settled = yield from self._reader.settle(request.prompt)
        prepared: list[Prepared] = []
        for part in media_of(settled.conversation):
            prepared.append((yield from self._reader.prepare(part, request.resize_shape, request.tenant)))
        prompt = self._assemble(request, settled.conversation, prepared)
        yield replace(prompt, notes=(*settled.notes, *prompt.notes))

    def _assemble(self, request: GenerateRequest, conversation: Conversation, prepared: list[Prepared]) -> Prompt:
        media = tuple(item.media for item in prepared)
        if isinstance(conversation, RenderedPrompt):
            text, typed = conversation.text, Typed()
            bos = getattr(self._tokenizer, "bos_token", None)
            special = not (bos and text.startswith(bos))
        else:
            typed, messages, tools = self._markers.set_typed_aside(conversation, offered_tools(request))
            text = self._template.render(messages, dict(request.template_options), tools)
            self._markers.check(text, media_of(conversation))
            if self._beginning not in text:
                text = self._beginning + text
            special = False
        ids, slots = self._tokenise(text, media, typed=typed, special=special)
        if not ids:
            raise RequestError("The prompt is empty.", "Write something, or add a picture.")
        notes = tuple(item.note for item in prepared if item.note)
        sizes = tuple(item.size for item in prepared)
        return Prompt(np.asarray(ids, np.int32), np.asarray(slots, np.int32), media, text, sizes, notes)

    def _tokenise(
        self, text: str, media: tuple[PreparedMedia, ...], *, typed: Typed, special: bool
    ) -> tuple[list[int], list[int]]:
        """Token ids, and the indices of those that take a feature."""
        ids: list[int] = []
        slots: list[int] = []
        for number, (stretch, is_typed) in enumerate(typed.stretches(self._markers.expand(text, media))):
            if is_typed:
                ids += self._tokenizer.encode(stretch, add_special_tokens=False, split_special_tokens=True)
                continue
            stretch_ids = list(self._tokenizer.encode(stretch, add_special_tokens=special and number == 0))
            slots += [len(ids) + i for i, token in enumerate(stretch_ids) if token in self._markers.slot_ids]
            ids += stretch_ids
        wanted = sum(item.feature_count for item in media)
        if len(slots) != wanted:
            raise RequestError(
                f"The prompt has room for {len(slots)} media features, the media give {wanted}.",
                "The model's processor files and its tokenizer do not belong together; download the model again.",
            )
        return ids, slots


def _beginning(tokenizer: Any) -> str:
    """What a tokenizer puts ahead of a text. The templates of models with pictures often leave it to that, as
    transformers' processors do; those of models for text alone never do."""
    plain, whole = (tokenizer.encode("x", add_special_tokens=special) for special in (False, True))
    bos = getattr(tokenizer, "bos_token", None)
    return bos if bos and whole[:1] == [tokenizer.bos_token_id] != plain[:1] else ""


def _check_question(conversation: Conversation) -> None:
    if isinstance(conversation, RenderedPrompt):
        return
    if not any(message.role is not Role.SYSTEM for message in conversation):
        raise RequestError("The conversation has no question.", "Write something, or add a picture.")
