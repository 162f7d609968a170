"""The engine's own runner gives the tokens of the plainest loop there is, whatever it finds computed already.

The other tests decode with that loop, which is held to the reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import mlx.core as mx
import numpy as np
import pytest
from PIL import Image

from engine.api.settings import CacheSettings, SamplingSettings
from engine.cache.features import FeatureCache
from engine.cache.prefix import PrefixCache
from engine.models.base import PreparedMedia
from engine.run.prompt import Prompt
from engine.run.runner import Runner
from engine.run.sampler import Sampler
from engine.speculate.speculation import Speculation
from tests.reference import tiny
from tests.reference.ours import Ours
from tests.reference.parity import NEW_TOKENS


@dataclass
class Run:
    """A runner that answers one prompt after the other."""

    ours: Ours
    step: int = 512
    bytes: int = 0
    runner: Runner = field(init=False)

    def __post_init__(self) -> None:
        settings = CacheSettings(prefill_step_size=self.step)
        self.runner = Runner(self.ours.model, settings, PrefixCache(self.bytes), FeatureCache(self.bytes))

    def answer(self, ids: list[int], media: list, guess: Sequence[int] = ()) -> tuple[list[int], int]:
        """The tokens, and how many of the prompt's were found computed; `guess` is what a drafter takes them for."""
        prompt = Prompt(np.array(ids, np.int32), self.ours.slots(ids, media), tuple(media), "")
        sampler = Sampler(SamplingSettings(temperature=0.0), mx.array(ids), seed=0, logprobs=False)
        speculation = Speculation(Says(len(ids), guess), prompt.token_ids, most=4, max_tokens=NEW_TOKENS)
        cached = self.runner.open("one", prompt, sampler, speculation=speculation if guess else None)
        *_, (_, done, total) = self.runner.prefill("one")
        assert done == total == len(ids)
        found = []
        while len(found) < NEW_TOKENS:
            found += [token.token_id for token in self.runner.decode(["one"])["one"]]
        self.runner.close("one", found)
        return found, cached


@dataclass
class Says:
    """A drafter that takes an answer for known."""

    prompt_length: int
    answer: Sequence[int]
    always: bool = True

    def propose(self, history: np.ndarray, count: int) -> list[int]:
        said = len(history) - self.prompt_length
        return list(self.answer[said : said + count])


class RunnerParity:
    found_again = True
    """Whether part of a prompt with a picture can be had: not where it has to be computed as a whole."""
    found_before_more = True
    """Whether a first question is found when another picture follows: not where pictures see later ones."""

    @pytest.mark.parametrize("step", [5, 512])
    def test_greedy_tokens_of_the_runner(self, pair, step):
        pictures = [tiny.picture("landscape"), tiny.picture("portrait")]
        found, _ = Run(pair.ours, step).answer(*pair.ours.prompt(self.case.two, pictures))
        assert found == pair.ours.greedy(self.case.two, pictures, NEW_TOKENS)

    def test_guesses_change_no_token(self, pair):
        """Several tokens of the answer in one step, one of them wrong; where caches have no way back there are none."""
        ids, media = pair.ours.prompt(self.case.two, [tiny.picture("landscape"), tiny.picture("portrait")])
        run = Run(pair.ours)
        expected, _ = run.answer(ids, media)
        wrong = next(token for token in range(len(ids)) if token not in expected)
        assert run.answer(ids, media, [*expected[:3], wrong, *expected[4:]])[0] == expected

    def test_the_same_prompt_again(self, pair):
        run = Run(pair.ours, 8, 1 << 30)
        ids, media = pair.ours.prompt(self.case.one, [tiny.picture("landscape")])
        first, none = run.answer(ids, media)
        again, cached = run.answer(ids, media)
        assert again == first
        assert none == 0
        assert bool(cached) is self.found_again

    def test_a_conversation_goes_on(self, pair):
        """A second question, with a second picture, behind the first and its answer."""
        run, without = Run(pair.ours, 8, 1 << 30), Run(pair.ours, 8)
        ids, media = pair.ours.prompt(self.case.one, [tiny.picture("landscape")])
        answer, _ = run.answer(ids, media)
        more, again = self._second(pair, tiny.picture("portrait"))
        longer = [*ids, *self._plain(pair, answer), *more]
        found, cached = run.answer(longer, [*media, *again])
        assert found == without.answer(longer, [*media, *again])[0]
        assert (cached >= len(ids) - 1) is (self.found_again and self.found_before_more)

    def test_another_picture_is_not_taken_for_the_first(self, pair):
        run, without = Run(pair.ours, 8, 1 << 30), Run(pair.ours, 8)
        run.answer(*pair.ours.prompt(self.case.one, [tiny.picture("landscape")]))
        ids, (media,) = pair.ours.prompt(self.case.one, [tiny.picture("landscape").rotate(180)])
        media = _named(media, "another")
        assert run.answer(ids, [media])[0] == without.answer(ids, [media])[0]

    def _second(self, pair, picture: Image.Image) -> tuple[list[int], list]:
        ids, (media,) = pair.ours.prompt(self.case.one, [picture])
        return ids, [_named(media, "second")]

    def _plain(self, pair, answer: list[int]) -> list[int]:
        """What of an answer may stand in a prompt: no places for features."""
        return [token for token in answer if token not in pair.banned]


def _named(media: PreparedMedia, digest: str) -> PreparedMedia:
    return replace(media, digest=digest)
