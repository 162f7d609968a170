"""Pictures are looked at once, for as long as there is room for what was seen."""

import mlx.core as mx
import pytest

from engine.cache.features import FeatureCache

SCOPE = (None, "")
BYTES = 4 * 8 * 4


def seen(number):
    return mx.full((4, 8), float(number))


@pytest.fixture
def features():
    return FeatureCache(3 * BYTES)


def test_what_was_seen_is_found(features):
    assert features.find(SCOPE, "a") is None
    features.store(SCOPE, "a", seen(1))
    assert mx.array_equal(features.find(SCOPE, "a"), seen(1))
    counts = features.counts
    assert (counts.hits, counts.misses, counts.entries, counts.bytes, counts.tokens_saved) == (1, 1, 1, BYTES, 0)


@pytest.mark.parametrize("other", [("pictures", ""), (None, "somebody else")])
def test_scopes_are_kept_apart(features, other):
    features.store(SCOPE, "a", seen(1))
    assert features.find(other, "a") is None
    features.store(other, "a", seen(2))
    assert mx.array_equal(features.find(SCOPE, "a"), seen(1))


def test_what_was_used_longest_ago_goes_first(features):
    for number, digest in enumerate("abc"):
        features.store(SCOPE, digest, seen(number))
    features.find(SCOPE, "a")
    features.store(SCOPE, "d", seen(3))
    assert features.counts.evictions == 1
    assert [features.find(SCOPE, digest) is not None for digest in "abcd"] == [True, False, True, True]
    assert features.bytes == 3 * BYTES


def test_storing_again_counts_once(features):
    features.store(SCOPE, "a", seen(1))
    features.store(SCOPE, "a", mx.zeros((8, 8)))
    assert features.bytes == 2 * BYTES
    assert features.counts.entries == 1


def test_what_is_larger_than_all_the_room_is_not_kept(features):
    features.store(SCOPE, "a", seen(1))
    features.store(SCOPE, "b", mx.zeros((100, 8)))
    assert features.find(SCOPE, "b") is None
    assert features.find(SCOPE, "a") is not None
    nothing = FeatureCache(0)
    nothing.store(SCOPE, "a", seen(1))
    assert nothing.find(SCOPE, "a") is None


def test_it_can_be_made_smaller_and_forgets(features):
    for digest in "abc":
        features.store(SCOPE, digest, seen(1))
    features.shrink(BYTES)
    assert (features.bytes, features.counts.evictions) == (BYTES, 2)
    features.reset()
    assert features.bytes == features.counts.entries == features.counts.evictions == 0
    assert features.find(SCOPE, "c") is None
