"""Command A Vision (arXiv 2504.00698 describes its decoder): Aya Vision's parts without a norm between them, tiles of
half a thousand pixels, and a break behind each.

Knows nothing of the other families.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, TokenizerLike
from engine.models.joined.gated_tiles import BEGIN, END, SLOT, GatedTiles, features_of_a_tile, template
from engine.models.processors.tiled import TiledPictureProcessor, Wording
from engine.models.recipes.held_tiles import HeldTileRecipe
from engine.models.recipes.preprocessor import read_preprocessor, slot_of

LINE_BREAK = "<|IMG_LINE_BREAK|>"


@dataclass(frozen=True, slots=True)
class TilesWithEnds(Wording):
    def __call__(self, tiles: int) -> str:
        return self.begin + (self.slot * self.features + LINE_BREAK) * tiles + self.end


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> TiledPictureProcessor:
    """From the checkpoint's preprocessor file; without one, up to twelve tiles as large as the tower's pictures. Raises
    `CheckpointError` when the file counts another number of features than the model makes."""
    side = config["vision_config"]["image_size"]
    settings = {"size": {"height": side, "width": side}} | read_preprocessor(folder)
    recipe = HeldTileRecipe.read(settings, split=settings.get("crop_to_patches", True))
    features = features_of_a_tile(config, recipe.size)
    if settings.get("patch_size", 0) ** 2 not in (0, features):
        raise CheckpointError(
            f"The preprocessor file counts {settings['patch_size']}² features a tile, the model makes {features}."
        )
    wording = TilesWithEnds(
        slot=SLOT,
        slot_id=slot_of(tokenizer, SLOT, config["image_token_id"]),
        features=features,
        begin=BEGIN,
        end=END,
    )
    return TiledPictureProcessor(wording, recipe)


FAMILY = Family(
    model_types=("cohere2_vision",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=partial(GatedTiles, norm_eps=None),
    processor=read_processor,
    chat_template=template(SLOT),
)
