"""What a model can do: told from its template, its tokenizer and its weights."""

from types import SimpleNamespace

import mlx.core as mx
import pytest

from engine.api.events import Modality
from engine.api.model_facts import Capabilities
from engine.loading.capabilities import capabilities, modalities
from engine.loading.checkpoint import prepare
from engine.models.base import Family
from tests.loading.checkpoints import copy_of

TEXT = frozenset({Modality.TEXT})


def family(**options):
    return Family(("any",), options.pop("modalities", TEXT), build=lambda config: None, **options)


def found(template="", think_start=None, *, has_senses=True, **options):
    has_thinking, end = think_start is not None, think_start and think_start.replace("<", "</")
    tokenizer = SimpleNamespace(
        chat_template=template, has_thinking=has_thinking, think_start=think_start, think_end=end, get_vocab=dict
    )
    return capabilities(family(**options), tokenizer, has_senses=has_senses)


def processor(*_):
    """Never called here."""


def test_pictures_and_clips_are_what_the_family_takes_if_the_weights_are_there():
    assert found() == Capabilities()
    assert found(processor=processor) == Capabilities(pictures=True)
    both = {"processor": processor, "clips": processor, "most_pictures": 1}
    assert found(**both) == Capabilities(pictures=True, most_pictures=1, video=True)
    assert found(**both, has_senses=False) == Capabilities()


def test_sound():
    hears = frozenset({Modality.TEXT, Modality.AUDIO})
    assert found(modalities=hears).sound
    assert not found(modalities=hears, has_senses=False).sound


def test_a_family_that_names_video_and_has_no_processor_for_it_takes_none():
    sees = frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO})
    assert modalities(found(processor=processor, modalities=sees)) == {Modality.TEXT, Modality.IMAGE}
    assert modalities(Capabilities(sound=True, video=True)) == {Modality.TEXT, Modality.AUDIO, Modality.VIDEO}


@pytest.mark.parametrize(
    ("template", "knows"),
    [
        ("{% if tools %}{{ tools | tojson }}{% endif %}", True),
        ({"default": "{{ messages }}", "tool_use": "{% for tool in tools %}{% endfor %}"}, True),
        ("{{ messages }} toolset", False),
        ("", False),
        (None, False),
    ],
)
def test_tools_are_what_a_template_speaks_of(template, knows):
    assert found(template).tools is knows


def test_the_familys_template_stands_in_for_none():
    assert found(None, chat_template="{{ tools }}").tools
    assert not found("{{ messages }}", chat_template="{{ tools }}").tools


@pytest.mark.parametrize(
    ("template", "think_start", "thinks"),
    [
        ("{% if enable_thinking %}{% endif %}", None, True),
        ("{{ messages }}<think>", "<think>", True),
        ("{{ messages }}", "<think>", False),
        ("{{ messages }}<think>", None, False),
        ("", "<think>", True),
        # Granite's: words of several tokens, and a variable of another name.
        ("{% if thinking %}Write your thoughts between <think></think>.{% endif %}", None, True),
        ("{{ '<|channel|>analysis<|message|>' }}", None, True),
        ("Answer in [THINK] and [/THINK].", None, True),
    ],
)
def test_thinking_wants_a_template_that_speaks_of_it(template, think_start, thinks):
    assert found(template, think_start).thinking is thinks


def test_a_loaded_model_tells(tiny_llama, tiny_smolvlm):
    blind, seeing = (prepare("tiny", folder, None).info for folder in (tiny_llama, tiny_smolvlm))
    assert (blind.modalities, blind.capabilities.pictures) == (TEXT, False)
    assert (seeing.modalities, seeing.capabilities.pictures) == ({Modality.TEXT, Modality.IMAGE}, True)


def test_a_seeing_family_without_the_weights_of_its_eyes_is_for_text(tiny_smolvlm, tmp_path):
    folder = copy_of(tiny_smolvlm, tmp_path)
    path = folder / "model.safetensors"
    weights = {name: array for name, array in mx.load(str(path)).items() if name.startswith("language_model.")}
    mx.eval(weights)
    mx.save_safetensors(str(path), weights)
    blind, seeing = prepare("tiny", folder, None), prepare("tiny", tiny_smolvlm, None)
    assert blind.info.modalities == TEXT
    assert (blind.processor, blind.clips) == (None, None)
    assert blind.info.parameters < seeing.info.parameters
    ids = mx.array([[1, 5, 9]])
    assert mx.array_equal(blind.model(ids), seeing.model(ids))
