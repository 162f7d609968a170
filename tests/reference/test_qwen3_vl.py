"""Qwen3-VL, dense and with experts, against transformers: pictures and clips."""

from dataclasses import replace

import pytest
from transformers import (
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from engine.api.errors import CheckpointError
from tests.reference import tiny
from tests.reference.clip_parity import ClipParity
from tests.reference.experts import stacked, transposed
from tests.reference.parity import Case, Pair, VisionParity
from tests.reference.running import RunnerParity
from tests.reference.spelling import Spelling

SPECIALS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TOKENS = dict(zip(("vision_start", "vision_end", "image", "video"), SPECIALS, strict=True))

SPELLINGS = (
    Spelling("transformers-5", ()),
    Spelling("transformers-4", (), old_config=True),
    Spelling(
        "mlx-community",
        (
            ("model.language_model.", "language_model.model."),
            ("model.visual.", "vision_tower."),
            ("lm_head.", "language_model.lm_head."),
        ),
        old_config=True,
        mlx_layout=True,
    ),
)


REWORKED = (None, transposed, stacked)

TEXT = {key: value for key, value in tiny.TEXT.items() if key != "model_type"} | {
    "num_hidden_layers": 3,
    "rope_parameters": {"rope_type": "default", "rope_theta": 777.0, "mrope_section": [2, 2, 2]},
}

EXPERTS = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "mlp_only_layers": [1]}

VISION = {
    "depth": 4,
    "hidden_size": 48,
    "intermediate_size": 56,
    "num_heads": 4,
    "out_hidden_size": TEXT["hidden_size"],
    "patch_size": 4,
    "num_position_embeddings": 36,
    "deepstack_visual_indexes": [0, 2],
}


def tokens(tokenizer):
    return {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in TOKENS.items()}


def model(kind, config, text=None, vision=None, **changes):
    def build(tokenizer):
        parts = {"text_config": TEXT | {"vocab_size": len(tokenizer)} | (text or {})}
        parts["vision_config"] = VISION | (vision or {})
        return kind(config(**parts, **tokens(tokenizer), **changes))

    return build


def processor(tokenizer, **cut):
    pictures = {"patch_size": 4, "size": {"shortest_edge": 16 * 16, "longest_edge": 40 * 40}} | cut
    clips = {"patch_size": 4, "size": {"shortest_edge": 16 * 16, "longest_edge": 8 * 30 * 30}, "max_frames": 8} | cut
    return Qwen3VLProcessor(Qwen2VLImageProcessorPil(**pictures), tokenizer, Qwen3VLVideoProcessor(**clips))


SEEN = "<|vision_start|><|image_pad|><|vision_end|>"
WATCHED = "<|vision_start|><|video_pad|><|vision_end|>"

BASE = Case(
    "qwen3_vl",
    model(Qwen3VLForConditionalGeneration, Qwen3VLConfig),
    SPECIALS,
    processor,
    SPELLINGS,
    one=f"User:{SEEN}What is it?\nAssistant:",
    two=f"User:{SEEN}And {SEEN}this?\nAssistant:",
)


class Prompts(ClipParity):
    clip = f"User:{WATCHED}What happens?\nAssistant:"
    both = f"User:{SEEN}{WATCHED}What of{SEEN} this happens?\nAssistant:"


class TestQwen3VL(VisionParity, RunnerParity, Prompts):
    case = BASE


class TestTied(VisionParity, Prompts):
    """Other ratios, blocks of three patches, as many deep features as the decoder has layers, in another order."""

    case = replace(
        BASE,
        name="qwen3_vl, tied head",
        model=model(
            Qwen3VLForConditionalGeneration,
            Qwen3VLConfig,
            {
                "num_attention_heads": 6,
                "num_key_value_heads": 3,
                "head_dim": 14,
                "rope_parameters": {"rope_type": "default", "rope_theta": 99.0, "mrope_section": [3, 2, 2]},
            },
            {"spatial_merge_size": 3, "temporal_patch_size": 1, "deepstack_visual_indexes": [2, 0, 3], "num_heads": 2},
            tie_word_embeddings=True,
        ),
        processor=lambda tokenizer: processor(tokenizer, merge_size=3, temporal_patch_size=1),
    )


class TestExperts(VisionParity, Prompts):
    # MLX's CPU back end multiplies by chosen experts in float32 alone.
    test_bfloat16_is_as_near_as_the_references = None

    case = replace(
        BASE,
        name="qwen3_vl_moe",
        model=model(Qwen3VLMoeForConditionalGeneration, Qwen3VLMoeConfig, EXPERTS, tie_word_embeddings=False),
        spellings=tuple(replace(each, rework=rework) for each, rework in zip(SPELLINGS, REWORKED, strict=True)),
    )


def test_more_deep_features_than_layers_are_refused(tmp_path):
    case = replace(BASE, model=model(Qwen3VLForConditionalGeneration, Qwen3VLConfig, {"num_hidden_layers": 1}))
    with pytest.raises(CheckpointError, match=r"layers \[0, 1\], the decoder has 1"):
        Pair(case, tmp_path)
