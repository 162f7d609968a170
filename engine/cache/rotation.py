"""Random rotations, after which no coordinate of a vector stands out: the same for the same seed and width.

Knows nothing of what is done between turning and turning back.
"""

from typing import Protocol

import mlx.core as mx
import numpy as np


class Rotation(Protocol):
    """Keeps lengths and inner products."""

    def turn(self, x: mx.array) -> mx.array:
        """(..., D) -> (..., D)."""
        ...

    def back(self, x: mx.array) -> mx.array:
        """What `turn` was given."""
        ...


class Hadamard:
    """Signs drawn once, then the Walsh-Hadamard transform, which takes D log D steps (arXiv 2404.00456)."""

    def __init__(self, width: int, seed: int) -> None:
        self._signs = mx.array(np.random.default_rng(seed).choice([-1.0, 1.0], width).astype(np.float32))

    def turn(self, x: mx.array) -> mx.array:
        return mx.hadamard_transform(x * self._signs.astype(x.dtype))

    def back(self, x: mx.array) -> mx.array:
        return mx.hadamard_transform(x) * self._signs.astype(x.dtype)


class Dense:
    """The orthogonal factor of a matrix of Gaussian numbers, for widths that are no power of two."""

    def __init__(self, width: int, seed: int) -> None:
        factor, triangle = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))
        # With the signs of the diagonal every rotation is as likely as any other (Mezzadri, arXiv math-ph/0609050).
        self._matrix = mx.array((factor * np.sign(np.diag(triangle))).astype(np.float32))

    def turn(self, x: mx.array) -> mx.array:
        return x @ self._matrix.astype(x.dtype)

    def back(self, x: mx.array) -> mx.array:
        return x @ self._matrix.T.astype(x.dtype)


def random_rotation(width: int, seed: int) -> Rotation:
    return Dense(width, seed) if width & (width - 1) else Hadamard(width, seed)
