"""HunyuanOCR against transformers."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from transformers import HunYuanVLConfig, HunYuanVLForConditionalGeneration
from transformers.models.hunyuan_vl.image_processing_pil_hunyuan_vl import HunYuanVLImageProcessorPil
from transformers.models.hunyuan_vl.processing_hunyuan_vl import HunYuanVLProcessor

from engine.api.errors import MediaError
from engine.models.families.hunyuan_vl import END, SLOT, START
from tests.reference import tiny
from tests.reference.parity import Case, Pair, VisionParity
from tests.reference.spelling import Spelling, kernels_last

TOKENS = {"image_start_token": START, "image_end_token": END, "image_token": SLOT, "pad_token": "<pad>"}

ROPE = {"rope_type": "dynamic", "rope_theta": 77.0, "alpha": 9.0, "factor": 1.0, "mrope_section": [1, 2, 1, 2]}

VISION = {key: value for key, value in tiny.VISION.items() if key != "image_size"} | {"max_image_size": 40}


def as_tencent_does(config):
    """`xdrope_section` instead of `mrope_section`, and other names for some settings."""
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    scaling = {"type": "xdrope", "alpha": rope["alpha"], "factor": 1.0, "xdrope_section": rope["mrope_section"]}
    other = {
        "attention_head_dim": text.pop("head_dim"),
        "org_vocab_size": text["vocab_size"],
        "model_type": "hunyuan_vl",
    }
    return config | text | {"rope_theta": rope["rope_theta"], "rope_scaling": scaling} | other


NAMES = (
    ("model.language_model.", "model."),
    ("model.vision_tower.patch_merger.", "vit.perceive."),
    ("model.vision_tower.", "vit."),
)

SPELLINGS = (
    Spelling("tencent's", NAMES, reword=as_tencent_does),
    Spelling(
        "mlx-community",
        (
            ("model.language_model.", "language_model.model."),
            ("model.vision_tower.patch_merger.", "vision_tower.perceive."),
            ("model.vision_tower.", "vision_tower."),
        ),
        reword=as_tencent_does,
        rework=kernels_last,
    ),
)


def hunyuan_vl(text_config=None, vision_config=None, **changes):
    def build(tokenizer):
        text = {key: value for key, value in tiny.TEXT.items() if key != "model_type"}
        return HunYuanVLForConditionalGeneration(
            HunYuanVLConfig(
                text_config=text | {"rope_parameters": ROPE, "vocab_size": len(tokenizer)} | (text_config or {}),
                vision_config=VISION | (vision_config or {}),
                image_token_id=tokenizer.convert_tokens_to_ids(SLOT),
                **changes,
            )
        )

    return build


def processor(**changes):
    pictures = {"patch_size": 8, "size": {"shortest_edge": 30 * 30, "longest_edge": 60 * 60}, "resample": 1} | changes

    def build(tokenizer):
        for name, token in TOKENS.items():
            setattr(tokenizer, name, token)
            if name != "pad_token":
                setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
        return HunYuanVLProcessor(HunYuanVLImageProcessorPil(**pictures), tokenizer)

    return build


SEEN = START + SLOT + END

BASE = Case(
    "hunyuan_vl",
    hunyuan_vl(),
    tuple(TOKENS.values()),
    processor(),
    SPELLINGS,
    one=f"{SEEN}Read it.\nAssistant:",
    two=f"{SEEN}And {SEEN}this.\nAssistant:",
)


class TestHunyuanVL(VisionParity):
    """Four axes, tied, as published."""

    case = BASE
    merge = 2

    def pixels_of(self, inputs):
        """In the order of blocks, where the reference has rows."""
        (_, rows, columns), merge = inputs["image_grid_thw"][0].tolist(), self.merge
        patches = inputs["pixel_values"].numpy().reshape(rows // merge, merge, columns // merge, merge, -1)
        return patches.swapaxes(1, 2).reshape(rows * columns, -1)


class TestThreeAxes(TestHunyuanVL):
    """A head of its own, biases in the decoder, no alpha, blocks of nine patches."""

    merge = 3
    case = replace(
        BASE,
        name="hunyuan_vl, three axes",
        model=hunyuan_vl(
            {
                "attention_bias": True,
                "num_key_value_heads": 4,
                "head_dim": 16,
                "rope_parameters": {"rope_type": "default", "rope_theta": 55.0, "mrope_section": [3, 3, 2]},
                "tie_word_embeddings": False,
            },
            {"spatial_merge_size": 3, "hidden_act": "gelu_pytorch_tanh", "num_attention_heads": 3},
            tie_word_embeddings=False,
        ),
        processor=processor(merge_size=3),
        spellings=(),
    )
    test_a_picture_in_every_spelling = None


def test_a_hairline_is_refused_and_a_dot_is_not(tmp_path):
    ours = Pair(BASE, tmp_path).ours
    with pytest.raises(MediaError):
        ours.logits(BASE.one, [Image.new("RGB", (5000, 1))])
    assert np.isfinite(ours.logits(BASE.one, [Image.new("RGB", (1, 1))])).all()
