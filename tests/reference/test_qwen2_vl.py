"""Qwen2-VL and Qwen2.5-VL against transformers."""

import itertools
from dataclasses import replace

import mlx.core as mx
import numpy as np
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

from engine.api.settings import CacheSettings, SamplingSettings
from engine.cache.features import FeatureCache
from engine.cache.prefix import PrefixCache
from engine.run.prompt import Prompt
from engine.run.runner import Runner
from engine.run.sampler import Sampler
from tests.reference import tiny
from tests.reference.clip_parity import ClipParity
from tests.reference.parity import NEW_TOKENS, Case, Pair, VisionParity
from tests.reference.spelling import Spelling

SPECIALS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")

SPELLINGS = (
    Spelling("transformers-5", ()),
    Spelling(
        "transformers-4",
        (("model.language_model.", "model."), ("model.visual.", "visual.")),
        old_config=True,
        flat_config=True,
    ),
    Spelling("transformers-4.52", (), old_config=True),
    Spelling(
        "mlx-community",
        (
            ("model.language_model.", "language_model.model."),
            ("model.visual.", "vision_tower."),
            ("lm_head.", "language_model.lm_head."),
        ),
        old_config=True,
        mlx_layout=True,
        flat_config=True,
    ),
)

TEXT = {key: value for key, value in tiny.TEXT.items() if key not in ("model_type", "head_dim")} | {
    "rope_parameters": {"rope_type": "default", "rope_theta": 777.0, "mrope_section": [1, 2, 3]}
}

VISION = {
    "depth": 3,
    "embed_dim": 48,
    "num_heads": 4,
    "mlp_ratio": 2,
    "hidden_size": TEXT["hidden_size"],
    "patch_size": 4,
}

VISION_25 = {
    "depth": 4,
    "hidden_size": 48,
    "intermediate_size": 40,
    "num_heads": 3,
    "out_hidden_size": TEXT["hidden_size"],
    "patch_size": 4,
    "window_size": 16,
    "fullatt_block_indexes": [1, 3],
}
"""Windows of two features a side, which do not go into the pictures' sides evenly."""


TOKENS = dict(zip(("vision_start", "vision_end", "image", "video"), SPECIALS, strict=True))


def tokens(tokenizer):
    return {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in TOKENS.items()}


def qwen2_vl(text_config=None, vision_config=None, **changes):
    return lambda tokenizer: Qwen2VLForConditionalGeneration(
        Qwen2VLConfig(**settings(tokenizer, text_config, VISION | (vision_config or {})), **changes)
    )


def qwen2_5_vl(text_config=None, vision_config=None, **changes):
    return lambda tokenizer: Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(**settings(tokenizer, text_config, VISION_25 | (vision_config or {})), **changes)
    )


def settings(tokenizer, text, vision):
    text = TEXT | {"vocab_size": len(tokenizer)} | (text or {})
    return {"text_config": text, "vision_config": vision} | tokens(tokenizer)


def processor(kind=Qwen2VLProcessor, pictures=None, clips=None, **cut):
    pictures = {"patch_size": 4, "size": {"shortest_edge": 16 * 16, "longest_edge": 40 * 40}} | (pictures or {}) | cut
    clips = {"patch_size": 4, "size": {"shortest_edge": 12 * 12, "longest_edge": 30 * 30}} | (clips or {}) | cut
    clips |= {"do_sample_frames": True, "fps": 2, "max_frames": 8}
    return lambda tokenizer: kind(
        Qwen2VLImageProcessorPil(**pictures), tokenizer, Qwen2VLVideoProcessor(**clips), chat_template=None
    )


SEEN = "<|vision_start|><|image_pad|><|vision_end|>"
WATCHED = "<|vision_start|><|video_pad|><|vision_end|>"

BASE = Case(
    "qwen2_vl",
    qwen2_vl(),
    SPECIALS,
    processor(),
    SPELLINGS,
    one=f"User:{SEEN}What is it?\nAssistant:",
    two=f"User:{SEEN}And {SEEN}this?\nAssistant:",
)


class Prompts(ClipParity):
    clip = f"User:{WATCHED}What happens?\nAssistant:"
    both = f"User:{SEEN}{WATCHED}What of{SEEN} this happens?\nAssistant:"


class TestQwen2VL(VisionParity, Prompts):
    case = BASE


class TestTied(VisionParity, Prompts):
    """Other ratios, blocks of three patches, pictures counted in the older way."""

    case = replace(
        BASE,
        name="qwen2_vl, tied head",
        model=qwen2_vl(
            {
                "num_attention_heads": 6,
                "num_key_value_heads": 3,
                "rope_parameters": {"rope_type": "default", "rope_theta": 99.0, "mrope_section": [1, 1, 2]},
            },
            {"spatial_merge_size": 3, "temporal_patch_size": 1, "hidden_act": "gelu", "num_heads": 2},
            tie_word_embeddings=True,
        ),
        processor=processor(
            pictures={"min_pixels": 30 * 30, "max_pixels": 50 * 50}, merge_size=3, temporal_patch_size=1
        ),
    )


class TestQwen25VL(VisionParity, Prompts):
    case = replace(BASE, name="qwen2_5_vl", model=qwen2_5_vl(), processor=processor(Qwen2_5_VLProcessor))


class TestEvenWindows(VisionParity, Prompts):
    """Pictures that windows cover without a rest, as all do where a window is one feature."""

    case = replace(
        BASE,
        name="qwen2_5_vl, even windows",
        model=qwen2_5_vl(None, {"window_size": 8, "num_heads": 2}, tie_word_embeddings=True),
        processor=processor(Qwen2_5_VLProcessor),
    )


def test_conversations_that_take_turns_do_not_mix(tmp_path):
    """Each has its own positions: while one prompt is half-way, others go on, and all answer as they would alone."""
    ours = Pair(BASE, tmp_path).ours
    asked = {
        "two": (BASE.two, [tiny.picture("landscape"), tiny.picture("portrait")]),
        "none": (BASE.text, []),
        "one": (BASE.one, [tiny.picture("strip")]),
    }
    runner = Runner(ours.model, CacheSettings(prefill_step_size=8), PrefixCache(0), FeatureCache(0))
    prompts = {}
    for name, (text, pictures) in asked.items():
        ids, media = ours.prompt(text, pictures)
        prompts[name] = Prompt(np.array(ids, np.int32), ours.slots(ids, media), tuple(media), text)
        runner.open(
            name, prompts[name], Sampler(SamplingSettings(temperature=0.0), mx.array(ids), seed=0, logprobs=False)
        )
    for _ in itertools.zip_longest(*(runner.prefill(name) for name in asked)):
        pass
    steps = [runner.decode(list(asked)) for _ in range(NEW_TOKENS)]
    for name, (text, pictures) in asked.items():
        assert [step[name][0].token_id for step in steps] == ours.greedy(text, pictures, NEW_TOKENS)
