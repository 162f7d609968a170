"""When an answer ends and how its tokens are drawn, from a checkpoint's files."""

import json
from dataclasses import replace

import pytest

from engine.api.errors import CheckpointError
from engine.loading.generation import generation_defaults


def folder_with(tmp_path, **written):
    (tmp_path / "generation_config.json").write_text(json.dumps(written))
    return tmp_path


def test_the_generation_config_decides_when_there_is_one(tmp_path):
    defaults = generation_defaults(folder_with(tmp_path, eos_token_id=[7, 9]), {"eos_token_id": 3})
    assert defaults.eos_token_ids == {7, 9}


def test_otherwise_the_config_and_then_its_text_config(tmp_path):
    assert generation_defaults(tmp_path, {"eos_token_id": 3}).eos_token_ids == {3}
    assert generation_defaults(tmp_path, {"text_config": {"eos_token_id": [4]}}).eos_token_ids == {4}
    assert generation_defaults(tmp_path, {}).eos_token_ids == frozenset()


def test_temperature_only_counts_when_the_model_is_meant_to_be_sampled(tmp_path):
    written = {"temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1}
    drawn = generation_defaults(folder_with(tmp_path, do_sample=True, **written), {}).sampling
    assert (drawn.temperature, drawn.top_p, drawn.top_k, drawn.min_p) == (0.6, 0.9, 20, 0.1)
    greedy = generation_defaults(folder_with(tmp_path, **written, no_repeat_ngram_size=4), {}).sampling
    assert greedy.temperature is None
    assert greedy.top_p is None
    assert (greedy.repetition_penalty, greedy.no_repeat_ngram_size) == (1.1, 4)


def test_max_new_tokens(tmp_path):
    assert generation_defaults(folder_with(tmp_path, max_new_tokens=12), {}).max_new_tokens == 12


def test_a_torn_file_is_named(tmp_path):
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        generation_defaults(tmp_path, {})


def test_settings_of_an_adapter_hold_only_under_it_and_leave_the_others(tmp_path):
    picture = {"no_repeat_ngram_size": 4}
    folder = folder_with(tmp_path, do_sample=True, top_p=0.8, adapters={"picture": picture})
    defaults = generation_defaults(folder, {})
    assert defaults.under("picture") == replace(defaults.sampling, no_repeat_ngram_size=4)
    assert defaults.under(None) == defaults.under("other") == defaults.sampling


@pytest.mark.parametrize("written", [{"repetition_penalty": -1}, {"repetition_penalty": "high"}, {"adapters": 3}])
def test_a_setting_that_cannot_be_used_is_the_checkpoints_fault(tmp_path, written):
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        generation_defaults(folder_with(tmp_path, **written), {})
