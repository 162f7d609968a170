"""The only place where tensors of requests live: runs prompts and decodes tokens through the loaded model.

Knows nothing of who runs next, of text, or of events.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import trim_prompt_cache

from engine.api.events import Stage
from engine.api.settings import CacheSettings
from engine.models.base import VisionLanguageModel
from engine.models.positions import Positions
from engine.run.prompt import Prompt
from engine.run.sampler import Draw, Sampler


@dataclass(frozen=True, slots=True)
class Token:
    id: int
    logprob: float


@dataclass(slots=True)
class Slot:
    """What one request holds on the device."""

    cache: list[Any]
    sampler: Sampler
    adapter: str | None
    positions: Positions | None
    """Of the prompt, where they are not its tokens' numbers."""
    launched: Draw | None = None
    """The next token, under way but not yet read."""


class Runner:
    def __init__(self, model: VisionLanguageModel, settings: CacheSettings) -> None:
        self._model = model
        self._settings = settings
        self._slots: dict[str, Slot] = {}

    def open(self, request_id: str, prompt: Prompt, sampler: Sampler) -> None:
        adapter = self._model.adapter_for(prompt.media)
        positions = self._model.positions_for(prompt.token_ids, prompt.slots, prompt.media)
        cache = self._model.make_cache(self._settings.max_kv_size)
        self._slots[request_id] = Slot(cache, sampler, adapter, positions)

    def close(self, request_id: str) -> None:
        self._slots.pop(request_id, None)

    def prefill(self, request_id: str, prompt: Prompt) -> Iterator[tuple[Stage, int, int]]:
        """Everything up to and including the launch of the first token. Yields after each piece of work."""
        slot = self._slots[request_id]
        features: list[mx.array] = []
        for item in prompt.media:
            for found in self._model.encode_in_pieces(item):
                if found is not None:
                    mx.eval(found)
                    features.append(found)
                yield Stage.LOOKING, len(features), len(prompt.media)
        ids = mx.array(prompt.token_ids)[None]
        embeddings = None
        if features:
            embeddings = self._model.embed(ids, mx.array(prompt.slots), mx.concatenate(features))
        last = ids.shape[1] - 1
        stops = self._model.prefill_stops(prompt.token_ids, self._settings.prefill_step_size)
        for start, stop in pairwise([0, *stops]):
            self._forward(slot, ids, embeddings, start, stop)
            # Only the caches: the logits of these positions are never asked for, so they are never computed.
            mx.eval([layer.state for layer in slot.cache])
            yield Stage.PREFILL, stop, last + 1
        if stops and stops[-1] > last:
            # So that the head sees one token, not the whole prompt.
            trim_prompt_cache(slot.cache, 1)
        mx.clear_cache()
        slot.launched = slot.sampler.draw(self._forward(slot, ids, embeddings, last, last + 1)[:, -1])
        mx.async_eval(_arrays(slot.launched))
        yield Stage.PREFILL, last + 1, last + 1

    def decode(self, request_ids: Sequence[str]) -> dict[str, Token]:
        """One token each. The token after it is launched before this one is read, so the device never waits."""
        ready = {name: self._slots[name].launched for name in request_ids}
        for name, draw in ready.items():
            slot = self._slots[name]
            self._model.select_adapter(slot.adapter)
            shift = slot.positions.shift if slot.positions else 0
            slot.launched = slot.sampler.draw(self._model(draw.token[None], slot.cache, shift=shift)[:, -1])
            mx.async_eval(_arrays(slot.launched))
        return {name: _read(draw) for name, draw in ready.items()}

    def _forward(self, slot: Slot, ids: mx.array, embeddings: mx.array | None, start: int, stop: int) -> mx.array:
        self._model.select_adapter(slot.adapter)
        piece = None if embeddings is None else embeddings[:, start:stop]
        positions = None if slot.positions is None else mx.array(slot.positions.axes[:, None, start:stop])
        return self._model(ids[:, start:stop], slot.cache, piece, positions=positions)


def _arrays(draw: Draw) -> list[mx.array]:
    return [draw.token] if draw.logprob is None else [draw.token, draw.logprob]


def _read(draw: Draw) -> Token:
    return Token(int(draw.token.item()), 0.0 if draw.logprob is None else float(np.asarray(draw.logprob)[0]))
