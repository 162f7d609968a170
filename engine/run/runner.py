"""The only place where tensors of requests live: runs prompts and decodes tokens through the loaded model.

Knows nothing of who runs next, of text, or of events.
"""

import hashlib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import ceil
from typing import Any

import mlx.core as mx
import numpy as np

from engine.api.events import Stage, TokenLogprob
from engine.api.settings import CacheSettings
from engine.cache.features import FeatureCache
from engine.cache.keys import Scope
from engine.cache.prefix import PrefixCache, has_way_back
from engine.cache.scheme import compress
from engine.models.base import PreparedMedia, VisionLanguageModel
from engine.run.draw import Draw
from engine.run.prefill import Prefill, Step
from engine.run.prompt import Prompt
from engine.run.room import GROWTH
from engine.run.rows import Rows, can_be_rows
from engine.run.sampler import Sampler

MOST_CHECKPOINTS = 8
"""Of one prompt, where caches have no way back."""


@dataclass(slots=True)
class Slot:
    """What one request holds on the device."""

    sampler: Sampler
    prefill: Prefill
    scope: Scope
    key: np.ndarray
    """(L,) int64, of the prompt; see `prefix_key`."""
    cached: int
    """Tokens of the prompt that were found computed."""
    rows: Rows | None = None
    """Once it decodes."""
    launched: Draw | None = None
    """The next token, under way but not yet read."""
    failure: Exception | None = None
    """Of its own choice of tokens; nobody else's row is the worse for it."""


class Runner:
    def __init__(
        self, model: VisionLanguageModel, settings: CacheSettings, prefixes: PrefixCache, features: FeatureCache
    ) -> None:
        self._model = model
        self._settings = settings
        self._prefixes = prefixes
        self._features = features
        self._slots: dict[str, Slot] = {}
        self._rows: dict[tuple[str | None, str | None], Rows] = {}

    def open(self, request_id: str, prompt: Prompt, sampler: Sampler, tenant: str = "") -> int:
        """Returns how many tokens of the prompt need not be computed. `tenant`: whom prefixes are shared with."""
        adapter = self._model.adapter_for(prompt.media)
        scope, key = (adapter, tenant), prefix_key(prompt)
        caches, cached = compress(self._model.make_cache(self._settings.max_kv_size), self._settings), 0
        last = len(prompt.token_ids) - 1
        stops = [stop for stop in self._model.prefill_stops(prompt.token_ids, 1) if stop <= last]
        if self._prefixes.max_bytes and (found := self._prefixes.find(scope, key, stops)) is not None:
            _hand_over(found.caches, caches)
            cached = found.length
        prefill = Prefill(
            self._model,
            self._features,
            prompt,
            caches,
            self._settings.prefill_step_size,
            adapter,
            self._model.positions_for(prompt.token_ids, prompt.slots, prompt.media),
            cached,
            scope,
        )
        self._slots[request_id] = Slot(sampler, prefill, scope, key, cached)
        return cached

    def close(self, request_id: str, written: Sequence[int] | None) -> None:
        """Let go of a request. What was computed for it is kept for others if it has `written` these tokens, none
        included; with `None`, after a failure, nothing is."""
        slot = self._slots.pop(request_id, None)
        if slot is None:
            return
        caches = slot.prefill.caches if slot.rows is None else slot.rows.leave(request_id)
        self._rows.pop((slot.prefill.adapter, request_id), None)
        if written is not None:
            key = slot.key[: slot.prefill.done]
            self._keep(slot, caches, np.concatenate([key, np.asarray(written, np.int64)]))

    def prefill(self, request_id: str) -> Iterator[Step]:
        """Everything up to and including the launch of the first token. Yields after each piece of work."""
        slot = self._slots[request_id]
        borders = self._borders(slot)

        def passed(done: int) -> None:
            if done in borders and not has_way_back(slot.prefill.caches, len(slot.key) + GROWTH):
                self._keep(slot, deepcopy(slot.prefill.caches), slot.key[:done])

        slot.launched = slot.sampler.draw((yield from slot.prefill.work(passed)))
        mx.async_eval(slot.launched.arrays())
        yield Stage.PREFILL, len(slot.key), len(slot.key)

    def decode(self, request_ids: Sequence[str]) -> dict[str, TokenLogprob | Exception]:
        """One token each, or why there is none for that one: it has to be closed before the next step."""
        for name in request_ids:
            if self._slots[name].rows is None:
                self._join(name)
        tokens: dict[str, TokenLogprob | Exception] = {}
        for rows in self._rows.values():
            if rows.names:
                tokens |= self._step(rows)
        return tokens

    def _join(self, name: str) -> None:
        slot = self._slots[name]
        prefill = slot.prefill
        # Alone, where the caches of several cannot be put together.
        group = prefill.adapter, None if can_be_rows(prefill.caches) else name
        rows = self._rows.setdefault(group, Rows(self._model, prefill.adapter))
        rows.join(name, prefill.caches, prefill.positions.shift if prefill.positions else 0)
        slot.rows = rows

    def _step(self, rows: Rows) -> dict[str, TokenLogprob | Exception]:
        """The token after the next is launched before the next is read, so the device never waits; unless a sampler
        has to know the last one first."""
        slots = [self._slots[name] for name in rows.names]
        ready = [slot.launched for slot in slots]
        if any(slot.sampler.waits for slot in slots):
            tokens = _accepted(slots, ready)
            self._launch(rows, slots, ready)
        else:
            self._launch(rows, slots, ready)
            tokens = _accepted(slots, ready)
        outcomes = [slot.failure or token for slot, token in zip(slots, tokens, strict=True)]
        return dict(zip(rows.names, outcomes, strict=True))

    def _launch(self, rows: Rows, slots: Sequence[Slot], ready: Sequence[Draw]) -> None:
        logits = rows.step([draw.token for draw in ready])
        for number, slot in enumerate(slots):
            with _Alone(slot):
                slot.launched = slot.sampler.draw(logits[number : number + 1])
        mx.async_eval([array for slot in slots for array in slot.launched.arrays()])

    def _borders(self, slot: Slot) -> frozenset[int]:
        """Where the caches of a prompt are kept on the way if they have no way back: behind it, and at some of its
        pieces' ends."""
        if not self._prefixes.max_bytes:
            return frozenset()
        stops = self._model.prefill_stops(slot.prefill.prompt.token_ids, self._settings.prefill_step_size)
        every = ceil(len(stops) / MOST_CHECKPOINTS)
        return frozenset(stops[::-1][::every]) if stops else frozenset()

    def _keep(self, slot: Slot, caches: list[Any], key: np.ndarray) -> None:
        if self._prefixes.max_bytes:
            self._prefixes.store(slot.scope, key, caches)


def prefix_key(prompt: Prompt) -> np.ndarray:
    """(L,) int64: the prompt's tokens, and in the places of media numbers made of their digests."""
    key = prompt.token_ids.astype(np.int64)
    taken = 0
    for item in prompt.media:
        key[prompt.slots[taken : taken + item.feature_count]] = _numbers(item)
        taken += item.feature_count
    return key


def _numbers(item: PreparedMedia) -> np.ndarray:
    """Negative, so that none is a token's; the same in every process."""
    start = int.from_bytes(hashlib.sha256(item.digest.encode()).digest()[:8], "big") >> 2
    return -1 - start - np.arange(item.feature_count)


def _hand_over(found: list[Any], fresh: list[Any]) -> None:
    """What `found` holds, into caches of the kinds that the model makes: a batch gives back plainer ones."""
    for number, (old, new) in enumerate(zip(found, fresh, strict=True)):
        if type(old) is type(new):
            fresh[number] = old
        else:
            new.state = old.state


def _accepted(slots: Sequence[Slot], ready: Sequence[Draw]) -> list[TokenLogprob]:
    tokens = [draw.read() for draw in ready]
    for slot, token in zip(slots, tokens, strict=True):
        with _Alone(slot):
            slot.sampler.accept(token.token_id)
    return tokens


@dataclass(frozen=True, slots=True)
class _Alone:
    """What goes wrong with one row's sampler goes into its slot, and the step goes on for the others."""

    slot: Slot

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self.slot.failure = self.slot.failure or error
        return True
