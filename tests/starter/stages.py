"""Every intermediate result of the starter's picture side, under the vectors' names and in PyTorch's layout."""

import mlx.core as mx
import numpy as np

from engine.models.base import PreparedMedia
from engine.models.families.starter import StarterModel
from engine.models.layers.windows import average_pool_same


def stages(model: StarterModel, media: PreparedMedia) -> dict[str, np.ndarray]:
    pixels = mx.array(media.arrays["pixels"])[None]
    seen = model.look(pixels)
    letters, grid = model.read(seen)
    glyphs = model.glyphs(letters)
    colours = model.cell_colours(pixels)
    shape, colour = model.projector.grid.shapes_and_colours(grid)
    maps = {"stem": seen.stem} | {f"stage{number}": array for number, array in enumerate(seen.stages, 1)}
    return {
        "pixels": media.arrays["pixels"],
        "input": _channels_first(model.normalised(pixels)),
        **{f"{name}.mean64": _digest(_channels_first(array)) for name, array in maps.items()},
        "f3": _channels_first(seen.stages[2]),
        "f5": _channels_first(seen.stages[4]),
        "f7": _channels_first(average_pool_same(seen.stages[6], kernel=3, stride=2)),
        "head": _channels_first(seen.head),
        "gap": np.array(seen.pooled[0]),
        "prob": np.array(seen.classes[0]),
        "char_logits": _channels_first(letters),
        "grid": np.array(grid[0]),
        "glyph_p": glyphs.letters,
        "glyph_q": glyphs.places,
        "rgb": np.array(colours[0]),
        "sem_in": np.array(model.projector.semantic.inputs(seen.pooled, seen.classes)[0]),
        "grid_in": np.array(model.projector.grid.inputs(grid, colours)[0]),
        "shape": np.array(shape[0]),
        "colour": np.array(colour[0]),
        "image_embeds": np.array(model.encode(media)),
    }


def _channels_first(array: mx.array) -> np.ndarray:
    return np.array(array)[0].transpose(2, 0, 1)


def _digest(array: np.ndarray) -> np.ndarray:
    """The mean of all values, then the first 64."""
    return np.concatenate([[array.mean()], array.ravel()[:64]])
