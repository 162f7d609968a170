"""An adapter asked for by each front changes the answer, is told, and has caches of its own."""

import json

import pytest

from engine import generate, load
from engine.api.errors import CheckpointError
from engine.api.events import Failed, Finished
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text
from engine.api.settings import CacheSettings, EngineSettings
from engine.cli import main
from engine.host import EngineHost
from tests.loading.test_adapter import of_mlx_lm, pairs
from tests.recording import ask

LONG = GenerateRequest((Message(Role.USER, (Text("What the keeper wrote down that winter. " * 8),)),), max_tokens=12)
"""More tokens than an entry on the disk has to have."""


@pytest.fixture
def adapter(tmp_path):
    return of_mlx_lm(tmp_path / "adapter")


def answers(source, disk_dir, *adapters):
    """Each in a run of its own: the tokens, and how many of the prompt's were found computed."""
    for adapter in adapters:
        with EngineHost(EngineSettings(cache=CacheSettings(disk_dir=disk_dir))) as host:
            loaded = ask(host.client, LoadModel(str(source), adapter=adapter)).end()
            assert isinstance(loaded, Finished), loaded
            recorder = ask(host.client, LONG)
            usage = recorder.end().usage
            yield recorder.token_ids, usage.cached_tokens


def test_what_was_read_under_one_adapter_is_not_found_under_another(tiny_llama, tmp_path, adapter):
    other = of_mlx_lm(tmp_path / "other", found=pairs(seed=1))
    found = list(answers(tiny_llama, tmp_path / "disk", None, adapter, other, None, adapter, other))
    assert [cached for _, cached in found[:3]] == [0, 0, 0]
    assert all(cached > 256 for _, cached in found[3:])
    assert [tokens for tokens, _ in found[:3]] == [tokens for tokens, _ in found[3:]]
    assert len({tuple(tokens) for tokens, _ in found}) == 3


def test_one_that_does_not_fit_leaves_the_model_before_it(tiny_llama, tmp_path):
    bad = of_mlx_lm(tmp_path / "bad", found=pairs({"model.layers.9.self_attn.q_proj": (32, 32)}))
    with EngineHost(EngineSettings()) as host:
        ask(host.client, LoadModel(str(tiny_llama))).end()
        refused = ask(host.client, LoadModel(str(tiny_llama), adapter=bad)).end()
        assert isinstance(refused, Failed)
        assert "layers.9" in refused.message
        assert isinstance(ask(host.client, LONG).end(), Finished)


def test_from_python(tiny_llama, adapter):
    said = []
    for folder in (None, str(adapter)):
        model, processor = load(str(tiny_llama), adapter_path=folder, settings=EngineSettings())
        with model:
            assert model.info.adapter == (folder or "")
            said.append(generate(model, processor, "Once", max_tokens=8).token_ids)
    assert said[0] != said[1]
    with pytest.raises(CheckpointError, match="no adapter"):
        load(str(tiny_llama), adapter_path=str(tiny_llama), settings=EngineSettings())


def test_from_the_command_line(tiny_llama, adapter, capsys):
    said = []
    for flags in ((), ("--adapter-path", str(adapter))):
        words = ["generate", "--model", str(tiny_llama), "--prompt", "Once", "--max-tokens", "8", "--json", *flags]
        assert main(words) == 0
        said.append(json.loads(capsys.readouterr().out)["token_ids"])
    assert said[0] != said[1]
    assert main([*words[:-1], "nowhere"]) == 2
    assert "no adapter in nowhere" in capsys.readouterr().err
