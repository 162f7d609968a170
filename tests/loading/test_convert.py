"""Converting: what is written where, what it is worth when it is loaded, and that nothing half-written stays."""

import errno
import json
import sys
from types import SimpleNamespace

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx.utils import tree_flatten
from mlx_lm.convert import mixed_quant_predicate_builder
from mlx_lm.utils import load_model, quantize_model

from engine.api.conversion import ConvertModel, FloatType
from engine.api.errors import CheckpointError, DiskError, EngineError, InternalError, RequestError
from engine.api.quantization import PackingMode, Quantization, Recipe
from engine.loading import convert_files
from engine.loading.checkpoint import materialise, prepare
from engine.loading.convert import plan_conversion
from engine.loading.convert_files import check_target, write
from engine.loading.safetensors import read_header
from engine.loading.tiny import write_tiny_llama
from tests.loading.checkpoints import METAL, copy_of, edit_config, edit_weights

IDS = mx.array([[1, 5, 9, 200, 3, 3, 77]])
BY_32 = Quantization.of(group_size=32)


def convert(source, target, quantization=None, **options):
    conversion = plan_conversion(source, ConvertModel(str(source), target, quantization, **options))
    steps = list(write(conversion, target))
    assert steps[-1][0] == steps[-1][1] == sum(read_sizes(target).values())
    return conversion


def read_sizes(folder):
    entries = read_header(folder / "model.safetensors")
    return {name: entry.end - entry.begin for name, entry in entries.items()}


def config(folder):
    return json.loads((folder / "config.json").read_text())


def loaded(folder):
    checkpoint = prepare(str(folder), folder, METAL)
    list(materialise(checkpoint))
    return checkpoint


def packed_layers(module):
    return {path: (layer.bits, layer.mode) for path, layer in module.named_modules() if hasattr(layer, "bits")}


@pytest.mark.parametrize(
    "quantization",
    [BY_32, Quantization.of(bits=8, group_size=32), *(Quantization.of(mode) for mode in list(PackingMode)[1:])],
    ids=lambda quantization: f"{quantization.mode.value}-{quantization.bits}",
)
def test_a_text_model_becomes_what_mlx_lm_makes_of_it(tiny_llama, tmp_path, quantization):
    convert(tiny_llama, tmp_path / "out", quantization)
    packing = {"group_size": quantization.group_size, "bits": quantization.bits, "mode": quantization.mode.value}
    reference, wanted = quantize_model(*load_model(tiny_llama), **packing)
    again, _ = load_model(tmp_path / "out")
    assert mx.array_equal(again(IDS), reference(IDS))
    assert mx.array_equal(loaded(tmp_path / "out").model(IDS), reference(IDS))
    block = {key: wanted["quantization"][key] for key in ("group_size", "bits", "mode")}
    assert config(tmp_path / "out") == {**config(tiny_llama), "quantization": block, "quantization_config": block}


def test_a_recipe_is_mlx_lms(tmp_path):
    source = write_tiny_llama(tmp_path / "source")
    convert(source, tmp_path / "out", Quantization.of(group_size=32, recipe=Recipe.MIXED_3_6))
    model, raw = load_model(source)
    predicate = mixed_quant_predicate_builder("mixed_3_6", model, 32)
    reference, _ = quantize_model(model, raw, 32, 3, quant_predicate=predicate)
    ours = loaded(tmp_path / "out").model
    assert packed_layers(ours.language_model) == packed_layers(reference)
    assert {bits for bits, _ in packed_layers(reference).values()} == {3, 6}
    assert mx.array_equal(ours(IDS), reference(IDS))
    assert mx.array_equal(load_model(tmp_path / "out")[0](IDS), reference(IDS))


def test_towers_stay_as_they_are_and_the_config_says_so(tiny_smolvlm, tmp_path):
    convert(tiny_smolvlm, tmp_path / "out", BY_32)
    before, after = (mx.load(str(folder / "model.safetensors")) for folder in (tiny_smolvlm, tmp_path / "out"))
    tower = [name for name in before if not name.startswith("language_model.")]
    assert tower
    assert all(mx.array_equal(before[name], after[name]) for name in tower)
    block = config(tmp_path / "out")["quantization"]
    assert block["vision_model.encoder.layers.1.mlp.fc2"] is block["connector.modality_projection.proj"] is False
    layers = packed_layers(loaded(tmp_path / "out").model)
    assert layers
    assert all(path.startswith("language_model.") for path in layers)


def test_the_same_again_is_the_same(tiny_smolvlm, tmp_path):
    convert(tiny_smolvlm, tmp_path / "out")
    before, after = (mx.load(str(folder / "model.safetensors")) for folder in (tiny_smolvlm, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(mx.array_equal(before[name], after[name]) for name in before)
    assert config(tmp_path / "out") == config(tiny_smolvlm)


@pytest.mark.parametrize("mode", list(PackingMode))
def test_dequantising_gives_the_weights_that_the_packed_ones_stand_for(tiny_smolvlm, tmp_path, mode):
    quantization = Quantization.of(mode, group_size=32 if mode is PackingMode.AFFINE else None)
    convert(tiny_smolvlm, tmp_path / "packed", quantization, float_type=FloatType.FLOAT32)
    convert(tmp_path / "packed", tmp_path / "plain", dequantize=True)
    assert "quantization" not in config(tmp_path / "plain")
    assert "quantization_config" not in config(tmp_path / "plain")
    plain, packed = (loaded(tmp_path / name).model for name in ("plain", "packed"))
    assert packed_layers(plain) == {}
    assert read_sizes(tmp_path / "plain") == read_sizes(tiny_smolvlm)
    difference = mx.abs(plain(IDS) - packed(IDS)).max() / mx.abs(packed(IDS)).max()
    # MLX looks an embedding that is packed another way than affine up as bfloat16.
    assert difference < (1e-5 if mode is PackingMode.AFFINE else 1e-2)


def test_float_types(tiny_smolvlm, tmp_path):
    convert(tiny_smolvlm, tmp_path / "half", float_type=FloatType.BFLOAT16)
    arrays = [array for _, array in tree_flatten(loaded(tmp_path / "half").model.parameters())]
    assert {array.dtype for array in arrays} == {mx.bfloat16}
    assert config(tmp_path / "half")["torch_dtype"] == "bfloat16"
    convert(tmp_path / "half", tmp_path / "packed", BY_32)
    written = mx.load(str(tmp_path / "packed" / "model.safetensors"))
    scales = {array.dtype for name, array in written.items() if name.endswith("scales")}
    assert scales == {mx.bfloat16}, "as the config says, unless told otherwise"


def test_layers_that_groups_do_not_fill_stay_plain_and_are_named(tiny_llama, tmp_path):
    conversion = convert(tiny_llama, tmp_path / "out", Quantization.of())
    (note,) = conversion.notes
    assert "no multiple of 64" in note
    assert "lm_head" in note
    assert config(tmp_path / "out")["quantization"]["model.layers.0.self_attn.q_proj"] is False
    decoder = loaded(tmp_path / "out").model.language_model
    assert packed_layers(decoder).keys() == {f"model.layers.{number}.mlp.down_proj" for number in (0, 1)}
    assert packed_layers(load_model(tmp_path / "out")[0]) == packed_layers(decoder)


def test_what_a_model_wants_of_its_own_layers_is_heeded(tiny_llama, tmp_path, monkeypatch):
    from mlx_lm.models.llama import Model

    def predicate(path, module):
        return {"group_size": 32, "bits": 8} if "lm_head" in path else not path.endswith("v_proj")

    monkeypatch.setattr(Model, "quant_predicate", staticmethod(predicate), raising=False)
    convert(tiny_llama, tmp_path / "out", Quantization.of(PackingMode.MXFP4))
    layers = packed_layers(loaded(tmp_path / "out").model.language_model)
    assert "model.layers.0.self_attn.v_proj" not in layers
    assert layers["lm_head"] == (8, "affine")
    assert layers["model.layers.0.self_attn.q_proj"] == (4, "mxfp4")


def test_a_head_that_differs_from_what_it_is_tied_to_is_kept(tiny_llama, tmp_path):
    source = copy_of(tiny_llama, tmp_path)
    edit_config(source, tie_word_embeddings=True)
    convert(source, tmp_path / "out", BY_32)
    assert config(tmp_path / "out")["tie_word_embeddings"] is False
    assert "lm_head" in packed_layers(load_model(tmp_path / "out")[0])


def test_a_head_that_is_tied_is_not_written_twice(tiny_llama, tmp_path):
    source = copy_of(tiny_llama, tmp_path)
    edit_config(source, tie_word_embeddings=True)
    edit_weights(source, lm_head__weight=mx.load(str(source / "model.safetensors"))["model.embed_tokens.weight"])
    convert(source, tmp_path / "out", BY_32)
    assert not [name for name in read_sizes(tmp_path / "out") if "lm_head" in name]
    assert isinstance(loaded(tmp_path / "out").model.language_model.model.embed_tokens, nn.QuantizedEmbedding)


def test_rotary_settings_get_the_names_that_other_programs_read(tiny_smolvlm, tmp_path):
    source = copy_of(tiny_smolvlm, tmp_path)
    text = {key: value for key, value in config(source)["text_config"].items() if key != "rope_theta"}
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 777.0}
    edit_config(source, text_config=text | {"rope_parameters": rope})
    convert(source, tmp_path / "out")
    written = config(tmp_path / "out")["text_config"]
    assert written["rope_parameters"] == rope
    assert written["rope_theta"] == 777.0
    assert written["rope_scaling"]["factor"] == 2.0
    assert mx.array_equal(loaded(source).model(IDS), loaded(tmp_path / "out").model(IDS))


def test_everything_else_comes_along_and_other_weights_do_not(tiny_smolvlm, tmp_path):
    source = copy_of(tiny_smolvlm, tmp_path)
    for name in ("LICENSE", "chat_template.jinja", "pytorch_model.bin", ".gitattributes"):
        (source / name).write_text(name)
    (source / "pytorch_model.bin.index.json").write_text("{}")
    (source / "additional_chat_templates").mkdir()
    (source / "additional_chat_templates" / "rag.jinja").write_text("rag")
    convert(source, tmp_path / "out")
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {
        "LICENSE",
        "additional_chat_templates/rag.jinja",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert (tmp_path / "out" / "LICENSE").read_text() == "LICENSE"


def test_an_empty_folder_is_a_place_and_one_that_is_not_is_none(tiny_llama, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    check_target(empty)
    convert(tiny_llama, empty)
    with pytest.raises(RequestError, match="not empty"):
        check_target(empty)
    with pytest.raises(RequestError, match="is a file"):
        check_target(empty / "config.json")


def refusal(source, kind, **options):
    with pytest.raises(kind) as caught:
        plan_conversion(source, ConvertModel("that model", source / "out", **options))
    assert caught.value.hint
    return caught.value.message


def test_what_is_packed_is_not_packed_again_and_what_is_plain_not_unpacked(tiny_llama, tmp_path):
    convert(tiny_llama, tmp_path / "out", BY_32)
    assert "quantised already" in refusal(tmp_path / "out", RequestError, quantization=BY_32)
    assert "is not quantised" in refusal(tiny_llama, RequestError, dequantize=True)


def test_a_model_that_could_not_be_loaded_is_refused(tiny_llama, tmp_path):
    assert "has no config.json" in refusal(tmp_path, CheckpointError)


def test_tensors_that_would_change_each_time_they_are_read_are_refused(tiny_llama, monkeypatch):
    def raised(_self, weights):
        raises = {name: array + 1 if "norm" in name else array for name, array in weights.items()}
        return {f"language_model.{name}": array for name, array in raises.items()}

    monkeypatch.setattr("engine.models.families.text_only.TextOnly.sanitize", raised)
    assert "norm.weight" in refusal(tiny_llama, CheckpointError)


def test_a_recipe_for_other_layers_is_refused(tiny_llama, tmp_path, monkeypatch):
    def unknown(*_):
        raise ValueError("Model does not have expected keys for mixed quant.")

    monkeypatch.setattr(sys.modules["mlx_lm.convert"], "mixed_quant_predicate_builder", unknown)
    recipe = Quantization.of(recipe=Recipe.MIXED_2_6)
    assert "mixed_2_6" in refusal(tiny_llama, RequestError, quantization=recipe)


def failure(tiny_llama, place, kind):
    """A conversion that fails; nothing of it may be left."""
    conversion = plan_conversion(tiny_llama, ConvertModel("tiny", place / "deep" / "out", BY_32))
    with pytest.raises(kind) as caught:
        list(write(conversion, place / "deep" / "out"))
    assert list((place / "deep").iterdir()) == []
    assert caught.value.hint
    return caught.value.message


def test_a_disk_without_room_is_refused_first(tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setattr(convert_files.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert "1.0 kB are free" in failure(tiny_llama, tmp_path, DiskError)


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "filled up"), (errno.EACCES, "cannot be written")])
def test_a_disk_that_fails_on_the_way(tiny_llama, tmp_path, monkeypatch, number, words):
    def fail(*_):
        raise OSError(number, "it failed")

    monkeypatch.setattr(convert_files.shutil, "copyfile", fail)
    assert words in failure(tiny_llama, tmp_path, DiskError)


def test_a_source_that_breaks_on_the_way(tiny_llama, tmp_path):
    source = copy_of(tiny_llama, tmp_path)
    conversion = plan_conversion(source, ConvertModel("tiny", tmp_path / "out"))
    path = source / "model.safetensors"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(CheckpointError, match="cannot be read"):
        list(write(conversion, tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_could_not_be_loaded_again_is_not_kept(tiny_llama, tmp_path, monkeypatch):
    def wrong(*_):
        raise CheckpointError("It has no head.")

    monkeypatch.setattr(convert_files, "prepare", wrong)
    assert "It has no head." in failure(tiny_llama, tmp_path, InternalError)


def test_stopped_half_way_nothing_stays(tiny_llama, tmp_path):
    conversion = plan_conversion(tiny_llama, ConvertModel("tiny", tmp_path / "out"))
    steps = write(conversion, tmp_path / "out")
    next(steps)
    assert [path.name.startswith(".out-") for path in tmp_path.iterdir()] == [True]
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_one_tensor_at_a_time_is_in_memory(tiny_llama, tmp_path):
    convert(tiny_llama, tmp_path / "warm", BY_32)
    conversion = plan_conversion(tiny_llama, ConvertModel("tiny", tmp_path / "out", BY_32))
    largest = max(entry.end - entry.begin for entry in read_header(tiny_llama / "model.safetensors").values())
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    for _ in write(conversion, tmp_path / "out"):
        assert mx.get_active_memory() - before < largest
    assert mx.get_peak_memory() - before < 3 * largest < conversion_bytes(tiny_llama)


def conversion_bytes(folder):
    return sum(read_sizes(folder).values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"bits": 7},
        {"group_size": 16},
        {"mode": PackingMode.MXFP4, "bits": 8},
        {"mode": PackingMode.NVFP4, "group_size": 32},
        {"mode": PackingMode.MXFP8, "recipe": Recipe.MIXED_2_6},
        {"bits": 4, "recipe": Recipe.MIXED_2_6},
    ],
)
def test_combinations_that_do_not_exist(wrong):
    with pytest.raises(EngineError) as caught:
        Quantization.of(**wrong)
    assert caught.value.hint


def test_packing_and_unpacking_at_once(tmp_path):
    with pytest.raises(RequestError):
        ConvertModel("tiny", tmp_path, BY_32, dequantize=True)
