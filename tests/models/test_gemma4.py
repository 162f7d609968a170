"""What Gemma 4 refuses: settings that its decoder would pass over, and preprocessor files of another tower."""

import json

import pytest

from engine.api.errors import CheckpointError
from engine.loading.config import normalise
from engine.models.families.gemma4 import FAMILY

FULL, SLIDING = "full_attention", "sliding_attention"
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "layer_types": [SLIDING, FULL],
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "global_head_dim": 16,
    "vocab_size": 9,
    "hidden_size_per_layer_input": 0,
}
VISION = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "position_embedding_size": 3 * 560}


class Tokens:
    def convert_tokens_to_ids(self, token):
        return 258_880


def config(text=None, **vision):
    return normalise({"model_type": "gemma4", "text_config": TEXT | (text or {}), "vision_config": VISION | vision})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"text": {"attention_bias": True}}, "attention_bias"),
        ({"text": {"hidden_activation": "silu"}}, "silu"),
        ({"text": {"use_bidirectional_attention": "all"}}, "all"),
        ({"text": {"rope_parameters": {SLIDING: {"rope_type": "default"}, FULL: {"rope_type": "yarn"}}}}, "yarn"),
        ({"text": {"global_head_dim": 12}}, "heads of 12"),
        ({"head_dim": 6}, "heads of 6"),
    ],
)
def test_a_config_of_a_kind_not_known_is_refused(changed, message):
    with pytest.raises(CheckpointError, match=message):
        FAMILY.build(config(**changed))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"do_resize": False}, "not resized"),
        ({"max_soft_tokens": 100}, "100 features"),
        ({"patch_size": 14}, r"\(14, 3\).*\(16, 3\)"),
        ({"max_soft_tokens": 1120}, "1120 features is longer"),
    ],
)
def test_a_preprocessor_file_for_another_tower_is_refused(settings, message, tmp_path):
    for name, read in (
        ("preprocessor_config.json", FAMILY.processor),
        ("video_preprocessor_config.json", FAMILY.clips),
    ):
        (tmp_path / name).write_text(json.dumps(settings))
        with pytest.raises(CheckpointError, match=message):
            read(tmp_path, config(), Tokens())


def test_without_a_preprocessor_file_the_tower_decides(tmp_path):
    picture, clip = (read(tmp_path, config(patch_size=8), Tokens()) for read in (FAMILY.processor, FAMILY.clips))
    assert (picture.recipe.patch, picture.recipe.pool, picture.recipe.most) == (8, 3, 280)
    assert (clip.recipe.patch, clip.recipe.most, clip.sampling.number) == (8, 70, 32)
