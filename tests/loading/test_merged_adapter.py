"""An adapter beside a model's weights: added to them, or refused by name."""

import json
import shutil

import mlx.core as mx
import numpy as np
import pytest

from engine.api.errors import CheckpointError
from engine.loading.checkpoint import materialise, prepare

TARGET = "model.layers.1.self_attn.q_proj.weight"
NAME = "base_model.model.model.layers.1.self_attn.q_proj"


@pytest.fixture
def folder(tiny_llama, tmp_path):
    return shutil.copytree(tiny_llama, tmp_path / "model")


def adapt(folder, name=NAME, rank=4, shape=(32, 32), **settings):
    """Write an adapter; returns what it adds."""
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal(size).astype(np.float32) for size in ((rank, shape[1]), (shape[0], rank)))
    tensors = {f"{name}.lora_A.weight": mx.array(first), f"{name}.lora_B.weight": mx.array(second)}
    mx.save_safetensors(str(folder / "adapter_model.safetensors"), tensors)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 6, "bias": "none", "target_modules": ["q_proj"]} | settings
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return second @ first


def loaded(folder):
    checkpoint = prepare(str(folder), folder, None)
    list(materialise(checkpoint))
    return checkpoint.model


def query(model):
    return np.array(model.language_model.model.layers[1].self_attn.q_proj.weight)


def test_it_is_added_by_its_scale(folder):
    before = query(loaded(folder))
    addition = adapt(folder)
    assert np.abs(query(loaded(folder)) - (before + 1.5 * addition)).max() < 1e-5


def test_the_scale_of_rank_stabilised_adapters(folder):
    before = query(loaded(folder))
    addition = adapt(folder, use_rslora=True)
    assert np.abs(query(loaded(folder)) - (before + 3 * addition)).max() < 1e-5


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern"),
        ({"r": 0}, "r"),
    ],
)
def test_other_kinds_are_refused_by_name(folder, settings, word):
    adapt(folder, **settings)
    with pytest.raises(CheckpointError, match=word):
        prepare(str(folder), folder, None)


@pytest.mark.parametrize("changes", [{"name": NAME.replace("q_proj", "z_proj")}, {"shape": (32, 16)}])
def test_one_that_does_not_fit_is_refused_by_name(folder, changes):
    adapt(folder, **changes)
    with pytest.raises(CheckpointError, match="does not fit them: base_model"):
        prepare(str(folder), folder, None)
