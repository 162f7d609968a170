"""PaddleOCR-VL against transformers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import PaddleOCRVLConfig, PaddleOCRVLForConditionalGeneration
from transformers.models.paddleocr_vl.image_processing_pil_paddleocr_vl import (
    PaddleOCRVLImageProcessorPil,
    smart_resize,
)
from transformers.models.paddleocr_vl.processing_paddleocr_vl import PaddleOCRVLProcessor

from engine.api.errors import MediaError
from engine.models.families.paddleocr_vl import PageRecipe
from tests.reference import tiny
from tests.reference.parity import Case, Pair, VisionParity
from tests.reference.spelling import Spelling, kernels_last

SPECIALS = ("<|IMAGE_START|>", "<|IMAGE_END|>", "<|IMAGE_PLACEHOLDER|>", "<|video|>")

ROPE = {"rope_type": "default", "rope_theta": 777.0, "mrope_section": [1, 2, 3]}

WIDER = ROPE | {"mrope_section": [2, 2, 4]}

VISION = tiny.VISION | {"num_attention_heads": 3, "image_size": 40}


def with_the_unused(state):
    """What the reference leaves out of a checkpoint."""
    vision = "model.visual.vision_model."
    return state | {
        f"{vision}embeddings.packing_position_embedding.weight": torch.zeros(7, 36),
        f"{vision}head.probe": torch.zeros(1, 1, 36),
    }


def in_one(state):
    """A tower's queries, keys and values as mlx-community has them, and kernels with their channels last."""
    together = {}
    for name, tensor in kernels_last(state).items():
        if ".visual." in name and ".q_proj." in name:
            parts = [state[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"]
            together[name.replace(".q_proj.", ".qkv.")] = torch.cat(parts)
        elif ".visual." not in name or (".k_proj." not in name and ".v_proj." not in name):
            together[name] = tensor
    return together


SPELLINGS = (
    Spelling("transformers-5", ()),
    Spelling(
        "the authors'",
        (
            ("model.visual.", "visual."),
            ("model.projector.", "mlp_AR."),
            ("model.language_model.", "model."),
        ),
        old_config=True,
        flat_config=True,
        rework=with_the_unused,
        # As published: the name of the whole.
        reword=lambda config: config | {"vision_config": config["vision_config"] | {"model_type": "paddleocr_vl"}},
    ),
    Spelling(
        "mlx-community",
        (
            ("model.visual.vision_model.encoder.", "visual."),
            ("model.visual.vision_model.", "visual."),
            ("model.projector.", "visual.projector."),
            ("model.language_model.", "language_model.model."),
            ("lm_head.", "language_model.lm_head."),
        ),
        old_config=True,
        flat_config=True,
        rework=in_one,
    ),
)


def paddleocr_vl(text_config=None, vision_config=None, **changes):
    def build(tokenizer):
        text = {key: value for key, value in tiny.TEXT.items() if key != "model_type"}
        return PaddleOCRVLForConditionalGeneration(
            PaddleOCRVLConfig(
                text_config=text | {"rope_parameters": ROPE, "vocab_size": len(tokenizer)} | (text_config or {}),
                vision_config=VISION | (vision_config or {}),
                image_token_id=tokenizer.convert_tokens_to_ids("<|IMAGE_PLACEHOLDER|>"),
                video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
                **{"tie_word_embeddings": False} | changes,
            )
        )

    return build


def processor(**changes):
    pictures = {"patch_size": 8, "size": {"shortest_edge": 30 * 30, "longest_edge": 60 * 60}} | changes

    def build(tokenizer):
        tokenizer.image_token = "<|IMAGE_PLACEHOLDER|>"
        tokenizer.image_token_id = tokenizer.convert_tokens_to_ids("<|IMAGE_PLACEHOLDER|>")
        return PaddleOCRVLProcessor(PaddleOCRVLImageProcessorPil(**pictures), tokenizer)

    return build


SEEN = "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"

BASE = Case(
    "paddleocr_vl",
    paddleocr_vl(),
    SPECIALS,
    processor(),
    SPELLINGS,
    one=f"User: {SEEN}OCR:\nAssistant:\n",
    two=f"User: {SEEN}{SEEN}Table Recognition:\nAssistant:\n",
)


class TestPaddleOCRVL(VisionParity):
    case = BASE
    merge = 2

    def pixels_of(self, inputs):
        """In the order of blocks, where the reference has rows."""
        (_, rows, columns), merge = inputs["image_grid_thw"][0].tolist(), self.merge
        patches = inputs["pixel_values"].numpy().reshape(rows // merge, merge, columns // merge, merge, -1)
        return patches.swapaxes(1, 2).reshape(rows * columns, -1)


class TestTied(TestPaddleOCRVL):
    """Biases in the decoder, blocks of nine patches."""

    merge = 3
    case = replace(
        BASE,
        name="paddleocr_vl, tied head",
        model=paddleocr_vl(
            {
                "use_bias": True,
                "num_key_value_heads": 1,
                "head_dim": 16,
                "rope_parameters": ROPE | {"mrope_section": [2, 2, 4]},
            },
            {"spatial_merge_size": 3, "hidden_act": "gelu"},
            tie_word_embeddings=True,
        ),
        processor=processor(merge_size=3, min_pixels=30 * 30, max_pixels=80 * 80),
    )


def test_sizes_are_those_of_the_reference():
    recipe = PageRecipe.read({"size": {"shortest_edge": 384 * 384, "longest_edge": 1536 * 1536}})
    rng = np.random.default_rng(1)
    for height, width in [*rng.integers(1, 60, (300, 2)).tolist(), *rng.integers(60, 4000, (300, 2)).tolist()]:
        assert recipe.scaled_size((height, width)) == smart_resize(height, width)


def test_a_hairline_is_refused_and_a_dot_is_not(tmp_path):
    ours = Pair(BASE, tmp_path).ours
    with pytest.raises(MediaError):
        ours.logits(BASE.one, [Image.new("RGB", (5000, 1))])
    assert np.isfinite(ours.logits(BASE.one, [Image.new("RGB", (1, 1))])).all()
