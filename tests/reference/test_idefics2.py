"""Idefics2 against transformers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Idefics2Config, Idefics2ForConditionalGeneration
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil
from transformers.models.idefics2.processing_idefics2 import Idefics2Processor

from engine.api.errors import MediaError
from engine.models.families.idefics2 import Idefics2Processor as Ours
from engine.models.recipes.native_aspect import NativeAspectRecipe
from engine.models.towers.vit import positions_along
from tests.reference import tiny
from tests.reference.parity import Case, VisionParity
from tests.reference.spelling import Spelling

SPECIALS = ("<fake_token_around_image>", "<image>", "<end_of_utterance>")

SPELLINGS = (
    Spelling("transformers-4", (), old_config=True),
    Spelling(
        "mlx-community",
        (("model.text_model.", "language_model."), ("lm_head.", "language_model.lm_head."), ("model.", "")),
        old_config=True,
        mlx_layout=True,
    ),
)

PERCEIVER = {
    "hidden_size": tiny.TEXT["hidden_size"],
    "resampler_n_latents": 5,
    "resampler_depth": 2,
    "resampler_n_heads": 6,
    "resampler_head_dim": 10,
    "num_key_value_heads": 2,
}


def idefics2(text_config=None, vision_config=None, perceiver_config=None, **changes):
    text = tiny.TEXT | {"model_type": "mistral", "sliding_window": None}
    return lambda tokenizer: Idefics2ForConditionalGeneration(
        Idefics2Config(
            text_config=text | {"vocab_size": len(tokenizer)} | (text_config or {}),
            vision_config=tiny.VISION | (vision_config or {}),
            perceiver_config=PERCEIVER | (perceiver_config or {}),
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            **changes,
        )
    )


def processor(latents=5, **changes):
    picture = {"size": {"shortest_edge": 20, "longest_edge": 61}} | changes
    return lambda tokenizer: Idefics2Processor(Idefics2ImageProcessorPil(**picture), tokenizer, image_seq_len=latents)


BASE = Case(
    "idefics2",
    idefics2(),
    SPECIALS,
    processor(),
    SPELLINGS,
    two="User:<image><image> What are these?\nAssistant:",
)


class TestIdefics2(VisionParity):
    case = BASE


class TestQuarters(VisionParity):
    """Other ratios, a window, a tied head; the perceiver's width left to the decoder."""

    case = replace(
        BASE,
        name="idefics2, quarters",
        model=idefics2(
            {"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 16, "sliding_window": 30},
            {"image_size": 40, "patch_size": 7, "hidden_act": "gelu"},
            {"hidden_size": 64, "resampler_n_latents": 3, "num_key_value_heads": 3, "hidden_act": "gelu"},
            tie_word_embeddings=True,
        ),
        processor=processor(3, do_image_splitting=True),
        one="User: Look:<image>\nWhat is it?\nAssistant:",
        two="User:<image>And <image>this?\nAssistant:",
    )


def test_positions_are_those_of_the_reference():
    """At the sizes of the published checkpoint, where rounding tells."""
    boundaries = torch.arange(1 / 70, 1.0, 1 / 70)
    for count in range(1, 71):
        fractions = torch.arange(count, dtype=torch.float32) * (1.0 / torch.tensor([count]))
        theirs = torch.bucketize(torch.clamp(fractions, max=1.0 - 1e-6), boundaries, right=True)
        assert (positions_along(count, 70) == theirs.numpy()).all()
    assert (positions_along(50, 70) != np.arange(50) * 70 // 50).any()


def test_a_hairline_has_no_quarters():
    picture = Image.new("RGB", (1, 5000))
    whole, quarters = (NativeAspectRecipe.read({"do_image_splitting": cut}) for cut in (False, True))
    assert Ours(whole, 5, 0).prepare(picture, "").arrays["sizes"].tolist() == [[980, 378]]
    with pytest.raises(MediaError, match="quarters"):
        Ours(quarters, 5, 0).prepare(picture, "")
