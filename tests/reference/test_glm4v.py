"""GLM-4.1V, GLM-4.5V, GLM-4.6V and GLM-OCR against transformers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm4vMoeConfig,
    Glm4vMoeForConditionalGeneration,
    Glm46VConfig,
    Glm46VForConditionalGeneration,
    GlmOcrConfig,
    GlmOcrForConditionalGeneration,
)
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.glm4v.processing_glm4v import Glm4vProcessor
from transformers.models.glm4v.video_processing_glm4v import Glm4vVideoProcessor
from transformers.models.glm46v.image_processing_pil_glm46v import Glm46VImageProcessorPil
from transformers.models.glm46v.processing_glm46v import Glm46VProcessor
from transformers.models.glm46v.video_processing_glm46v import Glm46VVideoProcessor
from transformers.video_utils import VideoMetadata

from engine.api.errors import CheckpointError, MediaError
from engine.models.clips.plan import ClipFacts, ClipWish
from engine.models.clips.timed_sampling import AtRate, ByLength
from tests.reference import tiny
from tests.reference.clip_parity import CLIPS, ClipParity
from tests.reference.experts import one_by_one, stacked
from tests.reference.ours import Ours
from tests.reference.parity import Case, Pair, VisionParity
from tests.reference.running import RunnerParity
from tests.reference.spelling import Spelling

SPECIALS = (
    "<|image|>",
    "<|video|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
)

MLX = (
    ("model.language_model.", "language_model.model."),
    ("model.visual.", "vision_tower."),
    ("lm_head.", "language_model.lm_head."),
)

SPELLINGS = (
    Spelling("transformers-5", ()),
    Spelling("transformers-4", (), old_config=True),
    Spelling(
        "transformers-4.53",
        (("model.language_model.", "model."), ("model.visual.", "visual.")),
        old_config=True,
        flat_config=True,
    ),
    Spelling("mlx-community", MLX, old_config=True, mlx_layout=True),
)

TEXT = {key: value for key, value in tiny.TEXT.items() if key not in ("model_type", "head_dim")} | {
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 777.0,
        "partial_rotary_factor": 0.5,
        "mrope_section": [1, 1, 1],
    }
}

VISION = {
    "depth": 2,
    "hidden_size": 48,
    "num_heads": 4,
    "intermediate_size": 40,
    "out_hidden_size": TEXT["hidden_size"],
    "patch_size": 4,
    "image_size": 20,
}


def settings(tokenizer, text_config=None, vision_config=None, **changes):
    return {
        "text_config": TEXT | {"vocab_size": len(tokenizer)} | (text_config or {}),
        "vision_config": VISION | (vision_config or {}),
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image|>"),
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video|>"),
    } | changes


def built(model, config):
    return lambda **changes: lambda tokenizer: model(config(**settings(tokenizer, **changes)))


glm4v = built(Glm4vForConditionalGeneration, Glm4vConfig)
glm46v = built(Glm46VForConditionalGeneration, Glm46VConfig)
glm4v_moe = built(Glm4vMoeForConditionalGeneration, Glm4vMoeConfig)
glm_ocr = built(GlmOcrForConditionalGeneration, GlmOcrConfig)

OLDER = (Glm4vProcessor, Glm4vImageProcessorPil, Glm4vVideoProcessor)
NEWER = (Glm46VProcessor, Glm46VImageProcessorPil, Glm46VVideoProcessor)


def processor(kinds=OLDER, **changes):
    cut = {"patch_size": 4, "size": {"shortest_edge": 2 * 16 * 16, "longest_edge": 2 * 40 * 40}} | changes
    joined, pictures, clips = kinds
    return lambda tokenizer: joined(pictures(**cut), tokenizer, clips(**cut))


WATCHED = "<|begin_of_video|><|video|><|end_of_video|>"
SEEN = "<|begin_of_image|><|image|><|end_of_image|>"

BASE = Case(
    "glm4v",
    glm4v(),
    SPECIALS,
    processor(),
    SPELLINGS,
    one=f"User:{SEEN}What is it?\nAssistant:",
    two=f"User:{SEEN}And {SEEN}this?\nAssistant:",
)


LAYER = "model.language_model.layers.{}."


class Prompts(ClipParity):
    clip = f"User:{WATCHED}What happens?\nAssistant:"
    both = f"User:{WATCHED}And{WATCHED}What happens?\nAssistant:"

    def test_a_clip_between_pictures(self, clip_pair, row):
        """Two clips: the reference takes clips or pictures, but not both in one prompt."""
        media = [CLIPS["odd"], CLIPS["long"]]
        self.hold(row, clip_pair.ours.logits(self.both, media), clip_pair.logits(self.both, media))


class TestGlm4V(VisionParity, RunnerParity, Prompts):
    case = BASE


class TestTied(VisionParity, Prompts):
    """Other ratios, all of each head turned, blocks of three patches, biases in the tower."""

    case = replace(
        BASE,
        name="glm4v, tied head",
        model=glm4v(
            text_config={
                "num_attention_heads": 6,
                "num_key_value_heads": 1,
                "rope_parameters": {"rope_type": "default", "rope_theta": 99.0, "mrope_section": [1, 2, 1]},
            },
            vision_config={
                "spatial_merge_size": 3,
                "temporal_patch_size": 1,
                "attention_bias": True,
                "num_heads": 2,
                "hidden_act": "gelu",
                "rms_norm_eps": 1e-3,
            },
            tie_word_embeddings=True,
        ),
        processor=processor(merge_size=3, temporal_patch_size=1),
    )


class TestGlm46V(VisionParity, Prompts):
    case = replace(
        BASE,
        name="glm46v",
        model=glm46v(),
        processor=processor(NEWER),
    )


EXPERTS = {
    "num_hidden_layers": 3,
    "head_dim": 16,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_group": 4,
    "topk_group": 2,
    "moe_intermediate_size": 20,
    "routed_scaling_factor": 1.5,
    "rope_parameters": TEXT["rope_parameters"] | {"mrope_section": [2, 1, 1]},
}


class TestGlm4VMoe(VisionParity, Prompts):
    case = replace(
        BASE,
        name="glm4v_moe",
        model=glm4v_moe(text_config=EXPERTS),
        spellings=tuple(
            replace(each, rework=rework)
            for each, rework in zip(
                (SPELLINGS[0], SPELLINGS[1], SPELLINGS[3]), (None, one_by_one, stacked), strict=True
            )
        ),
        processor=processor(NEWER),
    )


class TestGlmOcr(VisionParity, Prompts):
    """All of each head turned, which is wider than the embeddings would have it."""

    case = replace(
        BASE,
        name="glm_ocr",
        model=glm_ocr(
            text_config={
                "head_dim": 16,
                "rope_parameters": {"rope_type": "default", "rope_theta": 777.0, "mrope_section": [2, 3, 3]},
            },
            vision_config={"intermediate_size": 44, "out_hidden_size": TEXT["hidden_size"]},
        ),
        processor=processor(NEWER),
    )


def test_a_layer_that_guesses_tokens_ahead_is_left_out(tmp_path):
    pair = Pair(TestGlmOcr.case, tmp_path)
    ahead = Spelling(
        "ahead", (), rework=lambda state: {**state, f"{LAYER.format(2)}eh_proj.weight": torch.zeros(48, 96)}
    )
    assert pair.respelt(ahead).greedy("Hello", [], 3) == pair.greedy("Hello", [])[:3]
    further = replace(ahead, name="further", rework=lambda state: {**state, f"{LAYER.format(3)}x": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"layers\.3\.x"):
        pair.respelt(further)


def test_files_that_do_not_belong_together(tmp_path):
    """A preprocessor file is not needed, but if it is there it has to cut the tower's patches."""
    pair = Pair(BASE, tmp_path)
    (pair.folder / "preprocessor_config.json").write_text('{"patch_size": 7}')
    with pytest.raises(CheckpointError, match=r"\(2, 7, 2\), the tower takes \(2, 4, 2\)"):
        Ours(pair.folder)
    (pair.folder / "preprocessor_config.json").unlink()
    assert Ours(pair.folder).processor.prepare(tiny.picture("square"), "").feature_count == 10**2


def test_pictures_that_are_too_narrow_or_too_small(tmp_path):
    processor = Pair(BASE, tmp_path).ours.processor
    with pytest.raises(MediaError, match="longer than 200 times"):
        processor.prepare(Image.new("RGB", (5000, 1)), "")
    assert processor.prepare(Image.new("RGB", (3, 2)), "").feature_count == 2 * 3


@pytest.mark.parametrize("count", [1, 2, 10, 333, 5400, 80000])
@pytest.mark.parametrize("rate", [7.3, 24.0, 29.97])
@pytest.mark.parametrize("settings", [{}, {"fps": 0.7, "max_duration": 40}])
def test_which_frames_are_chosen(settings, rate, count):
    facts = ClipFacts(np.arange(count) / rate, (9, 9), count / rate)
    metadata = VideoMetadata(total_num_frames=count, fps=facts.fps, duration=facts.duration)
    older, newer = Glm4vVideoProcessor(**settings), Glm46VVideoProcessor(**settings)
    assert AtRate.read(settings)(facts, ClipWish()) == older.sample_frames(metadata).tolist()
    assert ByLength(2)(facts, ClipWish()) == (newer.sample_frames(metadata).tolist() or [0, 0])


def test_a_person_may_ask_for_other_frames():
    facts = ClipFacts(np.arange(100) / 10, (9, 9), 10.0)
    for choose in (AtRate(2, 300), ByLength(2)):
        assert len(choose(facts, ClipWish(fps=1))) == 10
        assert len(choose(facts, ClipWish(fps=5, max_frames=7))) == 6
        assert choose(facts, ClipWish(max_frames=1)) == [0, 0]
