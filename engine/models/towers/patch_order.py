"""In which order Qwen's towers look at the patches of a picture, and which of them look at each other.

Knows nothing of their content. Patches come in blocks of `merge` x `merge`, which become one feature each; with
windows, the blocks of one window come together, and all windows are made equally long by places that nobody looks at.
"""

from dataclasses import dataclass

import numpy as np

from engine.models.positions import Grid


@dataclass(frozen=True, slots=True)
class Groups:
    """Stretches of equal length whose patches look at each other."""

    count: int
    real: np.ndarray | None = None
    """(count, length) bool: which places are looked at; `None` for all."""


@dataclass(frozen=True, slots=True)
class PatchOrder:
    patches: np.ndarray
    """(N,): the patch at each place."""
    coordinates: np.ndarray
    """(N, 2): its row and column."""
    blocks: np.ndarray
    """Where each block lies among the N / merge^2, in the order in which the blocks came."""
    frames: Groups
    windows: Groups


def order_in_blocks(grid: Grid, merge: int) -> PatchOrder:
    """As they came; `grid` counts frames, rows and columns of patches. A frame is its own and only window."""
    frames, rows, columns = grid
    groups = Groups(frames)
    return PatchOrder(
        patches=np.arange(frames * rows * columns),
        coordinates=_coordinates(grid, merge),
        blocks=np.arange(frames * rows * columns // merge**2),
        frames=groups,
        windows=groups,
    )


def order_in_windows(grid: Grid, merge: int, side: int) -> PatchOrder:
    """Window after window, each of `side` x `side` blocks; those at the right and below may hold fewer."""
    frames, rows, columns = grid[0], grid[1] // merge, grid[2] // merge
    numbers = np.arange(frames * rows * columns).reshape(frames, rows, columns)
    padded = np.pad(numbers, ((0, 0), (0, -rows % side), (0, -columns % side)), constant_values=-1)
    down, across = padded.shape[1] // side, padded.shape[2] // side
    blocks = padded.reshape(frames, down, side, across, side).swapaxes(2, 3).reshape(-1)
    patches = (blocks.clip(0)[:, None] * merge**2 + np.arange(merge**2)).reshape(-1)
    real = np.repeat(blocks >= 0, merge**2)
    places = np.flatnonzero(blocks >= 0)
    return PatchOrder(
        patches=patches,
        coordinates=_coordinates(grid, merge)[patches],
        blocks=places[np.argsort(blocks[places])],
        frames=_groups(frames, real),
        windows=_groups(frames * down * across, real),
    )


def _groups(count: int, real: np.ndarray) -> Groups:
    return Groups(count, None if real.all() else real.reshape(count, -1))


def _coordinates(grid: Grid, merge: int) -> np.ndarray:
    frames, rows, columns = grid
    places = np.indices((rows, columns)).reshape(2, rows // merge, merge, columns // merge, merge)
    return np.tile(places.swapaxes(2, 3).reshape(2, -1).T, (frames, 1))
