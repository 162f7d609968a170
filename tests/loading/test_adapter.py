"""Adapters in folders of their own give mlx-lm's numbers and those of their own arithmetic, or are refused by name."""

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.tuner.utils import load_adapters
from mlx_lm.utils import load_model

from engine.api.errors import CheckpointError
from engine.api.settings import CacheSettings
from engine.loading.checkpoint import materialise, prepare
from engine.loading.fingerprint import fingerprint
from engine.loading.tiny import write_tiny_decoder
from tests.loading.checkpoints import CPU, METAL, copy_of
from tests.loading.test_quantized import AFFINE4, IDS, mixed, quantized

QUERY, DOWN = "model.layers.1.self_attn.q_proj", "model.layers.0.mlp.down_proj"
SHAPES = {QUERY: (32, 32), DOWN: (32, 64)}
"""(out, in)"""
SCALE, RANK = 3.0, 4


def pairs(shapes=SHAPES, seed=0):
    """(rank, in) and (out, rank) a layer."""
    rng = np.random.default_rng(seed)
    return {
        path: tuple(
            mx.array(rng.standard_normal(size).astype(np.float32) / 4) for size in ((RANK, width), (rows, RANK))
        )
        for path, (rows, width) in shapes.items()
    }


def written(folder, tensors, config, name="adapters.safetensors"):
    folder.mkdir(exist_ok=True)
    mx.save_safetensors(str(folder / name), tensors)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def of_mlx_lm(folder, prefix="", found=None, suffixes=(".lora_a", ".lora_b"), **settings):
    tensors = {}
    for path, (down, up) in (found or pairs()).items():
        tensors |= {prefix + path + suffixes[0]: down.T, prefix + path + suffixes[1]: up.T}
    keys = [path.partition("layers.")[2].partition(".")[2] for path in found or SHAPES]
    lora = {"rank": RANK, "scale": SCALE, "dropout": 0.1, "keys": keys}
    return written(folder, tensors, {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": lora} | settings)


def of_peft(folder, rename=lambda path: path, found=None, **settings):
    tensors = {}
    for path, (down, up) in (found or pairs()).items():
        name = "base_model.model." + rename(path)
        tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": SCALE * RANK} | settings
    return written(folder, tensors, config, "adapter_model.safetensors")


def loaded(source, adapter=None, device=METAL):
    checkpoint = prepare(str(source), Path(source), device, adapter=adapter)
    for _ in materialise(checkpoint):
        pass
    return checkpoint


def weight(checkpoint, path):
    return dict(checkpoint.model.named_modules())[f"language_model.{path}"].weight


def check_added(source, adapter, device=METAL):
    plain, adapted = loaded(source, device=device), loaded(source, adapter, device)
    for path, (down, up) in pairs().items():
        expected = weight(plain, path) + SCALE * up @ down
        assert mx.allclose(weight(adapted, path), expected, atol=1e-5)
    untouched = "model.layers.0.self_attn.q_proj"
    assert mx.array_equal(weight(plain, untouched), weight(adapted, untouched))
    return adapted


@pytest.mark.parametrize("device", [METAL, CPU])
def test_it_is_added_by_its_scale_and_told(tiny_llama, tmp_path, device):
    folder = of_mlx_lm(tmp_path / "adapter")
    assert check_added(tiny_llama, folder, device).info.adapter == str(folder)
    assert loaded(tiny_llama).info.adapter == ""


def test_it_is_what_mlx_lm_makes_of_it(tiny_llama, tmp_path):
    folder = of_mlx_lm(tmp_path / "adapter")
    reference = load_adapters(load_model(Path(tiny_llama))[0], str(folder))
    reference.eval()
    found, plain = loaded(tiny_llama, folder).model(IDS), loaded(tiny_llama).model(IDS)
    assert mx.allclose(found, reference(IDS), atol=1e-4)
    assert not mx.allclose(found, plain, atol=0.1)


@pytest.mark.parametrize("predicate", [None, mixed])
def test_packed_weights_stay_as_they_are(tiny_llama, tmp_path, predicate):
    base = quantized(tiny_llama, tmp_path, AFFINE4, predicate)
    found = pairs(SHAPES | {"model.layers.1.self_attn.v_proj": (16, 32)})
    folder = of_mlx_lm(tmp_path / "adapter", found=found)
    reference = load_adapters(load_model(base)[0], str(folder))
    reference.eval()
    checkpoint = loaded(base, folder)
    assert mx.array_equal(checkpoint.model(IDS), reference(IDS))
    layer = checkpoint.model.language_model.model.layers[1].self_attn.q_proj
    assert layer.linear.weight.dtype == mx.uint32
    assert checkpoint.weight_bytes - loaded(base).weight_bytes == sum(a.nbytes + b.nbytes for a, b in found.values())


def test_weights_that_are_unpacked_for_a_cpu_are_added_to(tiny_llama, tmp_path):
    base, folder = quantized(tiny_llama, tmp_path, AFFINE4), of_mlx_lm(tmp_path / "adapter")
    check_added(base, folder, CPU)


def test_embeddings_have_their_rows_adapted(tiny_llama, tmp_path):
    plain = loaded(tiny_llama)
    rows = weight(plain, "model.embed_tokens").shape[0]
    (down, up) = pairs({"": (rows, 32)})[""]
    tensors = {"model.embed_tokens.lora_a": up, "model.embed_tokens.lora_b": down}
    lora = {"rank": RANK, "scale": SCALE, "dropout": 0.0, "keys": ["model.embed_tokens"]}
    folder = written(tmp_path / "adapter", tensors, {"num_layers": 2, "lora_parameters": lora})
    expected = weight(plain, "model.embed_tokens") + SCALE * up @ down
    assert mx.allclose(weight(loaded(tiny_llama, folder), "model.embed_tokens"), expected, atol=1e-5)
    base = quantized(tiny_llama, tmp_path, AFFINE4)
    reference = load_adapters(load_model(base)[0], str(folder))
    assert mx.allclose(loaded(base, folder).model(IDS), reference(IDS), atol=1e-4)


def test_experts_are_adapted(tmp_path):
    sizes = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "decoder_sparse_step": 1}
    sizes |= {"norm_topk_prob": True, "mlp_only_layers": [], "head_dim": 8, "tie_word_embeddings": True}
    (tmp_path / "moe").mkdir()
    base = write_tiny_decoder(tmp_path / "moe", "qwen3_moe", **sizes)
    path = "model.layers.1.mlp.switch_mlp.up_proj"
    rng = np.random.default_rng(0)
    down, up = (mx.array(rng.standard_normal(size).astype(np.float32)) for size in ((3, RANK, 32), (3, 16, RANK)))
    lora = {"rank": RANK, "scale": SCALE, "dropout": 0.0, "keys": ["mlp.switch_mlp.up_proj"]}
    folder = written(
        tmp_path / "adapter",
        {f"{path}.lora_a": down, f"{path}.lora_b": up},
        {"num_layers": 2, "lora_parameters": lora},
    )
    expected = weight(loaded(base), path) + SCALE * up @ down
    assert mx.allclose(weight(loaded(base, folder), path), expected, atol=1e-5)


def test_mlx_vlms_names_begin_with_the_whole_models(tiny_smolvlm, tmp_path):
    check_added(tiny_smolvlm, of_mlx_lm(tmp_path / "adapter", prefix="language_model."))


def test_mlx_vlms_first_form(tiny_smolvlm, tmp_path):
    folder = of_mlx_lm(tmp_path / "adapter", prefix="language_model.", suffixes=(".A", ".B"))
    config = {"rank": RANK, "alpha": SCALE * RANK, "dropout": 0.1}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    check_added(tiny_smolvlm, folder)


@pytest.mark.parametrize(
    "rename",
    [
        lambda path: "model.text_model." + path.removeprefix("model."),
        lambda path: "language_model." + path,
    ],
    ids=["transformers", "mlx"],
)
def test_pefts_names_are_those_of_any_version_that_can_be_loaded(tiny_smolvlm, tmp_path, rename):
    check_added(tiny_smolvlm, of_peft(tmp_path / "adapter", rename))


def test_pefts_form_on_text_and_on_packed_weights(tiny_llama, tmp_path):
    folder = of_peft(tmp_path / "adapter")
    check_added(tiny_llama, folder)
    base = quantized(tiny_llama, tmp_path, AFFINE4)
    same = loaded(base, of_mlx_lm(tmp_path / "same"))
    assert mx.allclose(loaded(base, folder).model(IDS), same.model(IDS), atol=1e-4)


def refusal(tiny_llama, folder):
    with pytest.raises(CheckpointError) as caught:
        prepare(str(tiny_llama), tiny_llama, METAL, adapter=folder)
    return caught.value.message


@pytest.mark.parametrize("form", [of_mlx_lm, of_peft])
def test_layers_that_are_not_there_are_named(tiny_llama, tmp_path, form):
    odd = pairs(SHAPES | {"model.layers.7.self_attn.q_proj": (32, 32), "model.norm": (32, 32)})
    message = refusal(tiny_llama, form(tmp_path / "adapter", found=odd))
    assert "does not have" in message
    assert "model.layers.7.self_attn.q_proj" in message
    assert "model.norm" in message
    assert QUERY not in message


@pytest.mark.parametrize("form", [of_mlx_lm, of_peft])
def test_layers_of_other_sizes_are_named(tiny_llama, tmp_path, form):
    message = refusal(tiny_llama, form(tmp_path / "adapter", found=pairs(SHAPES | {QUERY: (48, 32)})))
    assert "other sizes" in message
    assert QUERY in message
    assert DOWN not in message


def test_two_for_one_layer_are_refused(tiny_llama, tmp_path):
    found = pairs(SHAPES | {f"language_model.{QUERY}": (32, 32)})
    assert QUERY in refusal(tiny_llama, of_mlx_lm(tmp_path / "adapter", found=found))


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        ({}, "nothing"),
        ({"model.norm.weight": mx.zeros(32)}, "model.norm.weight"),
        ({f"{QUERY}.lora_a": mx.zeros((32, 4))}, f"{QUERY}.lora_a"),
        ({f"{QUERY}.lora_a": mx.zeros(32), f"{QUERY}.lora_b": mx.zeros((4, 32))}, f"{QUERY}.lora_a"),
        (
            {f"{QUERY}.{name}": mx.zeros((32, 32)) for name in ("lora_a", "lora_b", "m")},
            f"{QUERY}.m",
        ),
    ],
    ids=["empty", "whole layer", "half", "flat", "dora"],
)
def test_what_is_no_pair_is_named(tiny_llama, tmp_path, tensors, named):
    folder = of_mlx_lm(tmp_path / "adapter")
    mx.save_safetensors(str(folder / "adapters.safetensors"), tensors)
    assert named in refusal(tiny_llama, folder)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"fine_tune_type": "dora"}, "'dora'"),
        ({"fine_tune_type": "full"}, "'full'"),
        ({"lora_parameters": {"rank": 4}}, "scale"),
        ({"lora_parameters": 4}, "scale"),
    ],
)
def test_other_kinds_are_refused_by_name(tiny_llama, tmp_path, settings, named):
    assert named in refusal(tiny_llama, of_mlx_lm(tmp_path / "adapter", **settings))


def test_pefts_other_kinds_are_refused_by_name(tiny_llama, tmp_path):
    assert "use_dora" in refusal(tiny_llama, of_peft(tmp_path / "adapter", use_dora=True))


def test_a_folder_without_an_adapter(tiny_llama, tmp_path):
    assert "no adapter" in refusal(tiny_llama, tmp_path / "nowhere")
    folder = of_mlx_lm(tmp_path / "adapter")
    (folder / "adapter_config.json").unlink()
    assert "adapter_config.json" in refusal(tiny_llama, folder)


def test_a_torn_file(tiny_llama, tmp_path):
    folder = of_mlx_lm(tmp_path / "adapter")
    path = folder / "adapters.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "adapters.safetensors" in refusal(tiny_llama, folder)


def test_caches_of_one_adapter_are_not_those_of_another(tiny_llama, tmp_path):
    base = copy_of(tiny_llama, tmp_path)

    def name_of(adapter):
        found = loaded(base, adapter)
        return fingerprint(found.folder, found.config, found.model, CacheSettings(), found.adapter)

    one, two = of_mlx_lm(tmp_path / "one"), of_mlx_lm(tmp_path / "two", found=pairs(seed=1))
    alike = of_mlx_lm(tmp_path / "three")
    assert len({name_of(None), name_of(one), name_of(two)}) == 3
    assert name_of(alike) == name_of(one)
    # Trained further, into a file of the same length.
    before = name_of(one)
    of_mlx_lm(one, found=pairs(seed=2))
    assert name_of(one) != before
