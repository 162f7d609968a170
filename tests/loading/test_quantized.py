"""Quantised checkpoints, written by mlx-lm, load into the numbers that mlx-lm computes with them."""

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx_lm.utils import load_model, quantize_model, save_config, save_model

from engine.api.errors import CheckpointError
from engine.loading.checkpoint import materialise, prepare
from engine.loading.quantize import describe_quantization, packings, quantization_of, renames
from tests.loading.checkpoints import CPU, METAL, copy_of, edit_config

IDS = mx.array([[1, 5, 9, 200, 3, 3, 77]])

AFFINE4 = {"group_size": 32, "bits": 4, "mode": "affine"}
AFFINE8 = {"group_size": 32, "bits": 8, "mode": "affine"}
MXFP4 = {"group_size": 32, "bits": 4, "mode": "mxfp4"}
MXFP8 = {"group_size": 32, "bits": 8, "mode": "mxfp8"}
NVFP4 = {"group_size": 16, "bits": 4, "mode": "nvfp4"}


def mixed(path, _module):
    """Single layers differ in bits, in mode, or are left alone."""
    if path == "lm_head":
        return False
    if path.endswith("down_proj"):
        return AFFINE8
    return MXFP4 if path.endswith("layers.1.self_attn.v_proj") else True


def quantized(source, place, packing, predicate=None, dtype=mx.float32):
    """A checkpoint as `mlx_lm.convert -q` leaves it."""
    folder = copy_of(source, place)
    model, config = load_model(folder)
    model.set_dtype(dtype)
    model, config = quantize_model(model, config, **packing, quant_predicate=predicate)
    save_model(folder, model)
    save_config(config, folder / "config.json")
    return folder


def logits(folder, device):
    checkpoint = prepare(str(folder), folder, device)
    for _ in materialise(checkpoint):
        pass
    return checkpoint, checkpoint.model(IDS)


@pytest.mark.parametrize(
    ("packing", "predicate"),
    [(AFFINE4, None), (AFFINE8, None), (MXFP4, None), (MXFP8, None), (NVFP4, None), (AFFINE4, mixed)],
    ids=["affine4", "affine8", "mxfp4", "mxfp8", "nvfp4", "mixed"],
)
def test_quantized_layers_stay_quantized_and_give_mlx_lms_numbers(tiny_llama, tmp_path, packing, predicate):
    folder = quantized(tiny_llama, tmp_path, packing, predicate)
    reference, _ = load_model(folder)
    checkpoint, ours = logits(folder, METAL)
    assert mx.array_equal(ours, reference(IDS))
    layer = checkpoint.model.language_model.model.layers[0]
    assert isinstance(layer.self_attn.q_proj, nn.QuantizedLinear)
    assert layer.mlp.down_proj.bits == (8 if predicate else packing["bits"])
    assert isinstance(checkpoint.model.language_model.lm_head, nn.QuantizedLinear) == (predicate is None)


@pytest.mark.parametrize(
    ("packing", "predicate"),
    [(AFFINE4, None), (MXFP4, None), (NVFP4, None), (AFFINE8, mixed)],
    ids=["affine4", "mxfp4", "nvfp4", "mixed"],
)
def test_on_a_cpu_they_become_the_same_numbers_in_float32(tiny_llama, tmp_path, packing, predicate):
    folder = quantized(tiny_llama, tmp_path, packing, predicate)
    reference, _ = load_model(folder)
    checkpoint, ours = logits(folder, CPU)
    expected = reference(IDS)
    assert mx.abs(ours - expected).max() <= 2e-5 * mx.abs(expected).max()
    assert type(checkpoint.model.language_model.model.layers[0].self_attn.q_proj) is nn.Linear
    assert "float32" in checkpoint.info.note


def test_bfloat16_scales_are_multiplied_in_float32(tiny_llama, tmp_path):
    folder = quantized(tiny_llama, tmp_path, AFFINE4, dtype=mx.bfloat16)
    stored = mx.load(str(folder / "model.safetensors"))
    name = "model.layers.0.mlp.up_proj"
    scales, biases = (stored[f"{name}.{key}"].astype(mx.float32) for key in ("scales", "biases"))
    exact = mx.dequantize(stored[f"{name}.weight"], scales, biases, 32, 4)
    checkpoint, _ = logits(folder, CPU)
    assert mx.array_equal(checkpoint.model.language_model.model.layers[0].mlp.up_proj.weight, exact)


def test_the_number_of_parameters_is_that_before_quantising(tiny_llama, tmp_path):
    plain = prepare("plain", tiny_llama, METAL).info
    packed = prepare("packed", quantized(tiny_llama, tmp_path, AFFINE4), METAL).info
    assert packed.parameters == plain.parameters
    assert packed.weight_bytes < plain.weight_bytes / 3
    assert packed.quantization == "4-bit affine"


def test_the_older_name_of_the_block_is_understood(tiny_llama, tmp_path):
    folder = quantized(tiny_llama, tmp_path, AFFINE4)
    edit_config(folder, quantization=None)
    assert prepare("older", folder, METAL).info.quantization == "4-bit affine"


def test_overrides_follow_a_layer_through_its_renaming():
    """Scales that are bytes could be any of three modes; here only the override says which."""
    layer = nn.Linear(64, 8, bias=False)
    weight, scales = mx.quantize(layer.weight, 16, 4, mode="nvfp4")
    before = {"old.proj.weight": weight, "old.proj.scales": scales}
    after = {"ours.weight": weight, "ours.scales": scales}
    module = nn.Module()
    module.ours = layer
    paths = renames(before, after)
    assert paths == {"old.proj": "ours"}
    block = {**AFFINE4, "old.proj": {"group_size": 16, "bits": 4, "mode": "nvfp4"}}
    assert packings(module, block, after, paths) == {"ours": {"group_size": 16, "bits": 4, "mode": "nvfp4"}}
    assert packings(module, {**AFFINE4, "old.proj": False}, after, paths) == {}
    assert packings(module, {**MXFP4, "old.proj": {"bits": 8}}, after, paths)["ours"]["mode"] == "affine"


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "compressed-tensors"])
def test_foreign_quantisations_are_refused_by_name(tiny_llama, tmp_path, method):
    folder = copy_of(tiny_llama, tmp_path)
    edit_config(folder, quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(CheckpointError, match=method) as caught:
        prepare("foreign", folder, METAL)
    assert "mlx-community" in caught.value.hint


def test_what_a_block_is_called():
    assert quantization_of({"quantization_config": {"quant_method": "mxfp4"}}) == MXFP4
    assert describe_quantization(None) == ""
    assert describe_quantization(MXFP8) == "8-bit mxfp8"
    assert describe_quantization({"bits": 4, "a.b": {"bits": 4}, "c": False}) == "4-bit affine"
    assert describe_quantization({"bits": 4, "a.b": {"bits": 6}}) == "4-bit affine, mixed"
