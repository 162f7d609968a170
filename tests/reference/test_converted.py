"""Families converted and loaded again: plain to the same logits, packed to near ones, unpacked to the packed ones."""

from dataclasses import dataclass, replace
from pathlib import Path

import mlx.nn as nn
import pytest
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from engine.api.conversion import ConvertModel
from engine.api.quantization import PackingMode, Quantization, Recipe
from engine.device import Device, DeviceKind
from engine.loading.convert import plan_conversion
from engine.loading.convert_files import write
from tests.reference import (
    test_gemma3,
    test_gemma4,
    test_idefics3,
    test_llava,
    test_molmo2,
    test_qwen2_vl,
    test_qwen3_5,
    test_step3p7,
    test_text_only,
    tiny,
)
from tests.reference.ours import Ours
from tests.reference.parity import TOLERANCE, Case, Pair, difference

KEEPS_PACKED = Device(DeviceKind.METAL, "a test's", "none", total_memory=1 << 40)
"""Weights are widened on a CPU only."""

WIDE = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "norm_topk_prob": True}

CASES = {
    "llama": Case("llama", test_text_only.model(LlamaConfig, LlamaForCausalLM, **WIDE)),
    "qwen3_moe": Case("qwen3_moe", test_text_only.model(Qwen3MoeConfig, Qwen3MoeForCausalLM, **WIDE, **EXPERTS)),
    "llava": replace(test_llava.BASE, model=test_llava.llava(text_config=WIDE)),
    "idefics3": replace(test_idefics3.BASE, model=test_idefics3.idefics3(text_config=WIDE)),
    "gemma3": replace(test_gemma3.BASE, model=test_gemma3.gemma3(**WIDE)),
    "qwen2_5_vl": replace(
        test_qwen2_vl.BASE,
        model=test_qwen2_vl.qwen2_5_vl(
            {"hidden_size": 64, "intermediate_size": 128}
            | {"rope_parameters": {"rope_type": "default", "rope_theta": 777.0, "mrope_section": [2, 3, 3]}},
            {"hidden_size": 64, "intermediate_size": 128, "num_heads": 4, "out_hidden_size": 64},
        ),
    ),
}

REARRANGED = (test_gemma4.BASE, test_molmo2.TestOlmo2.case, test_qwen3_5.BASE, test_step3p7.BASE)
"""Norms that are raised by one, tables that are joined, experts that are parted, positions told layer by layer."""

WAYS = {
    "8-bit": Quantization.of(bits=8, group_size=32),
    "mixed": Quantization.of(recipe=Recipe.MIXED_4_6, group_size=32),
    "mxfp8": Quantization.of(PackingMode.MXFP8),
}
NEAR = {"8-bit": 0.05, "mixed": 0.7, "mxfp8": 0.3}
"""Of random weights, which suffer more than trained ones do."""

ROUNDED = 1e-2
"""MLX looks an mxfp8 embedding up as bfloat16."""


@dataclass(frozen=True)
class Converted:
    pair: Pair
    question: tuple[str, list]

    def converted(self, source: Path, target: Path, *how: Quantization, **options) -> Ours:
        request = ConvertModel("tiny", target, *how, **options)
        list(write(plan_conversion(source, request), target))
        return Ours(target, KEEPS_PACKED)


@pytest.fixture(scope="module", params=CASES)
def tested(request, tmp_path_factory) -> Converted:
    case = CASES[request.param]
    question = (case.one, [tiny.picture("landscape")]) if case.processor else (case.text, [])
    return Converted(Pair(case, tmp_path_factory.mktemp(request.param)), question)


@pytest.mark.parametrize("case", REARRANGED, ids=lambda case: case.name)
def test_what_is_rearranged_when_it_is_read_is_so_once(case, tmp_path):
    tested = Converted(Pair(case, tmp_path / "source"), (case.one, [tiny.picture("landscape")]))
    ours, wanted = tested.converted(tested.pair.folder, tmp_path / "out"), tested.pair.ours
    assert difference(ours.logits(*tested.question), wanted.logits(*tested.question)) < 1e-5


def test_written_anew_it_is_the_same(tested, tmp_path):
    ours = tested.converted(tested.pair.folder, tmp_path / "out")
    assert (ours.logits(*tested.question) == Ours(tested.pair.folder, KEEPS_PACKED).logits(*tested.question)).all()


@pytest.mark.parametrize("way", WAYS)
def test_packed_and_unpacked_again(tested, tmp_path, way):
    packed = tested.converted(tested.pair.folder, tmp_path / "packed", WAYS[way])
    logits, reference = packed.logits(*tested.question), tested.pair.logits(*tested.question)
    assert TOLERANCE < difference(logits, reference) < NEAR[way]
    layers = [path for path, layer in packed.model.named_modules() if hasattr(layer, "bits")]
    assert layers
    assert all(path.startswith("language_model.") for path in layers)
    plain = tested.converted(tmp_path / "packed", tmp_path / "plain", dequantize=True)
    assert not any(isinstance(layer, nn.QuantizedLinear) for _, layer in plain.model.named_modules())
    assert difference(plain.logits(*tested.question), logits) < (ROUNDED if way == "mxfp8" else TOLERANCE)


def test_every_spelling_is_packed_to_the_same(tested, tmp_path):
    wanted = tested.converted(tested.pair.folder, tmp_path / "out", WAYS["8-bit"]).logits(*tested.question)
    for spelling in tested.pair.case.spellings:
        tested.pair.respelt(spelling)
        ours = tested.converted(tested.pair.root / spelling.name, tmp_path / spelling.name, WAYS["8-bit"])
        assert difference(ours.logits(*tested.question), wanted) < 1e-5
