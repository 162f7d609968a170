"""What a codec of keys or values is: few bits in the place of each number, and the way back.

Knows nothing of caches, nor of how codecs are chosen.
"""

from typing import Protocol

import mlx.core as mx

Encoded = tuple[mx.array, ...]
"""(B, H, L, w) each, w being the part's own. A token's share of every part lies along the last axis, so parts are cut,
padded and put side by side like the keys themselves. Zeros stand for a vector of zeros."""


class Codec(Protocol):
    """Each vector of D numbers is encoded by itself: what comes out depends on nothing that lies beside it.

    Codecs of the same name are equal, and can read what the other has written.
    """

    @property
    def name(self) -> str:
        """Such as "uniform-4-64": what `engine.cache.codecs.codec_of` reads."""
        ...

    def encode(self, x: mx.array) -> Encoded:
        """(B, H, L, D), any float, any D above 0."""
        ...

    def decode(self, encoded: Encoded, width: int, dtype: mx.Dtype) -> mx.array:
        """(B, H, L, D) in `dtype`; `width` is D."""
        ...

    def decode_turned(self, encoded: Encoded, width: int, dtype: mx.Dtype) -> mx.array:
        """`turn` of what `decode` gives, for less."""
        ...

    def turn(self, x: mx.array) -> mx.array:
        """(..., D) -> (..., D), linear; keeps inner products. Whatever a codec does to all vectors alike."""
        ...

    def turn_back(self, x: mx.array) -> mx.array:
        """What `turn` was given."""
        ...

    def bits_per_value(self, width: int, dtype: mx.Dtype) -> float:
        """All that is stored for a vector, of `width` numbers that came in `dtype`, shared among them."""
        ...
