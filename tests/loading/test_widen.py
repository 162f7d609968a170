"""How much of a model becomes float32 on a CPU depends on what is free."""

import mlx.core as mx

from engine.loading.widen import widen

PACKED = {"a": {"group_size": 32, "bits": 4, "mode": "affine"}}


def packed_weights():
    weight, scales, biases = mx.quantize(mx.random.normal((64, 64)).astype(mx.bfloat16), 32, 4)
    norm = mx.ones((64,), dtype=mx.bfloat16)
    return {"a.weight": weight, "a.scales": scales, "a.biases": biases, "norm.weight": norm}


def test_everything_where_it_fits():
    widened = widen(packed_weights(), PACKED, free=1 << 20)
    assert {name: array.dtype for name, array in widened.weights.items()} == {
        "a.weight": mx.float32,
        "norm.weight": mx.float32,
    }
    assert widened.packed == {}
    assert "float32" in widened.note


def test_only_what_is_not_packed_where_the_rest_would_not_fit():
    widened = widen(packed_weights(), PACKED, free=5000)
    assert widened.weights["a.weight"].dtype == mx.uint32
    assert widened.weights["a.scales"].dtype == widened.weights["norm.weight"].dtype == mx.float32
    assert widened.packed == PACKED
    assert "slow" in widened.note
    assert "17 kB" in widened.note


def test_nothing_where_nothing_fits():
    weights = packed_weights()
    assert widen(weights, PACKED, free=100).weights == weights
    plain = {"a": mx.ones((64, 64), dtype=mx.bfloat16)}
    assert widen(plain, {}, free=100).weights is plain


def test_float32_is_left_alone_without_a_word():
    weights = {"a": mx.ones((2,)), "indices": mx.arange(3)}
    widened = widen(weights, {}, free=0)
    assert widened.weights is weights
    assert widened.note == ""
