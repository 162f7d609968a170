"""LLaVA-NeXT (llava-vl.github.io, January 2024), Granite Vision (arXiv 2502.09927), LLaVA-OneVision (arXiv 2408.03326).

A CLIP or SigLIP tower looks at a small copy of the whole and at tiles of the picture at one of several resolutions; the
tiles' features are laid out as the picture again, its border taken off, a mark behind each row. LLaVA-OneVision allows
more tiles and scales the features down where they become too many; of several pictures each is tiled, as the reference
does with a plain list. Knows nothing of the other families.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import TOWER_AND_DECODER, rename
from engine.models.projectors.mlp import MLPProjector
from engine.models.projectors.tile_rows import laid_out
from engine.models.recipes.anyres import AnyresProcessor, AnyresRecipe
from engine.models.recipes.preprocessor import picture_recipe, read_preprocessor, slot_of
from engine.models.towers.features import Features, build_tower, last, tile_by_tile
from engine.models.towers.vit import ViTConfig, sanitize_tower

KINDS = {"llava_next": "LlavaNextImageProcessor", "llava_onevision": "LlavaOnevisionImageProcessor"}
"""What a preprocessor file of each model type calls its processor."""


class LlavaNext(VisionLanguageModel):
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
        if config["text_config"]["model_type"] == "granite":
            # transformers 5 leaves Granite's own division of the logits out inside this model; so the numbers are its.
            self.language_model.logits_scaling = 1.0

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


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> AnyresProcessor:
    """From the checkpoint's preprocessor file. Without one, tiles of the tower's size at the config's resolutions."""
    vision = ViTConfig.read(config["vision_config"])
    if Features.read(config).count != vision.grid**2:
        raise CheckpointError(
            "The config keeps a class token among the patches, which cannot be laid out as a picture."
        )
    square = {"height": vision.image_size, "width": vision.image_size}
    settings = read_preprocessor(folder) or {"image_processor_type": KINDS[config["model_type"]], "size": square} | (
        {"crop_size": square} if config["model_type"] == "llava_next" else {}
    )
    recipe = AnyresRecipe.read(settings, picture_recipe(settings), config["image_grid_pinpoints"])
    slot_id = slot_of(tokenizer, AnyresProcessor.marker, config["image_token_index"])
    return AnyresProcessor(replace(recipe, most_tiles=most_tiles(config)), vision.image_size, vision.grid, slot_id)


def most_tiles(config: Config) -> int | None:
    """How many tiles' features a picture may have before they are scaled down; `None` for as many as there are."""
    said = config.get("vision_aspect_ratio")
    if said is None:
        return None
    if not (number := said.removeprefix("anyres_max_")).isdecimal() or number == said:
        raise CheckpointError(f"The config's vision_aspect_ratio is {said!r}; known is anyres_max_ and a number.")
    return int(number)


FAMILY = Family(
    model_types=tuple(KINDS),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=LlavaNext,
    processor=read_processor,
)
