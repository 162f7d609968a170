"""A tower that sees pictures and clips at their own shape, and a decoder that knows rows and columns: Qwen-VL's way.

Knows no tower and no decoder: families build them, and say how the steps in time of a clip stand to each other.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

import mlx.core as mx
import numpy as np

from engine.models.base import PreparedMedia, VisionLanguageModel
from engine.models.layers.mrope import StepPositions
from engine.models.positions import Grid, Positions, grid_positions
from engine.models.towers.features import last
from engine.models.towers.qwen_vit import QwenViTConfig
from engine.models.towers.slices import Pauses, Slices

PATCHES_AT_ONCE = 4096
"""Of a clip: between so many and one step in time more, a stop is heard."""


class GridTower(Protocol):
    config: QwenViTConfig

    def in_slices(self, patches: mx.array, grid: Grid, slices: Slices) -> Pauses:
        """(N, values of a patch) -> features (N / merge^2, D). Steps in time do not see each other."""
        ...


class GridModel(VisionLanguageModel):
    steps_apart: ClassVar[bool]
    """Whether words stand between the steps in time of a clip, each a picture of its own then."""

    vision_tower: GridTower
    _step: StepPositions
    """Of the decoder."""

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (patches, values) and their `grid` (3,) -> (features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        patches, (steps, rows, columns) = media.arrays["pixel_values"], media.arrays["grid"].tolist()
        together = max(1, PATCHES_AT_ONCE // (rows * columns))
        slices = Slices(self.tower_bytes)
        seen = []
        for first in range(0, steps, together):
            here = min(together, steps - first)
            piece = patches[first * rows * columns : (first + here) * rows * columns]
            seen.append((yield from self.vision_tower.in_slices(mx.array(piece), (here, rows, columns), slices)))
            if first + here < steps:
                mx.eval(seen[-1])
                yield None
        yield mx.concatenate(seen)

    def positions_for(self, ids: np.ndarray, slots: np.ndarray, media: tuple[PreparedMedia, ...]) -> Positions | None:
        if not media:
            return None
        merge = self.vision_tower.config.merge
        grids: list[Grid] = []
        intervals: list[float] = []
        for item in media:
            steps, rows, columns = item.arrays["grid"].tolist()
            shape = rows // merge, columns // merge
            grids += [(1, *shape)] * steps if self.steps_apart else [(steps, *shape)]
            intervals += [self.interval(item)] * (len(grids) - len(intervals))
        return grid_positions(len(ids), slots, grids, intervals)

    def interval(self, media: PreparedMedia) -> float:
        """Positions from one step in time to the next."""
        return 1

    def __call__(
        self,
        ids: mx.array,
        cache: list[Any] | None = None,
        embeddings: mx.array | None = None,
        *,
        positions: mx.array | None = None,
        shift: int | mx.array = 0,
    ) -> mx.array:
        with self._step.during(positions, shift):
            return super().__call__(ids, cache, embeddings)
