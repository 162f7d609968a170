"""A second, smaller model that guesses what the first will say (arXiv 2211.17192).

Knows nothing of the first one. Its guess is always its likeliest token, so that an answer hangs on its own seed alone,
whether it is guessed or not.
"""

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import trim_prompt_cache

from engine.cache.keys import common
from engine.cache.prefix import has_way_back
from engine.models.base import VisionLanguageModel


class DraftModel:
    """A `Drafter` of one answer, with caches of its own, which are kept in step with what was said."""

    def __init__(self, model: VisionLanguageModel, vocabulary_size: int, step_size: int) -> None:
        """Tokens from `vocabulary_size` on are never guessed. A text that is not read yet is read `step_size` tokens a
        call, without a guess, so that nobody waits for more."""
        self._model = model
        self._size = vocabulary_size
        self._step_size = step_size
        self._caches = model.make_cache()
        self._held = np.zeros(0, np.int32)
        """Tokens in the caches."""
        self.always = True

    def propose(self, history: np.ndarray, count: int) -> list[int]:
        if not has_way_back(self._caches, len(history) + count):
            # A window is full, or it is no model that can step back: from here on there is no guess.
            self.always = False
            return []
        # The last token is always run, for what comes behind it.
        same = min(common(self._held, history), len(history) - 1)
        trim_prompt_cache(self._caches, len(self._held) - same)
        self._model.select_adapter(None)
        if len(history) - same > self._step_size:
            self._held = history[: same + self._step_size].copy()
            self._model(mx.array(self._held[same:])[None], self._caches)
            mx.async_eval([layer.state for layer in self._caches])
            return []
        draft = self._guess(history[same:], count)
        self._held = np.concatenate([history, draft[:-1]]).astype(np.int32)
        return draft

    def _guess(self, tokens: np.ndarray, count: int) -> list[int]:
        draft: list[mx.array] = []
        following = mx.array(tokens)
        while len(draft) < count:
            logits = self._model(following[None], self._caches)[:, -1, : self._size]
            following = mx.argmax(logits, axis=-1)
            mx.async_eval(following)
            draft.append(following)
        return mx.concatenate(draft).tolist()
