"""The only place where tensors of requests live: runs prompts and decodes tokens through the loaded model.

Knows nothing of who runs next, of text, or of events.
"""

import hashlib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from math import ceil
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import trim_prompt_cache

from engine.api.events import Stage, TokenLogprob
from engine.api.settings import CacheSettings
from engine.cache.attention import let_caches_attend
from engine.cache.features import FeatureCache
from engine.cache.prefix import PrefixCache, has_way_back
from engine.cache.scheme import compress
from engine.models.base import PreparedMedia, VisionLanguageModel
from engine.run.draw import Draw
from engine.run.prefill import Prefill, Step
from engine.run.prompt import Prompt
from engine.run.room import GROWTH
from engine.run.rows import Rows, can_be_rows
from engine.run.sampler import Sampler
from engine.run.slot import Alone, Outcome, Slot, accepted
from engine.run.verify import follow
from engine.speculate.reach import reach
from engine.speculate.speculation import Speculation

MOST_CHECKPOINTS = 8
"""Of one prompt, where caches have no way back."""


class Runner:
    def __init__(
        self, model: VisionLanguageModel, settings: CacheSettings, prefixes: PrefixCache, features: FeatureCache
    ) -> None:
        if settings.kv_bits is not None:
            let_caches_attend(model)
        self._model = model
        self._settings = settings
        self._prefixes = prefixes
        self._features = features
        self._reach = reach(model)
        self._slots: dict[str, Slot] = {}
        self._rows: dict[tuple[str | None, str | None], Rows] = {}

    def open(
        self,
        request_id: str,
        prompt: Prompt,
        sampler: Sampler,
        tenant: str = "",
        speculation: Speculation | None = None,
    ) -> int:
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
        self._slots[request_id] = Slot(sampler, prefill, scope, key, cached, speculation)
        return cached

    def fork(self, request_id: str, name: str, sampler: Sampler, speculation: Speculation | None = None) -> None:
        """Another answer, under a `name` of its own, to a prompt that has been read and is not answered yet."""
        slot = self._slots[request_id]
        prefill = replace(slot.prefill, caches=deepcopy(slot.prefill.caches))
        fork = Slot(
            sampler, prefill, slot.scope, slot.key, slot.cached, speculation, launched=sampler.draw(slot.logits)
        )
        mx.async_eval(fork.launched.arrays())
        self._slots[name] = fork

    def close(self, request_id: str, written: Sequence[int] | None) -> None:
        """Let go of a request. What was computed for it is kept for others if it has `written` these tokens, none
        included; with `None`, after a failure, nothing is."""
        slot = self._slots.pop(request_id, None)
        if slot is None:
            return
        caches = slot.prefill.caches if slot.rows is None else slot.rows.leave(request_id)
        self._rows.pop((slot.prefill.adapter, request_id), None)
        if written is not None:
            # Of tokens that came at once, those behind the end are nobody's.
            trim_prompt_cache(caches, slot.written - len(written))
            key = slot.key[: slot.prefill.done]
            self._keep(slot, caches, np.concatenate([key, np.asarray(written, np.int64)]))

    def abandon(self) -> None:
        """After a step that failed: all that decodes, whatever state it was left in."""
        self._slots = {name: slot for name, slot in self._slots.items() if slot.rows is None}
        self._rows.clear()

    def prefill(self, request_id: str) -> Iterator[Step]:
        """Everything up to and including the launch of the first token. Yields after each piece of work."""
        slot = self._slots[request_id]
        borders = self._borders(slot)

        def passed(done: int) -> None:
            if done in borders and not has_way_back(slot.prefill.caches, len(slot.key) + GROWTH):
                self._keep(slot, deepcopy(slot.prefill.caches), slot.key[:done])

        slot.logits = yield from slot.prefill.work(passed)
        slot.launched = slot.sampler.draw(slot.logits)
        mx.async_eval(slot.launched.arrays())
        slot.prefill.prompt = slot.prefill.prompt.without_pixels()
        yield Stage.PREFILL, len(slot.key), len(slot.key)

    def decode(self, request_ids: Sequence[str]) -> dict[str, Outcome]:
        """A token each, more where a guess was right, or why there is none: that one has to be closed before the next
        step. Guesses are made for an answer that is alone: a longer step is slower for whoever else is in it."""
        for name in request_ids:
            if self._slots[name].rows is None:
                self._join(name)
        outcomes: dict[str, Outcome] = {}
        for rows in list(self._rows.values()):
            if rows.names:
                outcomes |= self._outcomes(rows, alone=len(request_ids) == 1)
        return outcomes

    def held(self, name: str) -> int:
        """Tokens in the caches of a row, once it decodes."""
        slot = self._slots.get(name)
        return 0 if slot is None or slot.rows is None else slot.prefill.done + slot.written

    def _outcomes(self, rows: Rows, *, alone: bool) -> dict[str, Outcome]:
        names = rows.names
        try:
            guesses = alone and self._slots[names[0]].speculation is not None
            return self._guess(rows) if guesses else self._step(rows)
        except Exception as error:  # noqa: BLE001 - it ends those in the step, whatever state that left them in, and no others
            self._slots = {name: slot for name, slot in self._slots.items() if slot.rows is not rows}
            self._rows = {group: others for group, others in self._rows.items() if others is not rows}
            return dict.fromkeys(names, error)

    def is_complete(self, request_id: str) -> bool:
        """Whether what was handed out is all that the form of the answer has room for."""
        return self._slots[request_id].sampler.complete

    def _join(self, name: str) -> None:
        slot = self._slots[name]
        prefill = slot.prefill
        # Alone, where the caches of several cannot be put together.
        group = prefill.adapter, None if can_be_rows(prefill.caches) else name
        rows = self._rows.setdefault(group, Rows(self._model, prefill.adapter))
        rows.join(name, prefill.caches, prefill.positions.shift if prefill.positions else 0)
        slot.rows, slot.logits = rows, None
        # The batch has copies; these would be held beside them to the answer's end.
        prefill.caches = []

    def _step(self, rows: Rows) -> dict[str, Outcome]:
        slots = [self._slots[name] for name in rows.names]
        tokens = self._advance(rows, slots)
        for slot, token in zip(slots, tokens, strict=True):
            if slot.speculation is not None:
                slot.speculation.add(token.token_id)
        outcomes = [slot.outcome([token]) for slot, token in zip(slots, tokens, strict=True)]
        return dict(zip(rows.names, outcomes, strict=True))

    def _advance(self, rows: Rows, slots: Sequence[Slot]) -> list[TokenLogprob]:
        """The token after the next is launched before the next is read, so the device never waits; unless a sampler
        has to know the last one first."""
        ready = [slot.launched for slot in slots]
        if any(slot.sampler.waits for slot in slots):
            tokens = accepted(slots, ready)
            self._launch(rows, slots, ready)
        else:
            self._launch(rows, slots, ready)
            tokens = accepted(slots, ready)
        return tokens

    def _guess(self, rows: Rows) -> dict[str, Outcome]:
        """The step of the only row: what comes behind the next token is guessed, and as much as is right comes with
        it."""
        (name,), slot = rows.names, self._slots[rows.names[0]]
        if not slot.speculation.ready:
            return self._step(rows)
        token = slot.launched.read()
        slot.speculation.add(token.token_id)
        draft = slot.speculation.propose(self._most_ahead(rows, slot))
        if not draft:
            return {name: slot.outcome(self._advance(rows, [slot]))}
        return {name: slot.outcome([token, *self._verify(rows, slot, [token.token_id, *draft])])}

    def _most_ahead(self, rows: Rows, slot: Slot) -> int:
        """Tokens behind the last one read that can be run with it and taken back."""
        behind = len(slot.key) + slot.written + 1
        most = min(slot.speculation.most, self._reach - behind)
        return most if has_way_back(rows.caches_of(rows.names[0]), behind + most) else 0

    def _verify(self, rows: Rows, slot: Slot, tokens: Sequence[int]) -> list[TokenLogprob]:
        """Run the last token and the guess behind it; returns what of the guess was right."""
        logits = rows.run_ahead(tokens)
        right: list[Draw] = []
        with Alone(slot):
            *right, slot.launched = follow(slot.sampler, logits, tokens)
        drafted = len(tokens) - 1
        rows.step_back(drafted - len(right))
        slot.speculation.judge(drafted, len(right))
        for token in tokens[1 : len(right) + 1]:
            slot.speculation.add(token, guessed=True)
        return [draw.read() for draw in right]

    def _launch(self, rows: Rows, slots: Sequence[Slot], ready: Sequence[Draw]) -> None:
        logits = rows.step([draw.token for draw in ready])
        for number, slot in enumerate(slots):
            with Alone(slot):
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
