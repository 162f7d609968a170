import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import KVCache, RotatingKVCache

from engine.models.layers.blocks import looking_ahead, seen_both_ways, stops_around, stretches


def drawn(mask):
    return ["".join("x" if seen else "." for seen in row) for row in np.array(mask)]


def test_stretches_are_counted():
    inside = np.array([1, 1, 0, 1, 0, 0, 1], bool)
    assert stretches(inside).tolist() == [0, 0, -1, 1, -1, -1, 2]


@pytest.mark.parametrize(
    ("stops", "moved"), [([2, 4, 6], [4, 6]), ([3, 5, 6], [4, 5, 6]), ([1, 6], [1, 6]), ([3, 4], [4]), ([], [])]
)
def test_stops_never_part_a_stretch(stops, moved):
    assert stops_around(stops, np.array([0, 1, 1, 1, 0, 0, 0], bool)) == moved


def test_a_block_looks_ahead_inside_itself_only():
    (cache,) = looking_ahead([KVCache()])
    with seen_both_ways([cache], mx.array([-1, 0, 0, 1, 1]), whole=False):
        assert drawn(cache.make_mask(5)) == ["x....", "xxx..", "xxx..", "xxxxx", "xxxxx"]
    assert cache.make_mask(5) == "causal"


@pytest.mark.parametrize(("whole", "last"), [(False, ".xx"), (True, "xxx")])
def test_a_window_bounds_how_far_a_block_looks_back_unless_it_is_seen_whole(whole, last):
    (cache,) = looking_ahead([RotatingKVCache(2)])
    with seen_both_ways([cache], mx.array([0, 0, 0]), whole=whole):
        assert drawn(cache.make_mask(3)) == ["xxx", "xxx", last]


def test_keys_of_earlier_steps_are_seen_as_ever():
    (cache,) = looking_ahead([KVCache()])
    cache.update_and_fetch(mx.zeros((1, 1, 2, 4)), mx.zeros((1, 1, 2, 4)))
    with seen_both_ways([cache], mx.array([0, 0]), whole=False):
        assert drawn(cache.make_mask(2)) == ["xxxx", "xxxx"]
        assert cache.make_mask(1) is None
