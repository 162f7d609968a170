"""LFM2-VL (arXiv 2511.23404): SigLIP 2 at a picture's own shape or on tiles of it, read by a decoder of convolutions.

Only few layers of the decoder, LFM2 with or without experts, attend. Knows nothing of the other families.
"""

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import TOWER_AND_DECODER, rename
from engine.models.projectors.pixel_shuffle import PixelShuffleMLP
from engine.models.recipes.nearest_tiles import NearestTileRecipe
from engine.models.recipes.pictures import Pair, fingerprint
from engine.models.recipes.preprocessor import read_preprocessor, slot_of
from engine.models.towers.features import last, shape_by_shape
from engine.models.towers.siglip2 import Siglip2Tower, read_siglip2

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Lfm2VL(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        if config.get("vision_feature_layer", -1) != -1:
            raise CheckpointError("The config's vision_feature_layer is not the last one, which is not known here.")
        vision = read_siglip2(config["vision_config"])
        self.vision_tower = Siglip2Tower(vision)
        self.multi_modal_projector = PixelShuffleMLP(
            vision.hidden_size,
            config["projector_hidden_size"],
            config["text_config"]["hidden_size"],
            config["downsample_factor"],
            hidden_act=config["projector_hidden_act"],
            bias=config["projector_bias"],
            norm=config["projector_use_layernorm"],
        )
        self.language_model = build_decoder(config["text_config"])

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (patches, values), `shapes` (tiles, 2) -> (features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        patches = mx.array(media.arrays["pixel_values"])
        yield (yield from shape_by_shape(self._look, patches, media.arrays["shapes"]))

    def _look(self, patches: mx.array, shape: Pair) -> mx.array:
        features = self.multi_modal_projector(self.vision_tower(patches, shape))
        return features.reshape(-1, features.shape[-1])

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """Dropped are SigLIP's pooling head, which no decoder uses, and a norm that the config says is not used."""
        unused = ("vision_tower.head.",)
        if "layer_norm" not in self.multi_modal_projector:
            unused += ("multi_modal_projector.layer_norm.",)
        weights = rename(weights, TOWER_AND_DECODER)
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(unused)}
        return sanitize_decoder(self.language_model, weights)


class Lfm2VLProcessor:
    """Tiles of a picture, and the words around them."""

    marker = "<image>"

    def __init__(self, recipe: NearestTileRecipe, slot_id: int):
        self.slot_id = slot_id
        self._recipe = recipe

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        tiles = self._recipe(picture)
        shapes = np.array(tiles.shapes)
        counts = (shapes // self._recipe.merge).prod(axis=1).tolist()
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": tiles.patches, "shapes": shapes},
            expansion=expansion(tiles.grid, counts),
            feature_count=sum(counts),
            digest=fingerprint(digest, self._recipe),
        )


def expansion(grid: Pair, counts: list[int]) -> str:
    """What stands in the prompt for a picture of `grid` tiles that give so many features each, the whole last."""
    rows, columns = grid
    marks = ["<image>" * count for count in counts]
    if rows * columns == 1:
        return f"<|image_start|>{marks[0]}<|image_end|>"
    names = [f"<|img_row_{row + 1}_col_{column + 1}|>" for row in range(rows) for column in range(columns)]
    named = zip([*names, "<|img_thumbnail|>"], marks, strict=False)
    return f"<|image_start|>{''.join(name + mark for name, mark in named)}<|image_end|>"


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> Lfm2VLProcessor:
    """From the checkpoint's preprocessor file; without one from the config, where older ones say the same. Raises
    `CheckpointError` when its patches are not those of the tower and the projector."""
    if not config.get("use_image_special_tokens", True):
        raise CheckpointError("The config wants pictures without words around them (use_image_special_tokens).")
    recipe = NearestTileRecipe.read(read_preprocessor(folder) or config)
    wanted = (config["vision_config"]["patch_size"], config["downsample_factor"])
    if (recipe.patch, recipe.merge) != wanted:
        raise CheckpointError(
            f"The preprocessor file cuts patches of (side, merge) {(recipe.patch, recipe.merge)}, "
            f"the model takes {wanted}."
        )
    return Lfm2VLProcessor(recipe, slot_of(tokenizer, Lfm2VLProcessor.marker, config["image_token_id"]))


FAMILY = Family(
    model_types=("lfm2_vl", "lfm2-vl"),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Lfm2VL,
    processor=read_processor,
    chat_template=TEMPLATE,
)
