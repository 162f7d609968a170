"""The one protocol a model family implements, and the small pieces every family is made of.

Knows nothing of requests, schedules or caches' owners: it turns prepared media and token ids into logits.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache
from PIL import Image

from engine.api.events import Modality
from engine.models.clips.plan import ClipProcessor
from engine.models.grounding.question import Locate
from engine.models.positions import Positions

KEPT_AT_FIRST = 4
"""Tokens that a rotating cache never forgets, as in mlx-lm."""

Config = Mapping[str, Any]
"""A `config.json` after `engine.loading.config` has normalised its spellings."""


@dataclass(frozen=True, slots=True)
class PreparedMedia:
    """One picture or clip, as the family's tower takes it. Plain data: made without MLX, hashable by `digest`."""

    modality: Modality
    arrays: Mapping[str, np.ndarray] = field(repr=False)
    """What `VisionLanguageModel.encode` reads, such as `pixel_values` (tiles, 3, H, W) float32."""
    expansion: str = field(repr=False)
    """The text that stands in the rendered prompt where the marker was."""
    feature_count: int
    """How many slot tokens `expansion` holds: rows of `encode`'s result."""
    digest: str
    """Of the picture's content and of everything that decides the arrays."""
    finish: Callable[[str], str] | None = field(default=None, repr=False)
    """What becomes of a prompt in which every expansion stands, where they depend on each other or on the text around
    them. The same function for all media of a family."""


def finished(text: str, media: Iterable[PreparedMedia]) -> str:
    """A prompt in which every expansion stands, as the media's `finish` leaves it."""
    for finish in dict.fromkeys(item.finish for item in media if item.finish is not None):
        text = finish(text)
    return text


class MediaProcessor(Protocol):
    """From decoded media to what the tower takes; made by a family from a checkpoint's files."""

    marker: str
    """What the chat template writes for one picture."""
    slot_id: int
    """The token id whose places in the prompt take the features; never reaches the embedding table."""

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        """`picture` is upright RGB uint8; `digest` that of its content. Raises `MediaError` for one it cannot take."""
        ...


class VisionLanguageModel(nn.Module):
    """A text decoder and what lets media into it. A family's class joins tower, projector and decoder here."""

    language_model: nn.Module
    """An mlx-lm `Model`: `(ids (B, L), cache, input_embeddings=(B, L, D)) -> logits (B, L, V)`."""

    tower_bytes: int = 1 << 28
    """What a layer of a tower may hold on its way through a picture, of those that see one at its own shape: of a
    larger one it sees some patches at a time."""

    sees_tiles_together: ClassVar[bool] = False
    """Whether all tiles of a picture go through the tower side by side."""

    def encode(self, media: PreparedMedia) -> mx.array:
        """Features (feature_count, D) of one picture or clip (`media.modality` tells), in the order of its slots."""
        raise NotImplementedError(f"{type(self).__name__} takes no {media.modality.value}")

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        """`encode` at last, and `None` after each piece of work before: a picture of many tiles must not keep a stop
        or other answers waiting."""
        yield self.encode(media)

    def embed_tokens(self, ids: mx.array) -> mx.array:
        """(B, L) -> (B, L, D), before whatever scaling the decoder itself applies to `input_embeddings`."""
        return self.language_model.model.embed_tokens(ids)

    def embed(self, ids: mx.array, slots: mx.array, features: mx.array) -> mx.array:
        """Prompt embeddings (1, L, D): tokens (1, L) looked up, `features` (N, D) put at the `slots` (N,)."""
        blank = mx.zeros(slots.shape, dtype=ids.dtype)
        row = mx.put_along_axis(ids[0], slots, blank, axis=0)
        embeddings = self.embed_tokens(row[None])
        embeddings[0, slots] = features.astype(embeddings.dtype)
        return embeddings

    def positions_for(self, ids: np.ndarray, slots: np.ndarray, media: tuple[PreparedMedia, ...]) -> Positions | None:
        """Where the tokens of a prompt, `ids` (L,) with `slots` (N,) for `media`, stand for the decoder's rotary
        modules; `None` where that is their number, as in plain text."""
        return None

    def prefill_stops(self, token_ids: np.ndarray, step: int) -> list[int]:
        """Where a prompt (L,) is cut into pieces of about `step` tokens: behind each piece, the last token left over.
        A stop at L says that the last token, too, has to be there when the ones before it are computed."""
        last = len(token_ids) - 1
        return [*range(step, last, step), last] if last else []

    def adapter_for(self, media: tuple[PreparedMedia, ...]) -> str | None:
        """The adapter a conversation with these media runs under, prompt and answer; `None` is the bare model."""
        return None

    def select_adapter(self, name: str | None) -> None:
        """Make the next calls run under this adapter. Called by the runner before each of them."""

    def __call__(
        self,
        ids: mx.array,
        cache: list[Any] | None = None,
        embeddings: mx.array | None = None,
        *,
        positions: mx.array | None = None,
        shift: int | mx.array = 0,
    ) -> mx.array:
        """Logits (B, L, V). With `embeddings` (B, L, D) the ids only give the shape.

        For families with `positions_for`: `positions` (3, B, L) are those of the prompt's tokens in this step; in
        later steps `shift`, a number or (B,), is added to a token's number.
        """
        if embeddings is None:
            return self.language_model(ids, cache=cache)
        return self.language_model(ids, cache=cache, input_embeddings=embeddings)

    def make_cache(self, max_kv_size: int | None = None) -> list[Any]:
        """Fresh mlx-lm caches, one a layer; the caller owns them. With `max_kv_size` none keeps more tokens than that,
        the first few and the last."""
        caches = make_prompt_cache(self.language_model, max_kv_size)
        if max_kv_size is None:
            return caches
        # mlx-lm passes over it where a decoder makes its own caches.
        return [RotatingKVCache(max_kv_size, KEPT_AT_FIRST) if type(c) is KVCache else c for c in caches]

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """The checkpoint's names and layouts (any of the three spellings) to this module's. Renames and transposes
        only; drops only what is documented as unused. Every name left over is reported by the loader."""
        raise NotImplementedError


class TokenizerLike(Protocol):
    """What families may ask of a tokenizer (a transformers fast tokenizer has it)."""

    def encode(self, text: str, *, add_special_tokens: bool = ...) -> list[int]: ...

    def convert_tokens_to_ids(self, tokens: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Family:
    """What the registry knows of a family. Each file under `families/` ends in one, called `FAMILY`."""

    model_types: tuple[str, ...]
    modalities: frozenset[Modality]
    build: Callable[[Config], VisionLanguageModel]
    """A module with the config's shapes and no weights worth keeping (MLX is lazy: nothing is allocated)."""
    processor: Callable[[Path, Config, TokenizerLike], MediaProcessor] | None = None
    """Reads the checkpoint's processor files; falls back to the family's documented defaults."""
    clips: Callable[[Path, Config, TokenizerLike], ClipProcessor] | None = None
    """The same for clips, of families that take them; such a family has `processor` as well."""
    locate: Locate | None = None
    """Reads the places in pictures that an answer speaks of, for families that were trained to tell them."""
    ends: tuple[str, ...] = ()
    """Tokens that end an answer besides those that a checkpoint's files name."""
    begin: Callable[[Any], str] | None = None
    """The text with which every prompt begins, given the tokenizer; by default what the tokenizer puts there."""
    most_pictures: int | None = None
    """In one conversation; `None` for as many as the context holds."""
    chat_template: str | None = None
    """Jinja, for checkpoints that come without one."""
    open_weights: Callable[[Path, Config], dict[str, mx.array]] | None = None
    """For checkpoints that are not a folder of safetensors: their tensors by name, lazily loaded."""
