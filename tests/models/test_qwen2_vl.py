"""What Qwen2-VL refuses, and the one thing its processor and its tower have to agree on."""

import json

import numpy as np
import pytest

from engine.api.errors import CheckpointError
from engine.loading.config import normalise
from engine.models.clips.plan import ClipFacts, ClipWish
from engine.models.families.qwen2_vl import FAMILY

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 99,
    "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
}
VISION = {"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2}
VISION_25 = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "out_hidden_size": 32, "num_heads": 2}


def config(model_type="qwen2_vl", text=None, **vision):
    parts = VISION if model_type == "qwen2_vl" else VISION_25
    return normalise(
        {"model_type": model_type, "vision_config": parts | vision, "image_token_id": 7, "video_token_id": 8}
        | TEXT
        | (text or {})
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_heads": 16}, "32 channels into 16 heads"),
        ({"model_type": "qwen2_5_vl", "window_size": 27}, "windows are smaller"),
        ({"text": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}}, "sliding window"),
        ({"text": {"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 4]}}}, r"\[2, 3, 4\]"),
        ({"text": {"rope_scaling": {"type": "yarn", "factor": 4.0, "mrope_section": [2, 3, 3]}}}, "yarn"),
    ],
)
def test_what_is_not_known_is_refused(changed, message):
    FAMILY.build(config())
    with pytest.raises(CheckpointError, match=message):
        FAMILY.build(config(**changed))


class FakeTokenizer:
    def convert_tokens_to_ids(self, tokens):
        return {"<|image_pad|>": 7, "<|video_pad|>": 8}[tokens]


def test_a_processor_is_there_without_a_file(tmp_path):
    assert FAMILY.processor(tmp_path, config(), FakeTokenizer()).slot_id == 7


def test_patches_that_the_tower_does_not_take_are_refused(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"patch_size": 16}))
    with pytest.raises(CheckpointError, match=r"\(2, 16, 2\).*\(2, 14, 2\)"):
        FAMILY.processor(tmp_path, config(), FakeTokenizer())


@pytest.mark.parametrize("said", [None, {"max_pixels": 28 * 28 * 16384, "image_mean": [0.0, 0.0, 0.0]}])
def test_clips_where_no_file_speaks_of_them(tmp_path, said):
    """Two frames a second, none larger than Qwen has them, in the values of the checkpoint's pictures."""
    if said is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    clips = FAMILY.clips(tmp_path, config(), FakeTokenizer())
    facts = ClipFacts(np.arange(300) / 30, (1080, 1920), 10.0)
    plan = clips.plan(facts, ClipWish())
    assert plan.indices == tuple(range(0, 300, 15))
    assert plan.size == (560, 1008)
    prepared = clips.prepare(np.zeros((20, *plan.size, 3), np.uint8), facts, plan, "")
    assert prepared.expansion == "<|video_pad|>" * (10 * 20 * 36)
    assert prepared.arrays["seconds_per_step"] == 1.0
    assert (prepared.arrays["pixel_values"].max() == 0) == (said is not None)
