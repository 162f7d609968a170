"""Compressed caches do with rows, tokens and padding what mlx-lm's own do, bit for bit."""

from copy import deepcopy

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models.base import create_attention_mask, scaled_dot_product_attention
from mlx_lm.models.cache import KVCache, can_trim_prompt_cache, trim_prompt_cache

from engine.cache.compressed import BatchCompressedKVCache, CompressedKVCache
from engine.cache.state import settle
from engine.cache.turboquant import TurboQuant
from engine.cache.uniform import Uniform

HEADS, KEY, VALUE = 2, 64, 32
CODECS = [(Uniform(8), Uniform(4, 32)), (TurboQuant(3), TurboQuant(4))]


@pytest.fixture(params=CODECS, ids=["uniform", "turboquant"])
def codecs(request):
    return request.param


def tokens(count, seed, rows=1, dtype=mx.float32):
    """Keys and values of so many."""
    first, second = mx.random.split(mx.random.key(seed))
    return tuple(
        mx.random.normal((rows, HEADS, count, width), key=key).astype(dtype)
        for key, width in ((first, KEY), (second, VALUE))
    )


def decoded(codecs, keys, values):
    """What a plain cache has to be given to hold what a compressed one does."""
    return tuple(
        codec.decode(codec.encode(x), x.shape[-1], x.dtype) for codec, x in zip(codecs, (keys, values), strict=True)
    )


class Pair:
    """A compressed cache and a plain one, to which the same is done; both must be the same all along."""

    def __init__(self, codecs, mine, plain):
        self.codecs, self.mine, self.plain = codecs, mine, plain

    @classmethod
    def single(cls, codecs, count=0, seed=0):
        pair = cls(codecs, CompressedKVCache(*codecs), KVCache())
        if count:
            pair.update(*tokens(count, seed))
        return pair

    @classmethod
    def merged(cls, pairs):
        mine, plain = [pair.mine for pair in pairs], [pair.plain for pair in pairs]
        return cls(pairs[0].codecs, type(mine[0]).merge(mine), KVCache.merge(plain))

    def update(self, keys, values):
        found = self.mine.update_and_fetch(keys, values)
        expected = self.plain.update_and_fetch(*decoded(self.codecs, keys, values))
        assert all(map(mx.array_equal, found, expected))
        self.check()

    def do(self, name, *arguments):
        results = [getattr(cache, name)(*arguments) for cache in (self.mine, self.plain)]
        self.check()
        return results

    def check(self):
        mine, plain = self.mine, self.plain
        assert mine.size() == plain.size()
        assert mine.empty() == plain.empty()
        assert mx.array_equal(mx.array(mine.offset), mx.array(plain.offset))
        if isinstance(mine, BatchCompressedKVCache):
            assert mx.array_equal(mine.left_padding, plain.left_padding)
        for count in (1, 3):
            masks = [
                create_attention_mask(mx.zeros((1, count, 4)), cache, return_array=True) for cache in (mine, plain)
            ]
            assert masks[0] is masks[1] is None or mx.array_equal(*masks)
        if not mine.empty():
            assert all(map(mx.array_equal, mine.keys_and_values(), plain.keys_and_values()))


def test_tokens_come_in_pieces_of_any_size(codecs):
    pair = Pair.single(codecs)
    pair.check()
    for seed, count in enumerate((5, 1, 1, 300, 1, 205, 1, 1)):
        pair.update(*tokens(count, seed))


def test_pieces_do_not_matter(codecs):
    keys, values = tokens(40, 0)
    whole, parts = CompressedKVCache(*codecs), CompressedKVCache(*codecs)
    whole.update_and_fetch(keys, values)
    for start, stop in ((0, 17), (17, 39), (39, 40)):
        found = parts.update_and_fetch(keys[:, :, start:stop], values[:, :, start:stop])
    assert all(map(mx.array_equal, found, whole.keys_and_values()))


def test_room_is_made_for_many_tokens_at_a_time(codecs):
    cache = CompressedKVCache(*codecs)
    sizes = []
    for seed in range(300):
        cache.update_and_fetch(*tokens(1, seed))
        sizes.append(cache.nbytes)
    assert set(sizes[:256]) == {sizes[0]}
    assert set(sizes[256:]) == {2 * sizes[0]}


@pytest.mark.parametrize(("bits", "least"), [(8, 1.8), (4, 3.5), (2, 6.0)])
def test_bytes_are_saved(bits, least):
    plain, compressed = KVCache(), CompressedKVCache(Uniform(bits), Uniform(bits))
    for cache in (plain, compressed):
        keys, _ = tokens(100, 0, dtype=mx.bfloat16)
        cache.update_and_fetch(keys, keys)
    assert plain.nbytes > least * compressed.nbytes


def test_turboquant_saves_what_it_says():
    plain, compressed = KVCache(), CompressedKVCache(TurboQuant(3), TurboQuant(4))
    for cache in (plain, compressed):
        keys, _ = tokens(100, 0, dtype=mx.bfloat16)
        cache.update_and_fetch(keys, keys)
    assert plain.nbytes / compressed.nbytes == pytest.approx(16 / (3.5 + 16 / KEY))


def test_the_model_gets_its_own_dtype_back(codecs):
    for dtype in (mx.float16, mx.bfloat16, mx.float32):
        cache = CompressedKVCache(*codecs)
        assert [part.dtype for part in cache.update_and_fetch(*tokens(3, 0, dtype=dtype))] == [dtype, dtype]
        assert [part.dtype for part in cache.keys_and_values()] == [dtype, dtype]


def test_the_end_can_be_trimmed_and_written_anew(codecs):
    pair = Pair.single(codecs, 20)
    assert can_trim_prompt_cache([pair.mine])
    assert pair.do("trim", 7) == [7, 7]
    pair.update(*tokens(3, 1))
    assert pair.do("trim", 100) == [16, 16]
    pair.update(*tokens(2, 2))
    assert trim_prompt_cache([pair.mine], 1) == 1


def test_rows_of_different_lengths_are_put_side_by_side(codecs):
    batch = Pair.merged([Pair.single(codecs, count, seed) for seed, count in enumerate((3, 300, 1))])
    for seed in range(3):
        batch.update(*tokens(1, 10 + seed, rows=3))


def test_rows_without_a_token_can_be_merged(codecs):
    batch = Pair.merged([Pair.single(codecs), Pair.single(codecs)])
    batch.update(*tokens(2, 0, rows=2))
    batch = Pair.merged([Pair.single(codecs, 4), Pair.single(codecs)])
    batch.update(*tokens(1, 0, rows=2))


def test_rows_join_and_leave(codecs):
    batch = Pair.merged([Pair.single(codecs, 5, 1), Pair.single(codecs, 260, 2)])
    batch.update(*tokens(1, 3, rows=2))
    newcomers = Pair.merged([Pair.single(codecs, 9, 4), Pair.single(codecs, 2, 5)])
    for cache, other in ((batch.mine, newcomers.mine), (batch.plain, newcomers.plain)):
        cache.extend(other)
    batch.check()
    batch.update(*tokens(1, 6, rows=4))
    # Without the longest row a part of the padding goes.
    batch.do("filter", mx.array([0, 2, 3]))
    batch.update(*tokens(1, 7, rows=3))
    batch.do("filter", [2])
    batch.update(*tokens(2, 8))
    assert batch.do("trim", 1) == [1, 1]


def test_longer_rows_can_join_shorter_ones(codecs):
    batch = Pair.merged([Pair.single(codecs, 5, 1)])
    longer = Pair.merged([Pair.single(codecs, 600, 2)])
    for cache, other in ((batch.mine, longer.mine), (batch.plain, longer.plain)):
        cache.extend(other)
    batch.check()
    batch.update(*tokens(1, 3, rows=2))


@pytest.mark.parametrize("empty_first", [False, True])
def test_an_empty_batch_and_a_filled_one(codecs, empty_first):
    """The empty one's rows have nothing but padding."""
    filled, empty = Pair.merged([Pair.single(codecs, 4)]), Pair.merged([Pair.single(codecs)])
    first, second = (empty, filled) if empty_first else (filled, empty)
    for cache, other in ((first.mine, second.mine), (first.plain, second.plain)):
        cache.extend(other)
    first.check()
    first.update(*tokens(1, 1, rows=2))


def test_two_empty_batches(codecs):
    batches = [Pair.merged([Pair.single(codecs)]) for _ in range(2)]
    for cache, other in ((batches[0].mine, batches[1].mine), (batches[0].plain, batches[1].plain)):
        cache.extend(other)
    batches[0].update(*tokens(1, 1, rows=2))


def test_a_row_taken_out_is_what_it_was_alone(codecs):
    lengths = (3, 30, 1)
    singles = [Pair.single(codecs, count, seed) for seed, count in enumerate(lengths)]
    batch = Pair.merged(singles)
    keys, values = tokens(2, 9, rows=3)
    batch.update(keys, values)
    for row, (single, length) in enumerate(zip(singles, lengths, strict=True)):
        single.update(keys[row : row + 1], values[row : row + 1])
        taken = batch.mine.extract(row)
        assert type(taken) is CompressedKVCache
        assert taken.offset == length + 2
        assert all(map(mx.array_equal, taken.keys_and_values(), single.mine.keys_and_values()))
        assert taken.nbytes < single.mine.nbytes
        pair = Pair(codecs, taken, batch.plain.extract(row))
        pair.update(*tokens(1, 20))


def test_a_row_without_tokens_is_taken_out(codecs):
    taken = Pair.merged([Pair.single(codecs)]).mine.extract(0)
    assert taken.empty()
    taken.update_and_fetch(*tokens(1, 0))


def test_padding_on_the_right_moves_to_the_left(codecs):
    pair = Pair.merged([Pair.single(codecs), Pair.single(codecs)])
    for cache in (pair.mine, pair.plain):
        cache.prepare(lengths=[5, 3], right_padding=[0, 2])
    keys, values = tokens(5, 0, rows=2)
    pair.mine.update_and_fetch(keys, values)
    pair.plain.update_and_fetch(*decoded(codecs, keys, values))
    pair.do("finalize")
    pair.update(*tokens(1, 1, rows=2))
    pair.do("finalize")


def test_padding_on_the_left_is_never_seen(codecs):
    """What attention makes of a row does not depend on its neighbours."""
    alone = CompressedKVCache(*codecs)
    own, queries = tokens(4, 0), mx.random.normal((1, HEADS, 1, KEY), key=mx.random.key(5))
    alone.update_and_fetch(*own)
    other = CompressedKVCache(*codecs)
    other.update_and_fetch(*tokens(50, 1))
    batch = CompressedKVCache.merge([alone, other])

    def attend(cache, rows):
        mask = create_attention_mask(mx.zeros((rows, 1, 4)), cache)
        keys, values = cache.update_and_fetch(*(mx.repeat(part, rows, axis=0) for part in tokens(1, 2)))
        query = mx.repeat(queries, rows, axis=0)
        return scaled_dot_product_attention(query, keys, values, cache=cache, scale=0.125, mask=mask)

    assert mx.allclose(attend(batch, 2)[:1], attend(alone, 1), atol=1e-6)


@pytest.mark.parametrize("rows", [0, 2])
def test_state_is_all_there_is_to_a_cache(codecs, rows):
    pair = Pair.single(codecs, 7) if not rows else Pair.merged([Pair.single(codecs, n, n) for n in range(1, rows + 1)])
    state = pair.mine.state
    mx.eval(state)
    names = [name for name, _ in tree_flatten(state)]
    assert len(names) == len(set(names))
    found = type(pair.mine).from_state(deepcopy(state))
    copied = Pair(codecs, found, deepcopy(pair.plain))
    copied.check()
    copied.update(*tokens(1, 9, rows=rows or 1))
    pair.check()


def test_a_state_that_is_put_back_changes_no_codec(codecs):
    pair = Pair.single(codecs, 3)
    settle([pair.mine])
    pair.check()
    pair.update(*tokens(1, 1))
    assert pair.mine.key_codec is pair.mine.keys.codec is codecs[0]


def test_an_empty_cache_has_a_state(codecs):
    found = CompressedKVCache.from_state(CompressedKVCache(*codecs).state)
    assert found.empty()
    assert (found.key_codec, found.value_codec) == codecs
    assert found.nbytes == 0


def test_a_copy_goes_its_own_way(codecs):
    pair = Pair.single(codecs, 5)
    copied = deepcopy(pair.mine)
    copied.trim(3)
    copied.update_and_fetch(*tokens(2, 1))
    pair.check()
    assert copied.offset == 4


def test_caches_of_different_codecs_are_not_mixed():
    rows = [CompressedKVCache(TurboQuant(3), TurboQuant(bits)) for bits in (3, 4)]
    for row in rows:
        row.update_and_fetch(*tokens(2, 0))
    with pytest.raises(ValueError, match=r"turboquant-3-0, turboquant-4-0"):
        CompressedKVCache.merge(rows)


def test_mlx_lm_is_not_led_to_an_attention_of_its_own(codecs):
    for cache in (CompressedKVCache(*codecs), CompressedKVCache.merge([CompressedKVCache(*codecs)])):
        assert not hasattr(cache, "bits")
    assert type(CompressedKVCache(*codecs).to_quantized()) is CompressedKVCache
