"""Three kinds of picture words for a small decoder: what it is, what fills each cell, which letters stand where.

Knows nothing of where its inputs come from. Words begin life as the decoder's own embeddings of names, colours, shapes
and letters, so they are near what it already understands.
"""

from collections.abc import Mapping

import mlx.core as mx
import mlx.nn as nn

Shapes = Mapping[str, list[int]]

_EPSILON = 1.1920929e-07

NAMES = {
    "sem.w1": "semantic.hidden",
    "sem.w2": "semantic.out",
    "sem.cls": "semantic.class_words",
    "sem.mu": "semantic.mean",
    "sem.sd": "semantic.std",
    "semscale": "semantic.scale",
    "g1": "grid.hidden",
    "g2": "grid.out",
    "gm": "grid.mean",
    "gs": "grid.std",
    "gpos": "grid.position",
    "gscale": "grid.scale",
    "hs": "grid.shape_head",
    "hc": "grid.colour_head",
    "ws": "grid.shape_words",
    "wc": "grid.colour_words",
    "char": "glyph.letter_words",
    "cpos": "glyph.place",
    "slot": "glyph.slot",
    "empty": "glyph.empty",
}
"""The checkpoint's names of tensors and layers to this module's."""


class SemanticWords(nn.Module):
    """A few words (B, n, D) from the tower's global feature and its class probabilities."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        self.hidden, self.out = _linear(shapes["sem.w1.weight"]), _linear(shapes["sem.w2.weight"])
        self.class_words = mx.zeros(shapes["sem.cls"])
        self.mean, self.std = mx.zeros(shapes["sem.mu"]), mx.ones(shapes["sem.sd"])
        self.scale = mx.ones(shapes["semscale"])

    def inputs(self, pooled: mx.array, classes: mx.array) -> mx.array:
        return mx.concatenate([(pooled - self.mean) / self.std, 6 * _unit(classes)], axis=-1)

    def __call__(self, pooled: mx.array, classes: mx.array) -> mx.array:
        words = self.out(nn.gelu_approx(self.hidden(self.inputs(pooled, classes))))
        words = words.reshape(len(words), len(self.scale), -1)
        # The first one begins as the mean word of the classes.
        words[:, 0] += _unit(classes) @ self.class_words
        return mx.fast.rms_norm(words, None, _EPSILON) * self.scale


class GridWords(nn.Module):
    """A word a cell (B, cells, D) from the trunk's features and the cells' mean colours."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        self.hidden, self.out = _linear(shapes["g1.weight"]), _linear(shapes["g2.weight"])
        self.mean, self.std = mx.zeros(shapes["gm"]), mx.ones(shapes["gs"])
        self.position, self.scale = mx.zeros(shapes["gpos"]), mx.ones(shapes["gscale"])
        self.shape_head, self.colour_head = _linear(shapes["hs.weight"]), _linear(shapes["hc.weight"])
        self.shape_words, self.colour_words = mx.zeros(shapes["ws"]), mx.zeros(shapes["wc"])

    def inputs(self, grid: mx.array, colours: mx.array) -> mx.array:
        return mx.concatenate([(grid - self.mean) / self.std, 4 * (colours - 0.5)], axis=-1)

    def shapes_and_colours(self, grid: mx.array) -> tuple[mx.array, mx.array]:
        """Probabilities a cell, the last of each for none. From the features as they are."""
        return (
            mx.softmax(self.shape_head(grid), axis=-1, precise=True),
            mx.softmax(self.colour_head(grid), axis=-1, precise=True),
        )

    def __call__(self, grid: mx.array, colours: mx.array) -> mx.array:
        words = self.out(nn.gelu_approx(self.hidden(self.inputs(grid, colours))))
        words = mx.fast.rms_norm(words, None, _EPSILON) * self.scale + self.position
        shape, colour = self.shapes_and_colours(grid)
        return words + (1 - shape[..., -1:]) * (shape @ self.shape_words + colour @ self.colour_words)


class GlyphWords(nn.Module):
    """A word a letter (B, letters, D); one learned word where there is none."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        self.letter_words, self.place = mx.zeros(shapes["char"]), _linear(shapes["cpos.weight"])
        self.slot, self.empty = mx.zeros(shapes["slot"]), mx.zeros(shapes["empty"])

    def __call__(self, letters: mx.array, places: mx.array) -> mx.array:
        words = letters @ self.letter_words + self.place(places) + self.slot
        return mx.where(places[..., -1:] > 0, words, self.empty)


class SemanticGridGlyphProjector(nn.Module):
    def __init__(self, shapes: Shapes) -> None:
        """`shapes` are PyTorch's, by the checkpoint's names within the projector."""
        super().__init__()
        self.semantic = SemanticWords(shapes)
        self.grid = GridWords(shapes)
        self.glyph = GlyphWords(shapes)

    @staticmethod
    def sanitize(name: str) -> str:
        """The checkpoint's name of a tensor within the projector to this module's."""
        layer, dot, kind = name.rpartition(".")
        return NAMES.get(name) or f"{NAMES.get(layer, layer)}{dot}{kind}"


def _linear(shape: list[int]) -> nn.Linear:
    return nn.Linear(shape[1], shape[0])


def _unit(x: mx.array) -> mx.array:
    return x / mx.linalg.norm(x, axis=-1, keepdims=True)
