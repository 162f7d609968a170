"""A CLIP or SigLIP tower that sees tiles at one of several resolutions, and a decoder of mlx-lm's: LLaVA-NeXT's way.

The tiles' features are laid out as the picture again, its border taken off, a mark behind each row. Knows no family.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.models.base import Config, PreparedMedia, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import TOWER_AND_DECODER, rename
from engine.models.projectors.mlp import MLPProjector
from engine.models.projectors.tile_rows import laid_out
from engine.models.recipes.anyres import AnyresRecipe
from engine.models.recipes.preprocessor import picture_recipe, read_preprocessor
from engine.models.towers.features import Features, build_tower, last, tile_by_tile
from engine.models.towers.vit import ViTConfig, sanitize_tower


class AnyresModel(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        self._features = Features.read(config)
        self.vision_tower = build_tower(config["vision_config"])
        self.multi_modal_projector = MLPProjector(
            self._features.width,
            config["text_config"]["hidden_size"],
            hidden_act=config["projector_hidden_act"],
            bias=config["multimodal_projector_bias"],
        )
        self.image_newline = mx.zeros((config["text_config"]["hidden_size"],))
        self.language_model = build_decoder(config["text_config"])

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (1 + tiles, 3, side, side), `grid` (2,), `shown` (2, 2), `size` (2,) -> (features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        tiles = yield from tile_by_tile(self._look, mx.array(media.arrays["pixel_values"]))
        yield laid_out(tiles, media.arrays, self.image_newline)

    def _look(self, pixels: mx.array) -> mx.array:
        return self.multi_modal_projector(self._features.of(self.vision_tower, pixels))

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_tower(rename(weights, TOWER_AND_DECODER), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)


def laid_out_shape(config: Config) -> ViTConfig:
    """Of the tower. Raises `CheckpointError` where its features cannot be laid out as a picture."""
    vision = ViTConfig.read(config["vision_config"])
    if Features.read(config).count != vision.grid**2:
        raise CheckpointError(
            "The config keeps a class token among the patches, which cannot be laid out as a picture."
        )
    return vision


def read_anyres(folder: Path, config: Config, standard: Mapping[str, Any]) -> AnyresRecipe:
    """From the checkpoint's preprocessor file, else from `standard` settings, at the config's resolutions."""
    settings = read_preprocessor(folder) or dict(standard)
    return AnyresRecipe.read(settings, picture_recipe(settings), config["image_grid_pinpoints"])


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}
