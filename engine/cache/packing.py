"""Numbers of 2, 3 or 4 bits side by side in words of 32 bits.

Knows nothing of what the numbers stand for. A number never lies in two words: one of 3 bits is kept as 2 bits and 1.
"""

import mlx.core as mx

WORD = 32
_FIELDS = {2: (2,), 3: (2, 1), 4: (4,)}


def words(bits: int, count: int) -> int:
    """How many words `count` numbers take."""
    return sum(_words(field, count) for field in _FIELDS[bits])


def pack(codes: mx.array, bits: int) -> mx.array:
    """(..., D) uint32, each below 2^bits -> (..., words) uint32. The first number is in a word's lowest bits."""
    count = codes.shape[-1]
    packed = []
    for field in _FIELDS[bits]:
        part = codes & (2**field - 1)
        missing = _words(field, count) * WORD // field - count
        if missing:
            part = mx.pad(part, [*[(0, 0)] * (codes.ndim - 1), (0, missing)])
        part = part.reshape(*codes.shape[:-1], -1, WORD // field) << _places(field)
        # No two of them have a bit in common, so their sum is all of them.
        packed.append(part.sum(axis=-1))
        codes = codes >> field
    return mx.concatenate(packed, axis=-1)


def unpack(packed: mx.array, bits: int, count: int, run: int = 1) -> mx.array:
    """(..., words) -> (..., count) uint32: what `pack` was given.

    With a `run` of 2 or more that divides 32 / `bits`, neighbours are left together, (..., count / run rounded up), as
    `joined` puts them: whoever looks them up in a table has fewer to look up."""
    codes, done = None, 0
    for field in _FIELDS[bits]:
        width = _words(field, count)
        part = (packed[..., :width, None] >> _places(field * run)) & (2 ** (field * run) - 1)
        part = part.flatten(-2)[..., : -(-count // run)]
        codes = part if codes is None else codes | (part << done)
        packed, done = packed[..., width:], done + field * run
    return codes


def joined(codes: mx.array, bits: int) -> mx.array:
    """(..., run) uint32, each below 2^bits -> (...) uint32: one number for all of them, as `unpack` leaves them."""
    run, whole, done = codes.shape[-1], mx.zeros(codes.shape[:-1], mx.uint32), 0
    for field in _FIELDS[bits]:
        part = (codes & (2**field - 1)) << mx.arange(0, field * run, field, dtype=mx.uint32)
        whole, codes, done = whole | (part.sum(axis=-1) << done), codes >> field, done + field * run
    return whole


def _words(field: int, count: int) -> int:
    return -(-count * field // WORD)


def _places(field: int) -> mx.array:
    return mx.arange(0, WORD, field, dtype=mx.uint32)
