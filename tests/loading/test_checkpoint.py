"""From folder to model: whole, lazily, layer by layer; and what is said about a folder that will not do."""

import logging

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.loading.checkpoint import materialise, prepare
from tests.loading.checkpoints import CPU, METAL, copy_of, edit_config, edit_weights

IDS = mx.array([[1, 5, 9]])


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        prepare(str(folder), folder, METAL)
    assert caught.value.hint
    return caught.value


def test_a_text_model_gives_mlx_lms_numbers(tiny_llama):
    checkpoint = prepare("org/tiny", tiny_llama, METAL)
    reference, _ = load_model(tiny_llama)
    assert mx.array_equal(checkpoint.model(IDS), reference(IDS))
    assert checkpoint.info.name == "tiny"
    assert checkpoint.info.model_type == "llama"
    assert checkpoint.info.modalities == {Modality.TEXT}
    assert checkpoint.info.context_length == 512
    assert checkpoint.info.device == "a GPU"
    assert checkpoint.info.note == ""
    assert checkpoint.weight_bytes == 4 * checkpoint.info.parameters
    assert checkpoint.processor is None


def test_answers_end_at_the_ids_of_the_files_and_of_the_tokenizer(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    (folder / "generation_config.json").write_text('{"eos_token_id": [7]}')
    checkpoint = prepare("tiny", folder, METAL)
    assert checkpoint.generation.eos_token_ids == {7, 256}
    assert checkpoint.tokenizer.eos_token_ids == {7, 256}


def test_nothing_is_said_on_the_way(tiny_llama, tmp_path, monkeypatch):
    """transformers would advise against a rope's original length above the context, and a type it does not know."""
    folder = copy_of(tiny_llama, tmp_path)
    rope = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    edit_config(folder, rope_scaling={**rope, "original_max_position_embeddings": 8192})
    said = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", said.append)
    monkeypatch.setattr(logging.getLogger("transformers"), "handlers", [handler])
    prepare("tiny", folder, METAL)
    assert said == []


def test_preparing_takes_no_memory(tiny_llama):
    prepare("warm", tiny_llama, METAL)
    mx.clear_cache()
    before = mx.get_active_memory()
    checkpoint = prepare("tiny", tiny_llama, METAL)
    assert mx.get_active_memory() - before < checkpoint.weight_bytes / 20


def test_weights_come_a_layer_at_a_time(tiny_llama):
    checkpoint = prepare("tiny", tiny_llama, METAL)
    steps = list(materialise(checkpoint))
    done = [done for done, _ in steps]
    assert done == sorted(done)
    assert len(steps) == 5, "embeddings, two layers, norm, head"
    assert steps[-1] == (checkpoint.weight_bytes, checkpoint.weight_bytes)


def test_the_peak_stays_near_the_weights_when_they_are_converted(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    weights = mx.load(str(folder / "model.safetensors"))
    mx.save_safetensors(
        str(folder / "model.safetensors"), {name: array.astype(mx.bfloat16) for name, array in weights.items()}
    )
    del weights
    checkpoint = prepare("tiny", folder, CPU)
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    for _ in materialise(checkpoint):
        pass
    assert mx.get_active_memory() - before <= checkpoint.weight_bytes * 1.02
    assert mx.get_peak_memory() - before <= checkpoint.weight_bytes * 1.5
    arrays = [array for _, array in tree_flatten(checkpoint.model.parameters())]
    assert {array.dtype for array in arrays} == {mx.float32}


def test_without_a_device_weights_are_what_they_are_on_the_disk(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    weights = mx.load(str(folder / "model.safetensors"))
    mx.save_safetensors(
        str(folder / "model.safetensors"), {name: array.astype(mx.bfloat16) for name, array in weights.items()}
    )
    described, loaded = (prepare(str(folder), folder, device).info for device in (None, CPU))
    assert (described.name, described.parameters) == (folder.name, loaded.parameters)
    assert described.weight_bytes == 2 * described.parameters == loaded.weight_bytes // 2
    assert (described.device, described.note) == ("", "")


def test_an_unknown_type_is_named(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    edit_config(folder, model_type="never_heard_of")
    error = refusal(folder)
    assert "never_heard_of" in error.message
    assert "known" in error.hint.lower()


def test_a_type_that_only_its_own_code_knows_is_refused_with_the_codes_name(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    edit_config(folder, model_type="never_heard_of", auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    (folder / "modeling_evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert "modeling_evil.Evil" in refusal(folder).message
    assert not (tmp_path / "ran").exists()


def test_a_known_type_loads_without_the_code_it_brings(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    edit_config(folder, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil", "AutoConfig": "modeling_evil.Config"})
    (folder / "modeling_evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    checkpoint = prepare("tiny", folder, METAL)
    assert "modeling_evil.Evil" in checkpoint.info.note
    assert not (tmp_path / "ran").exists()


def test_model_file_is_refused(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    edit_config(folder, model_file="evil.py")
    assert "evil.py" in refusal(folder).message


def test_a_missing_tensor_is_named_as_the_model_calls_it(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    edit_weights(folder, drop="model.layers.1.mlp.up_proj.weight")
    assert "no weight for language_model.model.layers.1.mlp.up_proj.weight" in refusal(folder).message


def test_a_missing_tensor_that_the_renaming_needs_is_named(tiny_llama, tmp_path, monkeypatch):
    def needs(_self, weights):
        return {"all": weights["model.experts.0.weight"]}

    monkeypatch.setattr("engine.models.families.text_only.TextOnly.sanitize", needs)
    assert "model.experts.0.weight" in refusal(copy_of(tiny_llama, tmp_path)).message


def test_an_extra_tensor_is_named(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    edit_weights(folder, model__layers__0__extra__weight=mx.ones((3,)))
    assert "language_model.model.layers.0.extra.weight" in refusal(folder).message


def test_a_tensor_of_another_shape_is_named(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    edit_weights(folder, model__norm__weight=mx.ones((31,)))
    assert "language_model.model.norm.weight is (31,), not (32,)" in refusal(folder).message


def test_a_folder_without_weights(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    (folder / "model.safetensors").unlink()
    assert "no weights" in refusal(folder).message


def test_a_config_without_its_numbers(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    edit_config(folder, num_attention_heads="many")
    with pytest.raises(CheckpointError, match="config of this llama"):
        prepare("tiny", folder, METAL)


def test_weights_that_vanish_between_check_and_reading(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    checkpoint = prepare("tiny", folder, METAL)
    path = folder / "model.safetensors"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(CheckpointError, match="weights of tiny cannot be read"):
        list(materialise(checkpoint))
