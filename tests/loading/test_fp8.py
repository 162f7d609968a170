"""Weights of eight bits with scales, as they are published, become the numbers that they stand for."""

import json
import shutil

import mlx.core as mx
import numpy as np
import pytest

from engine.api.errors import CheckpointError
from engine.loading.checkpoint import materialise, prepare
from engine.loading.fp8 import unpack_fp8

NAME = "model.layers.0.mlp.up_proj"


def packed(scale, rows=5, columns=6):
    numbers = mx.array(np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32))
    weight = mx.to_fp8(numbers)
    return {"a.weight": weight, "a.weight_scale_inv": mx.array(scale), "a.activation_scale": mx.array(0.1)}


def test_one_scale():
    weights = packed(0.5) | {"norm.weight": mx.ones((3,))}
    plain = unpack_fp8(weights, {"weight_block_size": None})
    assert set(plain) == {"a.weight", "norm.weight"}
    assert (plain["a.weight"] == (mx.from_fp8(weights["a.weight"], dtype=mx.float32) * 0.5).astype(mx.bfloat16)).all()


def test_a_scale_for_each_block_the_last_ones_cut_short():
    scales = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    weights = packed(scales)
    plain = np.array(unpack_fp8(weights, {"weight_block_size": [2, 4]})["a.weight"].astype(mx.float32))
    numbers = np.array(mx.from_fp8(weights["a.weight"], dtype=mx.float32))
    assert plain[4, 5] == pytest.approx(numbers[4, 5] * 6, rel=1e-2)
    assert plain[1, 3] == pytest.approx(numbers[1, 3] * 1, rel=1e-2)
    assert plain[2, 4] == pytest.approx(numbers[2, 4] * 4, rel=1e-2)


@pytest.mark.parametrize(
    "weights",
    [
        packed(np.ones((2, 2), np.float32)),
        {"a.weight_scale_inv": mx.array(1.0)},
        {"a.weight": mx.zeros((2, 2), mx.uint8)},
        {"a.weight": mx.zeros((2, 2)), "a.weight_scale_inv": mx.array(1.0)},
    ],
)
def test_what_does_not_fit_is_named(weights):
    with pytest.raises(CheckpointError, match=r"do not fit them: a\.weight"):
        unpack_fp8(weights, {"weight_block_size": [2, 4]})


def test_a_whole_checkpoint(tiny_llama, tmp_path):
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    weights = mx.load(str(folder / "model.safetensors"))
    numbers = weights.pop(f"{NAME}.weight")
    weights |= {f"{NAME}.weight": mx.to_fp8(numbers / 0.25), f"{NAME}.weight_scale_inv": mx.array(0.25)}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    block = {"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": None}
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": block}))
    checkpoint = prepare("tiny", folder, None)
    list(materialise(checkpoint))
    found = np.array(checkpoint.model.language_model.model.layers[0].mlp.up_proj.weight.astype(mx.float32))
    assert np.abs(found - np.array(numbers)).max() < 0.07 * np.abs(np.array(numbers)).max()
    assert checkpoint.info.quantization == ""
