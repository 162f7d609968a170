"""From a picture to pixel values, the way a checkpoint's preprocessor file asks for it.

Knows nothing of prompts. Gives the numbers of transformers' torch-free image processors (`image_processing_pil_*.py`,
`image_transforms.py`), several times quicker: pixels stay bytes until one look-up turns them into floats.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError, MediaError

MAX_ASPECT_RATIO = 200
"""Of a picture that is scaled by its shorter side: beyond it the longer one would take more memory than sense."""

Pair = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True, slots=True)
class Values:
    """How bytes become floats: (byte * factor - mean) / std, a channel at a time."""

    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, settings: Mapping[str, Any], mean: tuple[float, ...], std: tuple[float, ...]) -> "Values":
        """From a preprocessor file, with the mean and the deviation of its processor's type."""
        factor = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0
        if not settings.get("do_normalize", True):
            return cls(factor, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        return cls(factor, tuple(settings.get("image_mean") or mean), tuple(settings.get("image_std") or std))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(..., H, W, 3) uint8 -> (..., 3, H, W) float32."""
        scaled = (np.arange(256) * self.factor).astype(np.float32)
        tables = (scaled - np.array(self.mean, np.float32)[:, None]) / np.array(self.std, np.float32)[:, None]
        return np.stack([table[pixels[..., channel]] for channel, table in enumerate(tables)], axis=-3)


@dataclass(frozen=True, slots=True)
class PictureRecipe:
    """One picture in, one picture of known size out: what CLIP, SigLIP and LLaVA do."""

    size: Mapping[str, int] | None
    """`height` and `width`, or `shortest_edge`; `None` leaves the picture as large as it is."""
    crop: Pair | None
    resample: int
    pad_to_square: bool
    values: Values

    def __call__(self, picture: Image.Image) -> np.ndarray:
        """RGB -> (3, H, W) float32. Raises `MediaError` for a picture too narrow to be scaled."""
        if self.pad_to_square:
            picture = padded_to_square(picture, tuple(int(part * 255) for part in self.values.mean))
        if self.size is not None:
            height, width = target_size((picture.height, picture.width), self.size)
            picture = picture.resize((width, height), self.resample)
        if self.crop is not None:
            picture = cropped(picture, self.crop)
        return self.values(np.asarray(picture))


def target_size(size: Pair, wanted: Mapping[str, int]) -> Pair:
    """What a picture of `size` is scaled to."""
    if "height" in wanted and "width" in wanted:
        return wanted["height"], wanted["width"]
    if set(wanted) != {"shortest_edge"}:
        raise CheckpointError(f"The preprocessor file asks for pictures of the size {dict(wanted)}, unknown here.")
    refuse_strip(size)
    edge = wanted["shortest_edge"]
    other = int(edge * max(size) / min(size))
    return (other, edge) if size[1] <= size[0] else (edge, other)


def refuse_strip(size: Pair, what: str = "picture") -> None:
    """Raises `MediaError` for a picture, or `what` it is, too narrow to be scaled by its shape."""
    if max(size) > MAX_ASPECT_RATIO * min(size):
        raise MediaError(
            f"The {what} is {size[1]} x {size[0]} pixels, longer than {MAX_ASPECT_RATIO} times its other side.",
            "Crop it to what matters.",
        )


def size_within(size: Pair, box: Pair) -> Pair:
    """`size` scaled, its shape kept, until it fills `box` in one direction."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def cropped(picture: Image.Image, size: Pair) -> Image.Image:
    """The middle of the picture; black around it where it is smaller."""
    left, top = (picture.width - size[1]) // 2, (picture.height - size[0]) // 2
    return picture.crop((left, top, left + size[1], top + size[0]))


def padded_to_square(picture: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    side = max(picture.size)
    square = Image.new("RGB", (side, side), colour)
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def fingerprint(digest: str, *settings: Any) -> str:
    """The name of a prepared picture: its own `digest` and the recipe's dataclasses."""
    recipe = json.dumps([asdict(entry) for entry in settings], sort_keys=True)
    return hashlib.sha256(f"{digest}\n{recipe}".encode()).hexdigest()
