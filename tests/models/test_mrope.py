"""Three axes in a decoder made for one: alike they are plain rotary positions, apart each turns its own channels."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.models.rope_utils import SuScaledRoPE

from engine.api.errors import CheckpointError
from engine.models.layers.mrope import tell_axes_apart
from engine.models.layers.rotary import share_rotary_tables

CONFIG = {"rope_parameters": {"rope_theta": 100.0, "mrope_section": [1, 2, 1]}}


def decoder(*ropes):
    """Of one attention layer for each rotary module."""
    model = nn.Module()
    model.layers = [nn.Module() for _ in ropes]
    for layer, rope in zip(model.layers, ropes, strict=True):
        layer.self_attn = nn.Module()
        layer.self_attn.rope = rope
    return model


@pytest.fixture(params=[False, True], ids=["plain", "tables"])
def made(request):
    model = decoder(nn.RoPE(8, base=100.0), nn.RoPE(8, base=100.0))
    step = tell_axes_apart(model, CONFIG)
    if request.param:
        share_rotary_tables(model)
    return model.layers[1].self_attn.rope, step


X = mx.random.normal((2, 3, 5, 8), key=mx.random.key(0))


def near(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=1e-5)


def test_without_positions_it_is_what_it_was(made):
    rope, _ = made
    near(rope(X, offset=7), nn.RoPE(8, base=100.0)(X, offset=7))


def test_axes_that_are_alike_are_plain_positions(made):
    rope, step = made
    with step.during(mx.broadcast_to(mx.arange(7, 12), (3, 2, 5)), 0):
        near(rope(X, offset=0), nn.RoPE(8, base=100.0)(X, offset=7))


def test_each_axis_turns_its_own_channels(made):
    rope, step = made
    places = [3, 11, 20]
    with step.during(mx.broadcast_to(mx.array(places)[:, None, None], (3, 2, 1)), 0):
        turned = rope(X[:, :, :1])
    for axis, channels in enumerate([[0, 4], [1, 2, 5, 6], [3, 7]]):
        whole = nn.RoPE(8, base=100.0)(X[:, :, :1], offset=places[axis])
        near(turned[..., channels], whole[..., channels])


def test_later_tokens_are_shifted_and_rows_may_be_shifted_differently(made):
    rope, step = made
    with step.during(None, -4):
        near(rope(X, offset=9), nn.RoPE(8, base=100.0)(X, offset=5))
    with step.during(None, mx.array([-4, 2])):
        both = rope(X, offset=9)
    for row, offset in enumerate([5, 11]):
        near(both[row], nn.RoPE(8, base=100.0)(X[row : row + 1], offset=offset)[0])


def test_nothing_is_left_of_a_step_even_one_that_failed(made):
    rope, step = made
    with pytest.raises(ValueError, match="torn"), step.during(mx.zeros((3, 1, 5), mx.int32), -4):
        raise ValueError("torn")
    near(rope(X, offset=2), nn.RoPE(8, base=100.0)(X, offset=2))


def test_numbers_keep_their_precision(made):
    rope, step = made
    with step.during(mx.zeros((3, 2, 5), mx.int32), 0):
        assert rope(X.astype(mx.bfloat16)).dtype == mx.bfloat16


def test_sections_that_do_not_fit_are_refused():
    with pytest.raises(CheckpointError, match=r"\[1, 2, 1\].* 16 turned channels"):
        tell_axes_apart(decoder(nn.RoPE(16)), CONFIG)


def test_scaled_positions_are_refused():
    scaled = SuScaledRoPE(8, original_max_position_embeddings=64, max_position_embeddings=128, long_factor=[1.0] * 4)
    with pytest.raises(CheckpointError, match="three axes"):
        tell_axes_apart(decoder(scaled), CONFIG)
