"""Idefics3 (arXiv 2408.12637) and SmolVLM (arXiv 2504.05299), which is the same model on other parts.

A SigLIP tower looks at tiles of a picture and at the whole, neighbouring patches are put together, and a Llama reads
them between words that say which tile they are. Knows nothing of the other families.
"""

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.grounding.loc_tokens import doctags_places
from engine.models.names import IDEFICS, rename
from engine.models.projectors.pixel_shuffle import PixelShuffleConnector
from engine.models.recipes.pictures import Values, fingerprint
from engine.models.recipes.preprocessor import HALF, read_preprocessor, slot_of
from engine.models.recipes.tiles import TileRecipe, expansion
from engine.models.towers.features import last, tile_by_tile
from engine.models.towers.siglip import SiglipTower
from engine.models.towers.vit import ViTConfig, sanitize_tower

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% if message['content'] is string %} {{ message['content'] }}{% else %}"
    "{{ '' if message['content'][0]['type'] == 'image' else ' ' }}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


class Idefics3(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        vision = ViTConfig.read(config["vision_config"])
        self.vision_model = SiglipTower(vision)
        self.connector = PixelShuffleConnector(
            vision.hidden_size, config["text_config"]["hidden_size"], config["scale_factor"]
        )
        self.language_model = build_decoder(config["text_config"])

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (tiles, 3, side, side) -> (tiles * features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        features = yield from tile_by_tile(self._look, mx.array(media.arrays["pixel_values"]))
        yield features.reshape(-1, features.shape[-1])

    def _look(self, pixels: mx.array) -> mx.array:
        return self.connector(self.vision_model(pixels))

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_tower(rename(weights, IDEFICS), "vision_model.")
        return sanitize_decoder(self.language_model, weights)


class Idefics3Processor:
    """Tiles of a picture, and the words around them."""

    marker = "<image>"

    def __init__(self, recipe: TileRecipe, values: Values, features: int, slot_id: int):
        self.slot_id = slot_id
        self._recipe = recipe
        self._values = values
        self._features = features

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        tiles, grid = self._recipe(picture)
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": self._values(tiles)},
            expansion=expansion(grid, self._features),
            feature_count=len(tiles) * self._features,
            digest=fingerprint(digest, self._recipe, self._values),
        )


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> Idefics3Processor:
    """From the checkpoint's preprocessor file. Without one, tiles are as large as the tower's own pictures, and a
    picture may have four of them on a side. Raises `CheckpointError` when tiles and connector do not fit together."""
    vision = ViTConfig.read(config["vision_config"])
    settings = read_preprocessor(folder) or {
        "size": {"longest_edge": 4 * vision.image_size},
        "max_image_size": {"longest_edge": vision.image_size},
    }
    recipe = TileRecipe.read(settings)
    patches, factor = recipe.side // vision.patch_size, config["scale_factor"]
    if patches == 0 or patches % factor:
        raise CheckpointError(f"Tiles of {patches} x {patches} patches cannot be put together {factor} x {factor}.")
    slot_id = slot_of(tokenizer, Idefics3Processor.marker, config["image_token_id"])
    return Idefics3Processor(recipe, Values.read(settings, HALF, HALF), (patches // factor) ** 2, slot_id)


FAMILY = Family(
    model_types=("idefics3", "smolvlm"),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Idefics3,
    processor=read_processor,
    chat_template=TEMPLATE,
    locate=doctags_places,
)
