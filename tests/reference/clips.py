"""Clips for the tests of families that take them.

Drawn from a fixed seed: every frame differs from the others, so that one taken for another shows.
"""

import numpy as np

from engine.models.clips.plan import ClipFacts


def drawn_clip(count: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(count, H, W, 3) uint8"""
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def facts_of(clip: np.ndarray, fps: float) -> ClipFacts:
    count = len(clip)
    return ClipFacts(np.arange(count) / fps, clip.shape[1:3], count / fps)


def metadata_of(clip: np.ndarray, fps: float) -> dict[str, float]:
    """The same for the reference."""
    return {"total_num_frames": len(clip), "fps": fps, "duration": len(clip) / fps}
