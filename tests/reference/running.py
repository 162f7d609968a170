"""What holds for families that say where a prompt may be cut: the engine's own runner gives the same tokens.

The other tests decode with the plainest loop there is.
"""

import mlx.core as mx
import numpy as np
import pytest

from engine.api.settings import CacheSettings, SamplingSettings
from engine.run.prompt import Prompt
from engine.run.runner import Runner
from engine.run.sampler import Sampler
from tests.reference import tiny
from tests.reference.parity import NEW_TOKENS


class RunnerParity:
    @pytest.mark.parametrize("step", [5, 512])
    def test_greedy_tokens_of_the_runner(self, pair, step):
        pictures = [tiny.picture("landscape"), tiny.picture("portrait")]
        ids, media = pair.ours.prompt(self.case.two, pictures)
        runner = Runner(pair.ours.model, CacheSettings(prefill_step_size=step))
        prompt = Prompt(np.array(ids), pair.ours.slots(ids, media), tuple(media), "")
        sampler = Sampler(SamplingSettings(temperature=0.0), mx.array(ids), seed=0, logprobs=False)
        runner.open("one", prompt, sampler)
        *_, (_, done, total) = runner.prefill("one", prompt)
        assert done == total == len(ids)
        found = [runner.decode(["one"])["one"].id for _ in range(NEW_TOKENS)]
        assert found == pair.ours.greedy(self.case.two, pictures, NEW_TOKENS)
