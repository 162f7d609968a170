"""Llama 4 with its eyes (ai.meta.com/blog, April 2025): tiles of a picture and the whole, read by experts.

Knows nothing of the other families.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.llama4 import build_llama4
from engine.models.decoders.text import sanitize_decoder
from engine.models.recipes.canvas_tiles import CanvasRecipe
from engine.models.recipes.pictures import Pair, fingerprint
from engine.models.recipes.preprocessor import read_preprocessor, slot_of
from engine.models.recipes.rounded import RoundedValues
from engine.models.towers.features import last, tile_by_tile
from engine.models.towers.llama4_vit import Llama4ViT, Llama4ViTConfig

MARKER, SLOT = "<|image|>", "<|patch|>"
START, END = "<|image_start|>", "<|image_end|>"
BESIDE, BELOW = "<|tile_x_separator|>", "<|tile_y_separator|>"
MOST_TILES = 16
"""Of checkpoints that do not say."""

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|header_start|>{{ message['role'] }}<|header_end|>\n\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|image|>{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|header_start|>assistant<|header_end|>\n\n{% endif %}"
)


class Projector(nn.Module):
    def __init__(self, in_size: int, out_size: int):
        super().__init__()
        self.linear_1 = nn.Linear(in_size, out_size, bias=False)


class Llama4(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        vision = Llama4ViTConfig.read(config["vision_config"])
        self.vision_model = Llama4ViT(vision)
        self.multi_modal_projector = Projector(vision.projector_output_dim, config["text_config"]["hidden_size"])
        self.language_model = build_llama4(config["text_config"])

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (tiles, 3, side, side) -> (tiles * features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        features = yield from tile_by_tile(self._look, mx.array(media.arrays["pixel_values"]))
        yield features.reshape(-1, features.shape[-1])

    def _look(self, pixels: mx.array) -> mx.array:
        return self.multi_modal_projector.linear_1(self.vision_model(pixels))

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        return sanitize_decoder(self.language_model, weights)


@dataclass(frozen=True, slots=True)
class Llama4Processor:
    """Tiles row by row with marks between them, and the whole behind them where there are several."""

    slot_id: int
    recipe: CanvasRecipe
    features: int
    """Of a tile."""
    marker: str = MARKER

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        tiles, grid = self.recipe(picture)
        if len(tiles) > 1:
            tiles = np.concatenate([tiles, self.recipe.whole(picture)[None]])
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": tiles},
            expansion=self._expansion(grid),
            feature_count=len(tiles) * self.features,
            digest=fingerprint(digest, self.recipe),
        )

    def _expansion(self, grid: Pair) -> str:
        tile = SLOT * self.features
        rows = (BESIDE.join([tile] * grid[1]) + BELOW) * grid[0] if grid != (1, 1) else ""
        return f"{START}{rows}{MARKER}{tile}{END}"


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> Llama4Processor:
    """From the checkpoint's preprocessor file; without one, what the tower is made for."""
    vision, settings = Llama4ViTConfig.read(config["vision_config"]), read_preprocessor(folder)
    if settings.get("resize_to_max_canvas"):
        raise CheckpointError("The preprocessor file asks for pictures as large as they can be, not known here.")
    most = settings.get("max_patches", MOST_TILES)
    recipe = CanvasRecipe.read(settings | {"max_image_tiles": most}, vision.image_size, most)
    if recipe.side != vision.image_size:
        raise CheckpointError(f"The preprocessor file cuts tiles of {recipe.side} pixels, not {vision.image_size}.")
    values = recipe.values
    if settings.get("do_rescale", True) and settings.get("do_normalize", True):
        values = RoundedValues(values.factor, values.mean, values.std)
    recipe = replace(recipe, values=values, as_torch=True)
    return Llama4Processor(slot_of(tokenizer, SLOT, config["image_token_index"]), recipe, vision.features)


FAMILY = Family(
    model_types=("llama4",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Llama4,
    processor=read_processor,
    chat_template=TEMPLATE,
)
