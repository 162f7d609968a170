"""A family that sees, of which a checkpoint holds the text decoder alone, is a text model with the same numbers."""

import shutil

import pytest
from safetensors.torch import save_file

from engine.api.events import Modality
from engine.loading.checkpoint import materialise, prepare
from tests.reference import test_gemma3, test_idefics3, test_llava, test_qwen2_vl
from tests.reference.ours import CPU, Ours
from tests.reference.parity import TOLERANCE, Pair, difference

CASES = {
    "llava": test_llava.BASE,
    "idefics3": test_idefics3.BASE,
    "gemma3": test_gemma3.BASE,
    "qwen2_vl": test_qwen2_vl.BASE,
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_answered_as_ever(name, tmp_path):
    case = CASES[name]
    pair = Pair(case, tmp_path)
    state = pair.reference.state_dict()
    text = {
        key: tensor for key, tensor in state.items() if any(part in key for part in ("text_model", "language", "lm_"))
    }
    folder = tmp_path / "blind"
    shutil.copytree(pair.folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    save_file({key: tensor.contiguous().clone() for key, tensor in text.items()}, folder / "model.safetensors")
    checkpoint = prepare("blind", folder, CPU)
    list(materialise(checkpoint))
    assert checkpoint.info.modalities == {Modality.TEXT}
    assert difference(Ours(folder).logits(case.text, []), pair.logits(case.text, [])) < TOLERANCE
