"""A picture squeezed into the grid of tiles that holds it with the least scaling, resized as torchvision does.

Knows nothing of towers. Gives the tiles of transformers' `image_processing_cohere2_vision.py`.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from engine.models.media.torch_resize import torch_resize
from engine.models.recipes.dynamic_tiles import DynamicTileRecipe
from engine.models.recipes.pictures import Pair
from engine.models.recipes.tile_grid import least_scaled_grid


@dataclass(frozen=True, slots=True)
class HeldTileRecipe(DynamicTileRecipe):
    """`fewest` is not looked at, as in the reference."""

    def grid(self, size: Pair) -> Pair:
        return least_scaled_grid(size, self.size, self.most)

    def resized(self, picture: Image.Image, size: Pair) -> np.ndarray:
        return torch_resize(np.asarray(picture), size, self.resample)
