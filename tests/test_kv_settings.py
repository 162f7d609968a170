"""What is said of the KV cache, in flags or to `load`, reaches the engine's settings, or is refused with a reason."""

import pytest

from engine import batch_generate, generate, load
from engine.api.errors import RequestError
from engine.api.settings import CacheSettings, EngineSettings, KVScheme, SpeculationSettings
from engine.cli import main
from engine.host import EngineHost
from tests.fake_engine import FakeEngine


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        ((), CacheSettings()),
        (("--kv-bits", "4", "--kv-group-size", "32"), CacheSettings(kv_bits=4, kv_group_size=32)),
        (
            ("--kv-bits", "3.5", "--kv-quant-scheme", "turboquant"),
            CacheSettings(kv_bits=3.5, kv_quant_scheme=KVScheme.TURBOQUANT),
        ),
        (("--kv-quant-scheme", "uniform"), CacheSettings()),
    ],
)
def test_flags_become_settings(flags, settings):
    engine = FakeEngine()
    assert main(("generate", "--prompt", "x", "--no-disk-cache", *flags), open_engine=engine.open) == 0
    assert engine.settings.cache == settings


def test_the_command_line_keeps_prompts_on_the_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path))
    engine = FakeEngine()
    assert main(("generate", "--prompt", "x"), open_engine=engine.open) == 0
    assert engine.settings.cache == CacheSettings(disk_dir=tmp_path / "prefixes")
    engine = FakeEngine()
    assert main(("generate", "--prompt", "x", "--vision-cache-disk"), open_engine=engine.open) == 0
    assert engine.settings.cache == CacheSettings(disk_dir=tmp_path / "prefixes", feature_disk=True)


@pytest.mark.parametrize(("flags", "lookup"), [((), True), (("--no-lookup",), False)])
def test_look_up_can_be_left_out(flags, lookup):
    engine = FakeEngine()
    assert main(("generate", "--prompt", "x", *flags), open_engine=engine.open) == 0
    assert engine.settings.speculation == SpeculationSettings(lookup=lookup)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--kv-bits", "5"), "no kv_bits of 5"),
        (("--kv-bits", "many"), "not a number"),
        (("--kv-bits", "4", "--kv-quant-scheme", "zip"), "zip"),
        (("--kv-group-size", "32"), "without kv_bits"),
        (("--vision-cache-disk", "--no-disk-cache"), "says nothing"),
    ],
)
def test_flags_that_make_no_sense_are_refused(flags, reason, capsys):
    engine = FakeEngine()
    assert main(("generate", "--prompt", "x", *flags), open_engine=engine.open) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kv_bits": 5}, "no kv_bits of 5"),
        ({"kv_bits": 4, "kv_quant_scheme": "zip"}, "'zip'"),
        ({"kv_group_size": 64}, "without kv_bits"),
    ],
)
def test_loading_with_a_kv_cache_that_cannot_be(tiny_llama, options, message):
    with pytest.raises(RequestError, match=message):
        load(tiny_llama, **options)


def test_what_load_is_told_of_caches_reaches_the_engine(tiny_llama, monkeypatch):
    opened = []

    def open_host(settings):
        opened.append(settings.cache)
        return EngineHost(settings)

    monkeypatch.setattr("engine.python.loading.EngineHost", open_host)
    given = EngineSettings(cache=CacheSettings(prefix_bytes=7))
    model, _ = load(tiny_llama, kv_bits=3.5, kv_quant_scheme="turboquant", prefill_step_size=64, settings=given)
    model.close()
    assert opened == [CacheSettings(64, prefix_bytes=7, kv_bits=3.5, kv_quant_scheme=KVScheme.TURBOQUANT)]


def test_answers_come_from_the_cache_that_was_asked_for(tiny_llama):
    """Eight bits answer like plain caches; two bits, which would not, do so alone and among others alike."""
    asked = {"prompt": "<|user|>Hello there<|end|><|assistant|>", "max_tokens": 12, "temperature": 0.0}
    answers = []
    for bits in (None, 8, 2):
        model, processor = load(tiny_llama, kv_bits=bits)
        with model:
            answers.append(generate(model, processor, **asked).token_ids)
            several = batch_generate(
                model, processor, prompts=["Hello there", "Goodbye", "Hello there"], max_tokens=12, temperature=0.0
            )
        assert [several.results[row].token_ids for row in (0, 2)] == [answers[-1], answers[-1]]
    plain, eight, two = answers
    assert plain == eight != two
