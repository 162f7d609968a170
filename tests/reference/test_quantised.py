"""Quantised checkpoints, packed by MLX itself the way mlx-community packs them, load to the same logits."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx.utils import tree_flatten
from transformers import LlamaConfig, LlamaForCausalLM

from engine.device import Device, DeviceKind
from engine.models.names import Prefixes, rename
from tests.reference import test_idefics3, test_llava, test_qwen2_vl, test_text_only, tiny
from tests.reference.ours import CPU, Ours
from tests.reference.parity import TOLERANCE, Case, Pair, difference

KEEPS_PACKED = Device(DeviceKind.METAL, "a test's", "none", total_memory=1 << 40)
"""Weights are widened on a CPU only."""

ROUNDED = 5e-3
"""MLX looks an mxfp4 embedding up as bfloat16, and the features of a picture are rounded to stand beside it."""

WIDE_TEXT = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16}


@dataclass(frozen=True)
class Packed:
    case: Case
    names: Prefixes
    """From the names of the module here to those of the checkpoint."""


CASES = {
    "idefics3": Packed(
        Case(
            "idefics3", test_idefics3.idefics3(text_config=WIDE_TEXT), test_idefics3.SPECIALS, test_idefics3.processor
        ),
        (("language_model.model.", "language_model."),),
    ),
    "llava": Packed(
        Case("llava", test_llava.llava(text_config=WIDE_TEXT), ("<image>",), test_llava.processor(test_llava.CLIP)),
        (("vision_tower.", "vision_tower.vision_model."),),
    ),
    "qwen2_5_vl": Packed(
        replace(
            test_qwen2_vl.BASE,
            model=test_qwen2_vl.qwen2_5_vl(
                {"hidden_size": 64, "intermediate_size": 128}
                | {"rope_parameters": {"rope_type": "default", "rope_theta": 777.0, "mrope_section": [2, 3, 3]}},
                {"hidden_size": 64, "intermediate_size": 128, "num_heads": 4, "out_hidden_size": 64},
            ),
        ),
        (),
    ),
    "llama": Packed(
        Case("llama", test_text_only.model(LlamaConfig, LlamaForCausalLM, **WIDE_TEXT)), (("language_model.", ""),)
    ),
}


def mixed(path: str) -> dict | bool:
    """A few layers in more bits, a few in none."""
    if path.endswith("v_proj"):
        return {"group_size": 32, "bits": 8}
    return not path.endswith("lm_head")


RECIPES: dict[str, tuple[dict, Callable[[str], dict | bool]]] = {
    "4-bit": ({"group_size": 64, "bits": 4, "mode": "affine"}, lambda path: True),
    "8-bit": ({"group_size": 32, "bits": 8, "mode": "affine"}, lambda path: True),
    "mxfp4": ({"group_size": 32, "bits": 4, "mode": "mxfp4"}, lambda path: True),
    "mixed": ({"group_size": 32, "bits": 4, "mode": "affine"}, mixed),
}


@pytest.fixture(scope="module", params=CASES)
def packed(request, tmp_path_factory) -> tuple[Packed, Pair]:
    packed = CASES[request.param]
    return packed, Pair(packed.case, tmp_path_factory.mktemp(request.param))


def question(case: Case) -> tuple[str, list]:
    return (case.one, [tiny.picture("landscape")]) if case.processor else (case.text, [])


def quantise(ours: Ours, recipe: str) -> dict:
    """Packs what can be packed, in place; returns the block that says how, by the module's own paths."""
    shared, choose = RECIPES[recipe]
    block = dict(shared)

    def predicate(path: str, module: nn.Module) -> dict | bool:
        if not hasattr(module, "to_quantized") or module.weight.shape[-1] % shared["group_size"]:
            return False
        chosen = choose(path)
        if chosen is not True:
            block[path] = chosen
        return chosen

    nn.quantize(ours.model, shared["group_size"], shared["bits"], mode=shared["mode"], class_predicate=predicate)
    return block


def save(ours: Ours, block: dict, names: Prefixes, source: Path, target: Path) -> Path:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"))
    weights = rename(dict(tree_flatten(ours.model.parameters())), names)
    mx.save_safetensors(str(target / "model.safetensors"), weights, metadata={"format": "mlx"})
    config = json.loads((source / "config.json").read_text())
    config["quantization"] = rename(block, names)
    (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_packed_checkpoint_gives_the_logits_of_the_packed_module(packed, recipe, tmp_path):
    how, pair = packed
    text, pictures = question(how.case)
    ours = Ours(pair.folder, KEEPS_PACKED)
    block = quantise(ours, recipe)
    wanted = ours.logits(text, pictures)
    folder = save(ours, block, how.names, pair.folder, tmp_path / "packed")
    kept = Ours(folder, KEEPS_PACKED)
    assert _packed_layers(kept) == _packed_layers(ours) != {}
    assert (kept.logits(text, pictures) == wanted).all()
    widened = Ours(folder, CPU)
    assert _packed_layers(widened) == {}
    tolerance = ROUNDED if recipe == "mxfp4" else TOLERANCE
    assert difference(widened.logits(text, pictures), wanted) < tolerance
    assert difference(pair.logits(text, pictures), wanted) > tolerance


def _packed_layers(ours: Ours) -> dict[str, tuple]:
    layers = ours.model.named_modules()
    return {path: (layer.bits, layer.group_size, layer.mode) for path, layer in layers if hasattr(layer, "bits")}
