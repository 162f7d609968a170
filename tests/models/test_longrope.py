"""Texts that become longer than the short waves are for, alone and beside others."""

import mlx.core as mx
import pytest

from engine.models.layers.longrope import LongCache, LongRope

CONFIG = {
    "max_position_embeddings": 64,
    "rope_parameters": {
        "rope_theta": 100.0,
        "short_factor": [1.0, 1.2],
        "long_factor": [2.0, 5.0],
        "original_max_position_embeddings": 8,
    },
}


@pytest.fixture
def rope():
    return LongRope(4, CONFIG)


def filled(rope, keys, *ends):
    """A cache that keys (1, heads, L, d) were put into a piece at a time."""
    cache, start = LongCache(rope), 0
    for end in ends:
        piece = keys[:, :, start:end]
        cache.update_and_fetch(rope(piece, cache.offset), piece)
        start = end
    return cache


def close(first, second):
    return mx.allclose(first, second, atol=1e-5).item()


def test_keys_are_turned_on_where_a_text_grows_beyond_the_limit(rope):
    keys = mx.random.normal((1, 2, 12, 6))
    cache = filled(rope, keys, 5, 8, 9, 12)
    assert close(cache.keys_and_values()[0], rope(keys))
    assert not cache.is_trimmable()


def test_up_to_the_limit_the_short_waves_stay(rope):
    keys = mx.random.normal((1, 2, 8, 6))
    cache = filled(rope, keys, 3, 8)
    assert close(cache.keys_and_values()[0], rope(keys))
    assert not close(rope(keys), rope(mx.pad(keys, ((0, 0), (0, 0), (0, 1), (0, 0))))[:, :, :8])
    assert cache.is_trimmable()


def test_rows_of_a_batch_grow_beyond_it_one_by_one(rope):
    keys = mx.random.normal((3, 2, 14, 6))
    starts = (3, 7, 10)
    batch = LongCache.merge([filled(rope, keys[row : row + 1], start) for row, start in enumerate(starts)])
    for step in range(4):
        new = mx.concatenate(
            [keys[row : row + 1, :, start + step : start + step + 1] for row, start in enumerate(starts)]
        )
        batch.update_and_fetch(rope(new, batch.offset), new)
    for row, start in enumerate(starts):
        found = batch.extract(row)
        assert found.offset == start + 4
        assert close(found.keys_and_values()[0], rope(keys[row : row + 1, :, : start + 4]))
