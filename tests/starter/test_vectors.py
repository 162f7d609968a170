"""The starter against the numbers of its definition: every stage, the prompts, the logits, the answers."""

import mlx.core as mx
import numpy as np
import pytest
from PIL import Image

from tests.starter.stages import stages

PICTURES = ("circle", "text", "scene", "gradient")
LIMIT = 1e-3
"""Of the largest value. What is measured is below 1e-5."""
END = 2


def off(ours, theirs):
    assert ours.shape == theirs.shape
    largest = np.abs(theirs.astype(np.float64)).max()
    return np.abs(ours.astype(np.float64) - theirs).max() / (largest or 1.0)


def drawn(vectors, name):
    return Image.fromarray(vectors.get(f"{name}.source_pixels", vectors[f"{name}.pixels"]))


def turn(question, pictures=0):
    return [{"role": "user", "content": [{"type": "image"}] * pictures + [{"type": "text", "text": question}]}]


def rendered(starter, messages):
    return starter.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("name", PICTURES)
def test_every_stage_has_the_definition_s_numbers(starter, vectors, described, name):
    found = stages(starter.model, starter.processor.prepare(drawn(vectors, name), name))
    listed = {key.removeprefix(f"{name}.") for key in described["tensors"] if key.startswith(f"{name}.")}
    assert found.keys() == {key for key in listed if "logits" not in key or key == "char_logits"} - {"source_pixels"}
    differences = {stage: off(value, vectors[f"{name}.{stage}"]) for stage, value in found.items()}
    assert {stage: value for stage, value in differences.items() if value > LIMIT} == {}
    assert differences["pixels"] == 0


@pytest.mark.parametrize("name", PICTURES)
def test_the_letters_are_read_in_order(starter, vectors, described, name):
    pixels = mx.array(starter.processor.prepare(drawn(vectors, name), name).arrays["pixels"])[None]
    letters, _ = starter.model.read(starter.model.look(pixels))
    assert starter.model.glyphs(letters).text == described["pictures"][name]["glyph_text"]


@pytest.mark.parametrize("name", PICTURES)
def test_prompts_logits_and_answers_are_the_definition_s(starter, vectors, described, name):
    pictures = [drawn(vectors, name)]
    for answer in described["pictures"][name]["answers"]:
        text = rendered(starter, turn(answer["question"], pictures=1))
        ids, media = starter.prompt(text, pictures)
        assert [-1 if token == starter.processor.slot_id else token for token in ids] == answer["prompt_ids"]
        starter.model.select_adapter(starter.model.adapter_for(tuple(media)))
        assert off(starter.logits(text, pictures)[-1], vectors[answer["first_logits"]]) < LIMIT
        assert answer["ended"]
        assert starter.greedy(text, pictures, len(answer["new_ids"]) + 1) == [*answer["new_ids"], END]
        assert starter.tokenizer.decode(answer["new_ids"]) == answer["text"]


def test_a_question_without_a_picture_gets_the_language_model_s_own_answer(starter, vectors, described):
    answer = described["text_only"]
    text = rendered(starter, turn(answer["question"]))
    assert starter.prompt(text, [])[0] == answer["prompt_ids"]
    starter.model.select_adapter(starter.model.adapter_for(()))
    assert off(starter.logits(text, [])[-1], vectors["text_only.first_logits"]) < LIMIT
    assert starter.greedy(text, [], len(answer["new_ids"]) + 1) == [*answer["new_ids"], END]
