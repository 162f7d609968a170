"""What is found of prompts computed before, what is not, and what goes when there is no room."""

import gc

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import ArraysCache, BatchKVCache, CacheList, KVCache, RotatingKVCache

from engine.cache.prefix import PrefixCache, has_way_back

WINDOW = 4
SCOPE = (None, "")


def key(*numbers):
    return np.array(numbers, np.int64)


def values_of(tokens):
    """(1, 1, L, 2), told apart by the tokens."""
    return mx.array(tokens, mx.float32)[None, None, :, None] * mx.ones((1, 1, 1, 2))


def fill(layer, tokens):
    for token in tokens:
        layer.update_and_fetch(values_of([token]), values_of([token]))
    return layer


def plain(*tokens):
    return [fill(KVCache(), tokens), fill(KVCache(), tokens)]


def windowed(*tokens):
    return [fill(KVCache(), tokens), fill(RotatingKVCache(WINDOW), tokens)]


def recurrent(*tokens):
    state = ArraysCache(1)
    state[0] = mx.array([[float(sum(tokens))]])
    return [fill(KVCache(), tokens), state]


def held(caches):
    """The tokens in the first layer."""
    keys, _ = caches[0].keys_and_values()
    return keys[0, 0, :, 0].astype(mx.int32).tolist()


@pytest.fixture
def prefixes():
    return PrefixCache(1 << 20)


def stops(length):
    return list(range(1, length + 1))


def test_a_prompt_that_begins_alike_is_found(prefixes):
    prefixes.store(SCOPE, key(1, 2, 3, 4), plain(1, 2, 3, 4))
    found = prefixes.find(SCOPE, key(1, 2, 3, 9, 9), stops(4))
    assert found.length == 3
    assert held(found.caches) == [1, 2, 3]
    assert [layer.offset for layer in found.caches] == [3, 3]


def test_the_longest_wins(prefixes):
    prefixes.store(SCOPE, key(1, 2, 7, 7, 7, 7), plain(1, 2, 7, 7, 7, 7))
    prefixes.store(SCOPE, key(1, 2, 3, 4), plain(1, 2, 3, 4))
    prefixes.store(SCOPE, key(1, 8, 8), plain(1, 8, 8))
    assert prefixes.find(SCOPE, key(1, 2, 3, 4, 5), stops(4)).length == 4


def test_nothing_is_found_where_nothing_is_alike(prefixes):
    prefixes.store(SCOPE, key(1, 2, 3), plain(1, 2, 3))
    assert prefixes.find(SCOPE, key(2, 1, 3), stops(2)) is None
    counts = prefixes.counts
    assert (counts.hits, counts.misses, counts.tokens_saved, counts.entries) == (0, 1, 0, 1)


def test_a_stop_is_never_passed(prefixes):
    prefixes.store(SCOPE, key(1, 2, 3, 4, 5, 6), plain(1, 2, 3, 4, 5, 6))
    found = prefixes.find(SCOPE, key(1, 2, 3, 4, 5, 6, 7), [2, 4])
    assert (found.length, held(found.caches)) == (4, [1, 2, 3, 4])
    assert prefixes.find(SCOPE, key(1, 9, 3), [2]) is None
    assert prefixes.find(SCOPE, key(1, 2, 3), []) is None


@pytest.mark.parametrize("other", [("pictures", ""), (None, "somebody else")])
def test_scopes_are_kept_apart(prefixes, other):
    prefixes.store(SCOPE, key(1, 2, 3), plain(1, 2, 3))
    assert prefixes.find(other, key(1, 2, 3, 4), stops(3)) is None
    prefixes.store(other, key(1, 2), plain(1, 2))
    assert prefixes.find(other, key(1, 2, 3, 4), stops(3)).length == 2
    assert prefixes.counts.entries == 2


@pytest.mark.parametrize("kept", [windowed, recurrent])
def test_what_has_no_way_back_is_found_as_a_whole(prefixes, kept):
    prefixes.store(SCOPE, key(1, 2, 3, 4, 5), kept(1, 2, 3, 4, 5))
    assert prefixes.find(SCOPE, key(1, 2, 3, 4, 9, 9), stops(5)) is None
    assert prefixes.find(SCOPE, key(1, 2, 3, 4, 5, 6), [3, 4]) is None
    assert prefixes.find(SCOPE, key(1, 2, 3, 4, 5, 6), stops(5)).length == 5


def test_a_window_that_has_not_slid_yet_has_a_way_back(prefixes):
    prefixes.store(SCOPE, key(1, 2, 3), windowed(1, 2, 3))
    found = prefixes.find(SCOPE, key(1, 2, 9), stops(2))
    assert held(found.caches) == [1, 2]
    assert found.caches[1].offset == 2


def test_a_longer_entry_replaces_its_beginnings(prefixes):
    prefixes.store(SCOPE, key(1, 2), plain(1, 2))
    prefixes.store(SCOPE, key(1, 3), plain(1, 3))
    prefixes.store(("pictures", ""), key(1, 2), plain(1, 2))
    prefixes.store(SCOPE, key(1, 2, 3), plain(1, 2, 3))
    assert prefixes.counts.entries == 3
    assert prefixes.counts.evictions == 0
    assert prefixes.find(SCOPE, key(1, 3, 5), stops(2)).length == 2


def test_without_a_way_back_beginnings_stay(prefixes):
    for length in (2, 4, 6):
        prefixes.store(SCOPE, key(*range(length)), recurrent(*range(length)))
    assert prefixes.counts.entries == 3
    assert prefixes.find(SCOPE, key(0, 1, 2, 3, 4, 9), stops(5)).length == 4


def test_the_beginning_of_what_is_here_is_not_kept_again(prefixes):
    assert prefixes.store(SCOPE, key(1, 2, 3), plain(1, 2, 3))
    assert not prefixes.store(SCOPE, key(1, 2), plain(1, 2))
    assert not prefixes.store(SCOPE, key(1, 2, 3), plain(1, 2, 3))
    assert prefixes.counts.entries == 1


def test_what_is_found_is_the_callers_own(prefixes):
    prefixes.store(SCOPE, key(1, 2, 3), plain(1, 2, 3))
    fill(prefixes.find(SCOPE, key(1, 2, 9), stops(2)).caches[0], [77, 78])
    assert held(prefixes.find(SCOPE, key(1, 2, 3, 4), stops(3)).caches) == [1, 2, 3]


def size(*tokens):
    return sum(layer.nbytes for layer in plain(*tokens))


def test_what_was_used_longest_ago_goes_first():
    prefixes = PrefixCache(2 * size(1))
    prefixes.store(SCOPE, key(1, 1), plain(1, 1))
    prefixes.store(SCOPE, key(2, 2), plain(2, 2))
    prefixes.find(SCOPE, key(1, 1, 5), stops(2))
    prefixes.store(SCOPE, key(3, 3), plain(3, 3))
    assert [prefixes.reach(SCOPE, key(first, first, 9), stops(2)) for first in (1, 2, 3)] == [2, 0, 2]
    counts = prefixes.counts
    assert (counts.entries, counts.evictions, counts.bytes) == (2, 1, 2 * size(1))
    assert counts.bytes == prefixes.bytes


def test_storing_again_is_use():
    prefixes = PrefixCache(2 * size(1))
    for first in (1, 2, 1, 3):
        prefixes.store(SCOPE, key(first, first), plain(first, first))
    assert prefixes.reach(SCOPE, key(1, 1, 9), stops(2)) == 2


def test_what_is_larger_than_all_the_room_is_not_kept():
    prefixes = PrefixCache(size(1) - 1)
    assert not prefixes.store(SCOPE, key(1), plain(1))
    assert prefixes.counts.entries == prefixes.bytes == 0


def test_an_empty_key_is_not_kept(prefixes):
    assert not prefixes.store(SCOPE, key(), [KVCache()])
    assert prefixes.counts.entries == 0


def test_it_can_be_made_smaller(prefixes):
    for first in (1, 2, 3):
        prefixes.store(SCOPE, key(first, 5), plain(first, 5))
    prefixes.shrink(size(1))
    assert prefixes.counts.entries == 1
    assert prefixes.reach(SCOPE, key(3, 5, 6), stops(2)) == 2
    prefixes.shrink(0)
    assert prefixes.bytes == 0


def test_reset_forgets_everything(prefixes):
    prefixes.store(SCOPE, key(1, 2), plain(1, 2))
    prefixes.find(SCOPE, key(1, 2, 3), stops(2))
    prefixes.reset()
    assert prefixes.find(SCOPE, key(1, 2, 3), stops(2)) is None
    assert prefixes.counts.hits == prefixes.counts.entries == prefixes.bytes == 0


def test_counts(prefixes):
    prefixes.store(SCOPE, key(1, 2, 3), plain(1, 2, 3))
    prefixes.find(SCOPE, key(1, 2, 3, 4), stops(3))
    prefixes.find(SCOPE, key(1, 2, 9, 4), stops(3))
    prefixes.find(SCOPE, key(9), stops(1))
    prefixes.reach(SCOPE, key(1, 2, 3, 4), stops(3))
    counts = prefixes.counts
    assert (counts.hits, counts.misses, counts.tokens_saved) == (2, 1, 5)


@pytest.mark.parametrize("kind", ["recurrent", "full"])
def test_a_row_of_a_batch_does_not_keep_the_batch(prefixes, kind):
    rows, width = 16, 1 << 18
    gc.collect()
    before = mx.get_active_memory()
    if kind == "recurrent":
        batch = ArraysCache(1)
        batch[0] = mx.zeros((rows, width // 4))
    else:
        batch = BatchKVCache([0] * rows)
        batch.update_and_fetch(mx.zeros((rows, 1, 1, width // 8 // 256)), mx.zeros((rows, 1, 1, width // 8 // 256)))
    mx.eval(batch.state)
    row = batch.extract(0)
    assert prefixes.store(SCOPE, key(1), [row])
    mx.synchronize()
    del batch, row
    gc.collect()
    assert mx.get_active_memory() - before < 2 * prefixes.bytes + 4096


@pytest.mark.parametrize(
    ("caches", "tokens", "way_back"),
    [
        ([KVCache()], 10**6, True),
        ([KVCache(), RotatingKVCache(100)], 99, True),
        ([KVCache(), RotatingKVCache(100)], 100, False),
        ([KVCache(), ArraysCache(1)], 1, False),
        ([CacheList(KVCache(), KVCache())], 1000, True),
        ([CacheList(KVCache(), RotatingKVCache(100))], 100, False),
        ([CacheList(ArraysCache(2), KVCache())], 1, False),
    ],
)
def test_which_caches_have_a_way_back(caches, tokens, way_back):
    assert has_way_back(caches, tokens) is way_back
