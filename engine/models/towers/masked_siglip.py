"""SigLIP for crops that a picture does not fill: its patches alone are looked at, and have their positions.

Knows nothing of how pictures are cut. Source: transformers `modeling_phi4_multimodal.py`.
"""

import mlx.core as mx
import numpy as np

from engine.models.towers.siglip import SiglipTower
from engine.models.towers.vit import ViTConfig, positions_along


class MaskedSiglip(SiglipTower):
    def __init__(self, config: ViTConfig, layer: int):
        """`layer`: whose output is taken, counted as in a list of what goes into the first and comes out of each."""
        super().__init__(config)
        self._grid = config.grid
        self._depth = range(config.num_hidden_layers + 1)[layer]

    def __call__(self, pixels: mx.array, mask: np.ndarray) -> mx.array:
        """A crop (1, C, H, W) and which of its patches (n, n) show the picture -> (1, n, n, D)."""
        patches = self.embeddings.patch_embedding(pixels)
        x = patches.flatten(1, 2) + self.embeddings.position_embedding(mx.array(self._places(mask)))
        looked_at = mx.array(mask.reshape(1, 1, 1, -1))
        for layer in self.encoder.layers[: self._depth]:
            x = layer(x, looked_at)
        return x.reshape(patches.shape)

    def _places(self, mask: np.ndarray) -> np.ndarray:
        """(n * n,) of the positions that were learned: those of a picture as large as what is shown, the first for the
        patches around it."""
        rows, columns = (int(line.sum()) for line in (mask[:, 0], mask[0]))
        places = np.zeros(mask.shape, int)
        places[:rows, :columns] = positions_along(rows, self._grid)[:, None] * self._grid + positions_along(
            columns, self._grid
        )
        return places.reshape(-1)
