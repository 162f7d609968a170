"""The starter's folder as a checkpoint: its config follows from the delivered files, and a damaged copy is named."""

import importlib.util
import json

import pytest

from engine.api.errors import CheckpointError
from engine.api.settings import SamplingSettings
from engine.loading.checkpoint import prepare
from engine.loading.generation import generation_defaults
from tests.reference.ours import CPU


@pytest.fixture
def copy(folder, tmp_path):
    """The same folder through links, so that single files can be taken away or replaced."""
    for file in folder.iterdir():
        if not file.name.startswith("."):
            (tmp_path / file.name).symlink_to(file)
    return tmp_path


def replace(path, content):
    path.unlink()
    path.write_bytes(content)


def test_the_config_follows_from_the_delivered_files(folder):
    spec = importlib.util.spec_from_file_location("adopt", folder / "adopt.py")
    adopt = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(adopt)
    config = json.loads((folder / "config.json").read_text())
    assert adopt.adopted(config, config["vision_config"], folder) == config


def test_it_says_what_it_is(folder):
    info = prepare("starter", folder, None).info
    assert "150-million" in info.description
    assert 140e6 < info.parameters < 160e6


def test_its_answers_end_and_do_not_loop(folder):
    defaults = generation_defaults(folder, {})
    assert defaults.eos_token_ids == {0, 2}
    assert defaults.under("picture").no_repeat_ngram_size
    assert defaults.sampling.temperature is None


def test_the_guard_leaves_text_only_answers_to_the_base_model(folder):
    defaults = generation_defaults(folder, {})
    assert defaults.under(None) == SamplingSettings()


def test_the_guard_against_loops_changes_no_answer_of_the_definition(folder, described):
    size = generation_defaults(folder, {}).under("picture").no_repeat_ngram_size
    for picture in described["pictures"].values():
        for answer in picture["answers"]:
            ids = answer["new_ids"]
            ngrams = [tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)]
            assert len(set(ngrams)) == len(ngrams)


def test_a_missing_language_side_is_named(copy):
    (copy / "base").unlink()
    with pytest.raises(CheckpointError, match=r"SmolLM2-135M-Instruct\.Q4_1\.gguf is missing") as caught:
        prepare("starter", copy, CPU)
    assert "make setup" in caught.value.hint


def test_a_damaged_picture_side_is_named(copy):
    replace(copy / "lora.safetensors", b"\0" * 32)
    with pytest.raises(CheckpointError, match=r"lora\.safetensors"):
        prepare("starter", copy, CPU)


def test_a_language_side_cut_short_is_named(copy, folder):
    (copy / "base").unlink()
    (copy / "base").mkdir()
    whole = next(folder.glob("base/*.gguf"))
    with open(whole, "rb") as file:
        (copy / "base" / whole.name).write_bytes(file.read(3_000_000))
    with pytest.raises(CheckpointError, match="gguf cannot be read"):
        prepare("starter", copy, CPU)


def test_weights_of_another_shape_are_named(copy):
    config = json.loads((copy / "config.json").read_text())
    config["tensor_shapes"]["projector.empty"] = [32]
    replace(copy / "config.json", json.dumps(config).encode())
    with pytest.raises(CheckpointError, match=r"projector\.glyph\.empty"):
        prepare("starter", copy, CPU)
