"""A prompt through the model up to its last token but one, without what the caches already hold.

Knows nothing of sampling and rows. A generator of small pieces of work, so that a stop is heard between them.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import trim_prompt_cache

from engine.api.events import Stage
from engine.cache.features import FeatureCache
from engine.cache.keys import Scope
from engine.cache.prefix import has_way_back
from engine.models.base import PreparedMedia, VisionLanguageModel
from engine.models.positions import Positions
from engine.run.prompt import Prompt
from engine.run.room import GROWTH

Step = tuple[Stage, int, int]
"""What is being done, how much of it is done, and how much there is."""

SHORT = 32
"""Tokens of a last piece that cost less in the head than in a pass of their own."""

Work = Generator[Step, None, mx.array]


@dataclass(slots=True)
class Prefill:
    """One prompt, on its way into `caches`."""

    model: VisionLanguageModel
    features: FeatureCache
    prompt: Prompt
    caches: list[Any] = field(repr=False)
    step_size: int
    adapter: str | None = None
    positions: Positions | None = None
    done: int = 0
    """Tokens in the caches; at first those that were found there."""
    scope: Scope = ()
    """Of what towers have seen."""

    def work(self, passed: Callable[[int], None]) -> Work:
        """Returns the logits (1, V) behind the last token. `passed` is told what is done behind each piece."""
        ids = self.prompt.token_ids
        last = len(ids) - 1
        stops = [stop for stop in self.model.prefill_stops(ids, self.step_size) if stop > self.done]
        if self._is_short_to(last, stops):
            stops.pop()
        embeddings, offset = (yield from self._embeddings()), self.done
        for start, stop in pairwise([self.done, *stops]):
            self._forward(embeddings, offset, start, stop)
            # Only the caches: the logits of these positions are never asked for, so they are never computed.
            mx.eval([layer.state for layer in self.caches])
            self.done = stop
            passed(stop)
            yield Stage.PREFILL, stop, last + 1
        if stops and stops[-1] > last:
            # So that the head sees one token, not the whole prompt.
            trim_prompt_cache(self.caches, 1)
            self.done = last
        mx.clear_cache()
        logits = self._forward(embeddings, offset, self.done, last + 1)[:, -1]
        self.done = last + 1
        return logits

    def _is_short_to(self, last: int, stops: Sequence[int]) -> bool:
        """Whether the last piece goes through with the last token: every weight is read once less. Not where what is
        known before that token has to be kept on the way."""
        return (
            bool(stops)
            and stops[-1] == last
            and last - (stops[-2] if len(stops) > 1 else self.done) <= SHORT
            and has_way_back(self.caches, last + GROWTH)
        )

    def _forward(self, embeddings: mx.array | None, offset: int, start: int, stop: int) -> mx.array:
        self.model.select_adapter(self.adapter)
        piece = None if embeddings is None else embeddings[:, start - offset : stop - offset]
        positions = None if self.positions is None else mx.array(self.positions.axes[:, None, start:stop])
        ids = mx.array(self.prompt.token_ids[start:stop])[None]
        return self.model(ids, self.caches, piece, positions=positions)

    def _embeddings(self) -> Generator[Step, None, mx.array | None]:
        """Of the tokens that are not in the caches yet, (1, L, D); `None` if no features are among them."""
        seen = int(np.searchsorted(self.prompt.slots, self.done))
        slots = self.prompt.slots[seen:] - self.done
        if not len(slots):
            return None
        needed, skipped = _needed(self.prompt.media, seen)
        looked: list[mx.array] = []
        for number, item in enumerate(needed):
            looked.append((yield from self._look(item, number, len(needed))))
        ids = mx.array(self.prompt.token_ids[self.done :])[None]
        return self.model.embed(ids, mx.array(slots), mx.concatenate(looked)[skipped:])

    def _look(self, item: PreparedMedia, number: int, total: int) -> Generator[Step, None, mx.array]:
        if (found := self.features.find(self.scope, item.digest)) is None:
            self.model.select_adapter(self.adapter)
            for found in self.model.encode_in_pieces(item):
                if found is None:
                    yield Stage.LOOKING, number, total
            mx.eval(found)
            self.features.store(self.scope, item.digest, found)
        yield Stage.LOOKING, number + 1, total
        return found


def _needed(media: Sequence[PreparedMedia], seen: int) -> tuple[list[PreparedMedia], int]:
    """The media whose features are not all among the first `seen`, and how many of the first one's are."""
    behind = 0
    for number, item in enumerate(media):
        if behind + item.feature_count > seen:
            return list(media[number:]), seen - behind
        behind += item.feature_count
    return [], 0
