"""Aya Vision (arXiv 2505.08751): SigLIP looks at tiles of a picture and at the whole, and a Cohere decoder reads them.

Knows nothing of the other families.
"""

from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, TokenizerLike
from engine.models.joined.gated_tiles import BEGIN, END, SLOT, GatedTiles, features_of_a_tile, template
from engine.models.processors.tiled import TiledPictureProcessor, Wording
from engine.models.recipes.dynamic_tiles import DynamicTileRecipe
from engine.models.recipes.preprocessor import read_preprocessor, slot_of
from engine.models.towers.features import Features

MARKER = "<image>"


class AyaVision(GatedTiles):
    def __init__(self, config: Config):
        super().__init__(config, norm_eps=config["adapter_layer_norm_eps"])
        self._features = Features.read(config)
        if len(self._features.layers) != 1 or self._features.count != self._grid**2:
            raise CheckpointError("The config wants features of several layers, or leaves a patch out: not known here.")

    def see(self, pixels: mx.array) -> mx.array:
        return self._features.of(self.vision_tower, pixels)


@dataclass(frozen=True, slots=True)
class NumberedTiles(Wording):
    def __call__(self, tiles: int) -> str:
        """The last of them is the whole."""
        names = [*(f"TILE_{number}" for number in range(1, tiles)), "TILE_GLOBAL"]
        return self.begin + "".join(name + self.slot * self.features for name in names) + self.end


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> TiledPictureProcessor:
    """From the checkpoint's preprocessor file; without one, up to twelve tiles as large as the tower's pictures."""
    side = config["vision_config"]["image_size"]
    settings = {"size": {"height": side, "width": side}} | read_preprocessor(folder)
    # The reference's processor cuts pictures up whatever its file says.
    recipe = DynamicTileRecipe.read(settings, split=True)
    wording = NumberedTiles(
        slot=SLOT,
        slot_id=slot_of(tokenizer, SLOT, config["image_token_index"]),
        features=features_of_a_tile(config, recipe.size),
        begin=BEGIN,
        end=END,
        marker=MARKER,
    )
    return TiledPictureProcessor(wording, recipe)


FAMILY = Family(
    model_types=("aya_vision",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=AyaVision,
    processor=read_processor,
    chat_template=template(MARKER),
)
