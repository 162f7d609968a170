"""A picture as tiles of one size, where it is larger than one, and as a whole of another size, its border filled.

Knows nothing of towers. Gives the views of transformers' DeepSeek-OCR 2 processor
(`image_processing_pil_deepseek_ocr2.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from engine.models.media.letterbox import letterbox
from engine.models.recipes.pictures import Values
from engine.models.recipes.preprocessor import HALF
from engine.models.recipes.tile_grid import nearest_grid


@dataclass(frozen=True, slots=True)
class TilesBesideWhole:
    side: int
    """Of the whole, in pixels."""
    tile: int
    """Of a tile; a picture that is no larger has none."""
    fewest: int
    most: int
    border: tuple[int, int, int]
    resample: int
    values: Values

    @classmethod
    def read(cls, settings: Mapping[str, Any], fewest: int, most: int) -> "TilesBesideWhole":
        """From a preprocessor file, with the defaults of its processor's type."""
        return cls(
            side=settings.get("size", {}).get("height", 1024),
            tile=settings.get("tile_size", 768),
            fewest=fewest,
            most=most,
            border=tuple(settings.get("background_color", (127, 127, 127))),
            resample=settings.get("resample", Image.Resampling.BICUBIC),
            values=Values.read(settings, HALF, HALF),
        )

    def __call__(self, picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """RGB -> tiles (N, 3, tile, tile), row by row, and the whole (1, 3, side, side), float32."""
        whole = letterbox(picture, self.side, self.side, colour=self.border, resample=self.resample)
        return self.values(self._tiles(picture)), self.values(np.asarray(whole)[None])

    def _tiles(self, picture: Image.Image) -> np.ndarray:
        tile = self.tile
        if max(picture.size) <= tile:
            return np.zeros((0, tile, tile, 3), np.uint8)
        rows, columns = nearest_grid((picture.height, picture.width), (tile, tile), self.fewest, self.most)
        canvas = np.asarray(picture.resize((columns * tile, rows * tile), self.resample))
        return canvas.reshape(rows, tile, columns, tile, 3).swapaxes(1, 2).reshape(-1, tile, tile, 3)
