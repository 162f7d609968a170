"""Fits a whole picture into a square, the rest white or of another colour.

Knows nothing of models. Cubic with a = -0.5, widened when shrinking (Pillow's BICUBIC); sides round half to even.
"""

from PIL import Image

WHITE = (255, 255, 255)


def letterbox(
    picture: Image.Image,
    width: int,
    height: int,
    *,
    colour: tuple[int, ...] = WHITE,
    resample: int = Image.Resampling.BICUBIC,
) -> Image.Image:
    """An RGB picture as large as it gets with its aspect kept, in the middle of one of this size and `colour`."""
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(scale * picture.width)), max(1, round(scale * picture.height))
    fitted = picture if size == picture.size else picture.resize(size, resample)
    canvas = Image.new("RGB", (width, height), colour)
    canvas.paste(fitted, ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas
