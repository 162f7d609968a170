"""A shared table turns as mlx-lm's own modules do, and leaves to them what it does not cover."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.models.rope_utils import Llama3RoPE

from engine.models.layers.rotary import TableRotary, share_rotary_tables

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


class Owner(nn.Module):
    def __init__(self, rope):
        super().__init__()
        self.rope = rope


def shared(*modules):
    decoder = nn.Module()
    decoder.layers = [Owner(module) for module in modules]
    share_rotary_tables(decoder)
    return [layer.rope for layer in decoder.layers]


@pytest.mark.parametrize(
    "module",
    [nn.RoPE(16, base=10000), nn.RoPE(16, base=500, scale=0.25), Llama3RoPE(16, base=10000, scaling_config=LLAMA3)],
)
@pytest.mark.parametrize(("offset", "length"), [(0, 1), (0, 7), (5, 1), (300, 4)])
def test_it_turns_as_the_module_does(module, offset, length):
    x = mx.random.normal((2, 3, length, 16), key=mx.random.key(1))
    (table,) = shared(module)
    assert isinstance(table, TableRotary)
    np.testing.assert_allclose(np.asarray(table(x, offset=offset)), np.asarray(module(x, offset=offset)), atol=3e-5)


def test_rows_are_turned_each_by_its_own_offset():
    first, second = shared(nn.RoPE(16), nn.RoPE(16))
    queries = mx.random.normal((3, 2, 1, 16), key=mx.random.key(1))
    keys = mx.random.normal((3, 1, 1, 16), key=mx.random.key(2))
    for offsets in ([0, 5, 300], [1, 6, 301]):
        rows = mx.array(offsets)
        for x, table in ((queries, first), (keys, first), (queries, second)):
            turned = table(x, offset=rows)
            assert mx.array_equal(
                turned, mx.concatenate([table(x[n : n + 1], offset=o) for n, o in enumerate(offsets)])
            )
            np.testing.assert_allclose(np.asarray(turned), np.asarray(nn.RoPE(16)(x, offset=rows)), atol=3e-5)


def test_layers_that_turn_alike_share_a_table_and_others_do_not():
    first, second, other = shared(nn.RoPE(16), nn.RoPE(16), nn.RoPE(16, base=500))
    x = mx.random.normal((1, 1, 3, 16), key=mx.random.key(1))
    assert first._table is second._table is not other._table
    assert not mx.array_equal(first(x, offset=4), other(x, offset=4))
    assert mx.array_equal(first(x, offset=4), second(x, offset=4))


@pytest.mark.parametrize("module", [nn.RoPE(16, traditional=True), nn.Linear(2, 2)])
def test_other_modules_stay(module):
    assert shared(module) == [module]


def test_several_tokens_of_rows_part_of_the_head_and_other_types_go_to_the_module():
    calls = []

    class Noted(nn.RoPE):
        def __call__(self, x, offset=0):
            calls.append(x.dtype)
            return super().__call__(x, offset=offset)

    (table,) = shared(nn.RoPE(8))
    noted = Noted(8)
    table._module[0] = noted
    x = mx.ones((2, 1, 3, 8))
    table(x, offset=mx.array([1, 2]))
    table(mx.ones((2, 1, 3, 12)), offset=1)
    table(x.astype(mx.bfloat16), offset=1)
    assert len(calls) == 3
    table(x, offset=1)
    assert len(calls) == 3
