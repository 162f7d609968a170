"""Vectors of texts against the reference's hidden states; and models that have none to show."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch

from engine.api.errors import RequestError
from engine.models.base import VisionLanguageModel
from engine.run.embedding import embed_text
from tests.reference import test_florence2, test_qwen2_vl, test_text_only
from tests.reference.parity import Pair

CASES = (
    test_text_only.TestLlama.case,
    test_text_only.TestGemma2.case,
    test_text_only.TestGemma3.case,
    test_text_only.TestMistral.case,
    test_text_only.TestPhi3Long.case,
    test_qwen2_vl.BASE,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("step", [16, 512])
def test_a_vector_is_the_mean_of_the_last_hidden_states(case, step, tmp_path):
    pair = Pair(case, tmp_path)
    ids = pair.tokenizer(test_text_only.TEXT, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        hidden = pair.reference(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0].numpy()
    expected = hidden.mean(axis=0)
    *done, vector = embed_text(pair.ours.model, ids, step, case.name)
    assert done[-1] == len(ids)
    assert len(done) == (1 if step > len(ids) else len(done))
    assert np.abs(np.array(vector) - expected / np.linalg.norm(expected)).max() < 1e-5
    # What was listened to is as it was.
    assert not any("call" in vars(type(module)) for module in pair.ours.model.modules())


def test_a_model_without_a_trunk_of_its_own_is_refused_by_name(tmp_path):
    pair = Pair(test_florence2.BASE, tmp_path)
    with pytest.raises(RequestError, match="Florence") as refused:
        list(embed_text(pair.ours.model, [5, 6, 7], 512, "Florence"))
    assert refused.value.code == "no_embeddings"


class HeadInside(nn.Module):
    """Like decoders whose `model` gives logits."""

    def __init__(self):
        super().__init__()
        self.model = nn.Embedding(20, 20)
        self.layers = []

    def __call__(self, ids, cache=None):
        return self.model(ids)


class Blank(VisionLanguageModel):
    def __init__(self, decoder):
        super().__init__()
        self.language_model = decoder


@pytest.mark.parametrize("decoder", [HeadInside(), nn.Linear(3, 3)])
def test_logits_are_not_taken_for_hidden_states(decoder):
    decoder.layers = []
    with pytest.raises(RequestError, match="Someone"):
        list(embed_text(Blank(decoder), [1, 2], 512, "Someone"))


def test_the_head_is_not_computed(monkeypatch):
    """Its logits would take more memory than all the rest."""

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Embedding(20, 8)
            self.layers = []

        def __call__(self, ids, cache=None):
            self.logits = self.model(ids) @ mx.ones((8, 1 << 10))
            return self.logits

    model = Blank(Decoder())
    *_, vector = embed_text(model, [1, 2, 3], 512, "x")
    assert len(vector) == 8
