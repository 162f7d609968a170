"""Codecs of keys and values: how far off they are, what they take, and that they depend on nothing beside a vector."""

from copy import deepcopy

import mlx.core as mx
import pytest

from engine.cache.codecs import codec_of
from engine.cache.lloyd_max import levels
from engine.cache.packing import joined, pack, unpack, words
from engine.cache.rotation import random_rotation
from engine.cache.turboquant import TurboQuant
from engine.cache.uniform import Uniform

# arXiv 2504.19874, theorem 1: squared error of a unit vector at 2, 3 and 4 bits, as Lloyd and Max give it for a
# Gaussian. Narrow heads are a little better off.
DISTORTION = {2: 0.1175, 3: 0.03455, 4: 0.0095}
EVERY = [Uniform(bits, size) for bits, size in ((8, 64), (4, 32), (3, 64), (2, 128))] + [
    TurboQuant(bits) for bits in (2, 3, 4)
]


def unit_vectors(count, width, seed=0, dtype=mx.float32):
    drawn = mx.random.normal((1, 1, count, width), key=mx.random.key(seed))
    return (drawn / mx.linalg.norm(drawn, axis=-1, keepdims=True)).astype(dtype)


def there_and_back(codec, x):
    return codec.decode(codec.encode(x), x.shape[-1], x.dtype)


def squared_error(codec, x):
    return mx.square(there_and_back(codec, x) - x).sum(axis=-1).mean().item()


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("width", [64, 80, 128, 256])
def test_turboquant_is_as_far_off_as_its_paper_says(bits, width):
    # Keeping the length costs a quarter of the error's square, 3 % at 2 bits.
    assert 0.9 * DISTORTION[bits] < squared_error(TurboQuant(bits), unit_vectors(2000, width)) < 1.04 * DISTORTION[bits]


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_turboquant_does_as_well_on_vectors_of_few_large_numbers(bits):
    """What a rotation is for: evenly spaced levels lose all but the largest of them."""
    outliers = unit_vectors(500, 128) * mx.array([30.0] * 2 + [1.0] * 126)
    outliers = outliers / mx.linalg.norm(outliers, axis=-1, keepdims=True)
    assert squared_error(TurboQuant(bits), outliers) < 1.25 * DISTORTION[bits]


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_turboquant_keeps_lengths_and_nearly_keeps_inner_products(bits):
    x, y = 5 * unit_vectors(3000, 128), unit_vectors(3000, 128, seed=1)
    found = there_and_back(TurboQuant(bits), x)
    assert mx.allclose(mx.linalg.norm(found, axis=-1), mx.array(5.0), rtol=1e-5)
    off = ((found - x) * y).sum(axis=-1) / 5
    # Errors in all directions alike: 1/D of the squared error falls on any one.
    assert mx.sqrt(mx.square(off).mean()).item() == pytest.approx((DISTORTION[bits] / 128) ** 0.5, rel=0.1)
    assert abs(off.mean().item()) < 0.003


def test_more_bits_are_nearer():
    x = unit_vectors(200, 64)
    for codecs in ([Uniform(bits) for bits in (2, 3, 4, 6, 8)], [TurboQuant(bits) for bits in (2, 3, 4)]):
        errors = [squared_error(codec, x) for codec in codecs]
        assert errors == sorted(errors, reverse=True)
        assert len(set(errors)) == len(errors)


@pytest.mark.parametrize("width", [20, 48, 72, 80, 96, 192])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_uniform_takes_heads_that_no_group_fits(bits, width):
    codec, x = Uniform(bits, 128), unit_vectors(50, width)
    step = (x.max(axis=-1) - x.min(axis=-1)).max() / (2**bits - 1)
    # MLX puts a level on zero or on the larger end, so that the other end may be half a step further off.
    assert mx.abs(there_and_back(codec, x) - x).max() <= 1.01 * step
    assert sum(part.nbytes for part in codec.encode(x)) * 8 == pytest.approx(
        codec.bits_per_value(width, mx.float32) * 50 * width
    )


def test_a_group_is_as_large_as_was_asked_for_where_that_fits():
    x = mx.zeros((1, 1, 1, 128))
    assert [Uniform(4, size).encode(x)[1].shape[-1] for size in (32, 64, 128)] == [4, 2, 1]
    assert Uniform(4, 128).encode(x[..., :96])[1].shape[-1] == 3


@pytest.mark.parametrize("codec", EVERY, ids=lambda codec: codec.name)
class TestEvery:
    @pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])
    def test_what_is_decoded_is_in_the_dtype_asked_for(self, codec, dtype):
        exact = unit_vectors(200, 64)
        x = exact.astype(dtype)
        found = there_and_back(codec, x)
        assert (found.dtype, found.shape) == (dtype, x.shape)
        assert mx.square(found.astype(mx.float32) - exact).sum(-1).mean().item() < squared_error(codec, exact) + 1e-3

    def test_the_bits_that_are_said_are_those_that_are_kept(self, codec):
        x = unit_vectors(7, 80, dtype=mx.bfloat16)
        kept = 8 * sum(part.nbytes for part in codec.encode(x))
        assert kept / x.size == pytest.approx(codec.bits_per_value(80, mx.bfloat16))

    def test_a_vector_is_encoded_by_itself(self, codec):
        x = mx.random.normal((3, 2, 5, 64), key=mx.random.key(0))
        for all_parts, one_part in zip(codec.encode(x), codec.encode(x[1:2, :, 3:4]), strict=True):
            assert mx.array_equal(all_parts[1:2, :, 3:4], one_part)

    def test_zeros_are_zeros_even_where_nothing_was_written(self, codec):
        zeros = mx.zeros((1, 1, 2, 64))
        encoded = codec.encode(zeros)
        assert mx.array_equal(codec.decode(encoded, 64, mx.float32), zeros)
        blank = tuple(map(mx.zeros_like, encoded))
        assert mx.array_equal(codec.decode(blank, 64, mx.float32), zeros)

    def test_its_name_is_all_that_has_to_be_known(self, codec):
        found = codec_of(codec.name)
        assert found == codec
        x = unit_vectors(3, 64)
        assert mx.array_equal(found.decode(codec.encode(x), 64, mx.float32), there_and_back(codec, x))


@pytest.mark.parametrize("name", ["", "uniform", "uniform-4", "zip-4-64", "uniform-four-64"])
def test_a_name_that_no_codec_has(name):
    with pytest.raises(ValueError, match=r"no codec|invalid literal"):
        codec_of(name)


def test_large_half_precision_numbers_do_not_overflow():
    x = mx.full((1, 1, 1, 64), 40000.0, dtype=mx.float16)
    assert mx.allclose(there_and_back(TurboQuant(4), x).astype(mx.float32), x.astype(mx.float32), rtol=0.3)


def test_copies_share_the_tables():
    codec = TurboQuant(3)
    assert deepcopy(codec) is codec


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 5, 10, 32, 64, 80, 96, 128])
def test_packing_loses_nothing(bits, count):
    codes = mx.random.randint(0, 2**bits, (3, 2, 4, count), key=mx.random.key(count)).astype(mx.uint32)
    packed = pack(codes, bits)
    assert (packed.dtype, packed.shape) == (mx.uint32, (3, 2, 4, words(bits, count)))
    assert mx.array_equal(unpack(packed, bits, count), codes)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("run", [2, 4])
@pytest.mark.parametrize("count", [1, 10, 64, 80, 129])
def test_neighbours_can_be_left_together(bits, run, count):
    codes = mx.random.randint(0, 2**bits, (2, 3, count), key=mx.random.key(count)).astype(mx.uint32)
    together = unpack(pack(codes, bits), bits, count, run)
    padded = mx.pad(codes, [(0, 0), (0, 0), (0, -count % run)])
    assert mx.array_equal(together, joined(padded.reshape(2, 3, -1, run), bits))
    every = mx.arange(2 ** (bits * run), dtype=mx.uint32)[:, None] >> mx.arange(0, bits * run, bits, dtype=mx.uint32)
    assert sorted(joined(every & (2**bits - 1), bits).tolist()) == list(range(2 ** (bits * run)))


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("width", [64, 80, 33])
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_turboquants_levels_are_looked_up_right(bits, width, dtype):
    codec = TurboQuant(bits)
    packed, size = codec.encode(unit_vectors(20, width).astype(dtype))
    table = mx.array(levels(bits, width)).astype(dtype)
    expected = table[unpack(packed, bits, width)] * size
    assert mx.array_equal(codec.decode_turned((packed, size), width, dtype), expected)


@pytest.mark.parametrize("codec", EVERY, ids=lambda codec: codec.name)
@pytest.mark.parametrize("width", [64, 80])
def test_turned_vectors_are_those_that_are_decoded(codec, width):
    x, y = unit_vectors(20, width), unit_vectors(20, width, seed=1)
    encoded = codec.encode(x)
    turned, plain = (read(encoded, width, mx.float32) for read in (codec.decode_turned, codec.decode))
    assert mx.allclose(codec.turn_back(turned), plain, atol=1e-5)
    assert mx.allclose((turned * codec.turn(y)).sum(-1), (plain * y).sum(-1), atol=1e-5)


def test_packing_wastes_nothing_where_words_are_full():
    assert [words(bits, 64) * 32 / 64 for bits in (2, 3, 4)] == [2, 3, 4]


def test_levels_are_those_of_max_in_a_wide_space():
    """Max, IRE IT 6, table 1: the Gaussian's, positive half."""
    assert levels(2, 100_000)[2:] == pytest.approx([0.4528, 1.510], abs=1e-3)
    assert levels(3, 100_000)[4:] == pytest.approx([0.2451, 0.7560, 1.344, 2.152], abs=2e-3)
    assert levels(4, 100_000)[8:10] == pytest.approx([0.1284, 0.3881], abs=1e-3)


def test_levels_never_lie_outside_of_the_sphere():
    assert max(levels(4, 2)) < 2**0.5
    assert max(levels(4, 16)) < max(levels(4, 1000))


@pytest.mark.parametrize("width", [64, 80])
def test_a_rotation_turns_back_and_keeps_what_lies_between_vectors(width):
    x, y = unit_vectors(20, width), unit_vectors(20, width, seed=1)
    rotation = random_rotation(width, seed=0)
    assert mx.allclose(rotation.back(rotation.turn(x)), x, atol=1e-5)
    assert mx.allclose((rotation.turn(x) * rotation.turn(y)).sum(-1), (x * y).sum(-1), atol=1e-5)
    assert mx.array_equal(random_rotation(width, seed=0).turn(x), rotation.turn(x))
    assert not mx.allclose(random_rotation(width, seed=1).turn(x), rotation.turn(x), atol=0.1)
