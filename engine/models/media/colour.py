"""Any pixel format to RGB, 8 bits a channel, transparency on white.

Knows nothing of files. Colour profiles are left alone, as the image processors the models were trained with do.
"""

import numpy as np
from PIL import Image

WHITE = (255, 255, 255, 255)


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` as mode RGB. Raises `ValueError` for a mode that cannot be turned into colours (LAB)."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _grey(image)
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), rgba).convert("RGB")
    return image if image.mode == "RGB" and type(image) is Image.Image else image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """16 bits, 32 bits and floats: Pillow would clip all of them at 255."""
    values = np.asarray(image)
    grey = _to_bytes(values)
    hidden = image.info.get("transparency")
    if isinstance(hidden, int):
        grey = np.where(values == hidden, np.uint8(255), grey)
    return Image.fromarray(grey).convert("RGB")


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """(H, W) numbers to uint8. What they mean is told by their type, and where that is open by the largest of them."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(numbers * (255 / _white(numbers, values.dtype.kind == "f")), 0, 255).astype(np.uint8)


def _white(numbers: np.ndarray, fractions: bool) -> float:
    """The number that stands for white: of the usual ranges (0..1, 8 bits, 16 bits) the first that holds them all."""
    peak = float(numbers.max())
    ranges = (1.0, 255.0, 65535.0) if fractions else (255.0, 65535.0)
    return next((top for top in ranges if peak <= top), peak)
