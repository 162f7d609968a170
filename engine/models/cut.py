"""How a picture was cut up for a tower, told from the arrays that were made of it.

Knows no family: all of them give whole tiles, patches with a grid, or patches of several tiles.
"""

from math import isqrt

from engine.api.model_facts import PictureCut
from engine.models.base import Config, PreparedMedia
from engine.models.recipes.pictures import Pair

UNKNOWN: Pair = (0, 0)


def picture_cut(media: PreparedMedia, size: Pair, config: Config) -> PictureCut:
    """`size` is the picture's own: height, width."""
    tiles, seen = _seen(media, _patch_side(config))
    return PictureCut(size[::-1], seen[::-1], tiles, media.feature_count)


def _patch_side(config: Config) -> int:
    side = (config.get("vision_config") or {}).get("patch_size", 0)
    return side if isinstance(side, int) else 0


def _seen(media: PreparedMedia, side: int) -> tuple[int, Pair]:
    """How many tiles, and the height and width of each, of the first where they differ."""
    arrays = media.arrays
    pixels = arrays.get("pixel_values", arrays.get("pixels"))
    if pixels is None:
        return 1, UNKNOWN
    if pixels.ndim == 4:
        return len(pixels), (pixels.shape[2], pixels.shape[3])
    if pixels.shape[-1] == 3:
        return 1, (pixels.shape[0], pixels.shape[1])
    if "shapes" in arrays:
        rows, columns = arrays["shapes"][0].tolist()
    elif "grid" in arrays:
        *_, rows, columns = arrays["grid"].tolist()
    else:
        rows = columns = isqrt(pixels.shape[1])
    return len(pixels) if pixels.ndim == 3 else 1, (rows * side, columns * side)
