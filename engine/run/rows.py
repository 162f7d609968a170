"""The sequences that decode together: one batch of caches, a row for each.

Knows nothing of tokens' choice, nor of requests beyond their ids. One row alone keeps the caches it came with, whose
attention is the fastest; mlx-lm's batched ones take over while there are more.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import CacheList, RotatingKVCache, trim_prompt_cache

from engine.cache.state import Caches
from engine.models.base import VisionLanguageModel


class Rows:
    """All under one adapter."""

    def __init__(self, model: VisionLanguageModel, adapter: str | None) -> None:
        self._model = model
        self._adapter = adapter
        self._names: list[str] = []
        self._shifts: list[int] = []
        self._caches: Caches = []

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the rows."""
        return tuple(self._names)

    def join(self, name: str, caches: Caches, shift: int) -> None:
        """A sequence whose prompt is in `caches`; `shift` is added to its tokens' numbers for their positions."""
        if not self._names:
            self._caches = caches
        elif len(self._names) == 1:
            pairs = zip(self._caches, caches, strict=True)
            self._caches = [first.merge([first, second]) for first, second in pairs]
        else:
            for layer, new in zip(self._caches, caches, strict=True):
                layer.extend(new.merge([new]))
        self._names.append(name)
        self._shifts.append(shift)

    def leave(self, name: str) -> Caches:
        """Take a sequence out; returns its own caches."""
        at = self._names.index(name)
        caches = self.caches_of(name)
        del self._names[at], self._shifts[at]
        if len(self._names) == 1:
            self._caches = [layer.extract(1 - at) for layer in self._caches]
        elif self._names:
            kept = mx.array([number for number in range(len(self._names) + 1) if number != at])
            for layer in self._caches:
                layer.filter(kept)
        else:
            self._caches = []
        return caches

    def caches_of(self, name: str) -> Caches:
        if len(self._names) == 1:
            return self._caches
        at = self._names.index(name)
        return [layer.extract(at) for layer in self._caches]

    def step(self, tokens: Sequence[mx.array]) -> mx.array:
        """The tokens (1,) of all rows -> the logits (B, V) of those after them."""
        self._model.select_adapter(self._adapter)
        shift = self._shifts[0] if len(self._shifts) == 1 else mx.array(self._shifts)
        return self._model(mx.stack(list(tokens)), self._caches, shift=shift)[:, -1]

    def run_ahead(self, tokens: Sequence[int]) -> mx.array:
        """Several tokens of the only row -> the logits (L, V) of those after each."""
        self._model.select_adapter(self._adapter)
        return self._model(mx.array([tokens]), self._caches, shift=self._shifts[0])[0]

    def step_back(self, tokens: int) -> None:
        """Take the last tokens of the only row out of its caches."""
        trim_prompt_cache(self._caches, tokens)


def can_be_rows(caches: Iterable[Any]) -> bool:
    """Whether caches of this kind can be batched. mlx-lm's rotating ones forget the first tokens that they were told
    to keep as soon as they are."""
    for layer in caches:
        if isinstance(layer, CacheList):
            if not can_be_rows(layer.caches):
                return False
        elif not hasattr(layer, "merge") or (isinstance(layer, RotatingKVCache) and layer.keep):
            return False
    return True
