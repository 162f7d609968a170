"""The adapter is there with pictures and gone without; several pictures keep their places."""

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from PIL import Image

from engine.models.families.starter import MARKER
from engine.models.layers.rotary import share_rotary_tables
from tests.starter.test_vectors import drawn, rendered, turn

QUESTION = "What is this?"


def bare_language_model(starter):
    """mlx-lm's own module, with the same weights and no place for an adapter."""
    args = starter.model.language_model.args
    bare = Model(ModelArgs.from_dict(vars(args)))
    share_rotary_tables(bare)
    weights = tree_flatten(starter.model.language_model.parameters())
    bare.load_weights([(name, array) for name, array in weights if "lora" not in name], strict=True)
    return bare


def test_without_a_picture_not_one_logit_differs_from_the_bare_language_model(starter):
    ids = mx.array([starter.prompt(QUESTION, [])[0]])
    starter.model.select_adapter("picture")
    adapted = np.array(starter.model(ids))
    starter.model.select_adapter(starter.model.adapter_for(()))
    plain = np.array(starter.model(ids))
    assert np.array_equal(plain, np.array(bare_language_model(starter)(ids)))
    assert not np.allclose(plain, adapted)


def test_an_answer_is_the_same_when_a_picture_was_looked_at_in_between(starter, vectors):
    starter.model.select_adapter(None)
    before = starter.logits(QUESTION, [])
    starter.model.select_adapter("picture")
    starter.logits(MARKER + QUESTION, [drawn(vectors, "circle")])
    starter.model.select_adapter(None)
    assert np.array_equal(starter.logits(QUESTION, []), before)


def test_two_pictures_each_take_their_own_place(starter, vectors):
    circle, scene = (drawn(vectors, name) for name in ("circle", "scene"))
    text = MARKER * 2 + QUESTION
    ids, media = starter.prompt(text, [circle, scene])
    starter.model.select_adapter(starter.model.adapter_for(tuple(media)))
    slots = [place for place, token in enumerate(ids) if token == starter.processor.slot_id]
    assert len(slots) == 2 * media[0].feature_count
    features = mx.concatenate([starter.model.encode(item) for item in media])
    embeddings = starter.model.embed(mx.array([ids]), mx.array(slots), features)
    assert np.array_equal(np.array(embeddings[0, slots]), np.array(features))
    swapped = starter.logits(text, [scene, circle])
    assert not np.allclose(starter.logits(text, [circle, scene])[-1], swapped[-1])


def test_a_picture_in_a_later_turn_runs_under_the_adapter_too(starter, vectors):
    messages = [*turn("Hello."), {"role": "assistant", "content": "Hi!"}, *turn(QUESTION, pictures=1)]
    text = rendered(starter, messages)
    _, media = starter.prompt(text, [drawn(vectors, "circle")])
    assert starter.model.adapter_for(tuple(media)) == "picture"
    starter.model.select_adapter("picture")
    assert len(starter.greedy(text, [drawn(vectors, "circle")], 3)) == 3


def test_chunked_prefill_with_a_cache_gives_the_same_logits(starter, vectors):
    text = MARKER + QUESTION
    pictures = [drawn(vectors, "circle")]
    starter.model.select_adapter("picture")
    whole, chunked = starter.logits(text, pictures), starter.logits(text, pictures, step=17)
    assert np.abs(whole - chunked).max() < 2e-4 * np.abs(whole).max()


def test_a_picture_of_any_shape_is_taken(starter):
    for size in ((1, 1), (4000, 3), (3, 900), (260, 260), (261, 259)):
        media = starter.processor.prepare(Image.new("RGB", size, (10, 200, 30)), "any")
        assert media.arrays["pixels"].shape == (260, 260, 3)
        assert media.arrays["pixels"].dtype == np.uint8
    assert np.isfinite(np.array(starter.model.encode(media))).all()
