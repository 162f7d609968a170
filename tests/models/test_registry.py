import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import engine
from engine.api.errors import CheckpointError
from engine.models import families
from engine.models.families import idefics3, llava, text_only
from engine.models.registry import find_family, known_model_types

ROOT = Path(engine.__file__).parent.parent


@pytest.mark.parametrize(
    ("model_type", "family"),
    [
        ("idefics3", idefics3.FAMILY),
        ("smolvlm", idefics3.FAMILY),
        ("llava", llava.FAMILY),
        ("llama", text_only.FAMILY),
        ("mistral", text_only.FAMILY),
        ("qwen3", text_only.FAMILY),
        ("gemma3_text", text_only.FAMILY),
        ("nemotron-nas", text_only.FAMILY),
    ],
)
def test_a_family_is_found_by_its_model_type(model_type, family):
    assert find_family({"model_type": model_type}) is family


def test_an_unknown_text_model_is_named_and_called_text_only():
    with pytest.raises(CheckpointError, match=r"'newtype'.*looks text-only.*Known are .*idefics3.*mlx-lm runs"):
        find_family({"model_type": "newtype", "vocab_size": 10})


@pytest.mark.parametrize(
    ("model_type", "key"),
    [
        ("llama", "vision_config"),
        ("qwen3", "vision_config"),
        ("cohere2", "image_token_id"),
        ("x", "audio_config"),
    ],
)
def test_a_tower_that_is_not_known_is_refused_even_where_mlx_lm_runs_the_decoder(model_type, key):
    with pytest.raises(CheckpointError, match=rf"'{model_type}'.*takes more than text"):
        find_family({"model_type": model_type, key: {}})


@pytest.mark.parametrize("model_type", ["base", "cache", "../llama", "llama.Model", "os", "mlx_lm.utils", "text_only"])
def test_a_name_that_is_no_model_is_unknown(model_type):
    with pytest.raises(CheckpointError, match="not known here"):
        find_family({"model_type": model_type})


@pytest.mark.parametrize("config", [{}, {"model_type": None}, {"model_type": ["llama"]}, {"model_type": ""}])
def test_a_config_without_a_type_says_so(config):
    with pytest.raises(CheckpointError, match="no model_type"):
        find_family(config)


def test_a_new_family_is_known_by_its_file_alone(tmp_path, monkeypatch):
    (tmp_path / "shiny.py").write_text(
        "from engine.models.base import Family\n"
        "FAMILY = Family(model_types=('shiny', 'shiny_moe'), modalities=frozenset(), build=None)\n"
    )
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "engine.models.families.shiny", raising=False)
    assert "shiny_moe" in known_model_types()
    assert find_family({"model_type": "shiny_moe"}).model_types[0] == "shiny"
    sys.modules.pop("engine.models.families.shiny")


def test_families_are_found_in_a_zip_file(tmp_path):
    archive = tmp_path / "engine.zip"
    with zipfile.ZipFile(archive, "w") as written:
        for path in (ROOT / "engine").rglob("*.py"):
            written.write(path, path.relative_to(ROOT))
    code = "import engine; from engine.models.registry import *; print(engine.__file__, known_model_types())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(archive)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(archive) in found.stdout
    assert "'smolvlm'" in found.stdout
