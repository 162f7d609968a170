"""Llama 3.2 with its eyes (arXiv 2407.21783): some layers of a Llama look at pictures instead of at the text.

A picture is one token of the prompt; what the tower sees stands beside the text, not in it, and is handed to each of
its tokens whole. A token sees the pictures that it comes right after. Knows nothing of the other families.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.cross_attention import look_at_pictures, show, with_sight
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import TOWER_AND_DECODER, Prefixes, rename
from engine.models.recipes.canvas_tiles import CanvasRecipe
from engine.models.recipes.pictures import fingerprint
from engine.models.recipes.preprocessor import read_preprocessor, slot_of
from engine.models.towers.features import last
from engine.models.towers.mllama_vit import MllamaViT, MllamaViTConfig, sanitize_mllama_vit

MARKER = "<|image|>"
ADDED = 8
"""Rows that the table of embeddings has beyond the vocabulary, for the picture's token."""

NAMES: Prefixes = (
    ("model.vision_model.", "vision_tower."),
    ("vision_model.", "vision_tower."),
    *TOWER_AND_DECODER,
)

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|image|>{% else %}"
    "{{ part['text'] | trim }}{% endif %}{% endfor %}{% endif %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


class Mllama(VisionLanguageModel):
    sees_tiles_together = True

    def __init__(self, config: Config):
        super().__init__()
        text, vision = config["text_config"], MllamaViTConfig.read(config["vision_config"])
        if text["hidden_act"] != "silu" or not text["cross_attention_layers"]:
            raise CheckpointError("The text_config has another activation than silu, or no layers for pictures.")
        self._slot_id = config["image_token_index"]
        self._vision = vision
        self.vision_tower = MllamaViT(vision)
        self.multi_modal_projector = nn.Linear(vision.width, text["hidden_size"])
        self.language_model = build_decoder({**text, "model_type": "llama", "tie_word_embeddings": False})
        self.language_model.model.embed_tokens = nn.Embedding(text["vocab_size"] + ADDED, text["hidden_size"])
        look_at_pictures(self.language_model, text["cross_attention_layers"])

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (tiles, 3, side, side) and `grid` (2,) -> (1, tiles * patches, D + 1), whose last channel is 1
        for tiles that are there."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        grid = tuple(media.arrays["grid"].tolist())
        features = yield from self.vision_tower.in_pieces(mx.array(media.arrays["pixel_values"]), grid)
        features = self.multi_modal_projector(features)
        there = mx.arange(len(features)) < grid[0] * grid[1]
        there = mx.broadcast_to(there[:, None, None], (*features.shape[:2], 1)).astype(features.dtype)
        yield mx.concatenate([features, there], axis=-1).reshape(1, -1, features.shape[-1] + 1)

    def embed(self, ids: mx.array, slots: mx.array, features: mx.array) -> mx.array:
        """All pictures, `features` (pictures, N, D + 1), for each of the tokens (1, L): (1, L, pictures * N, D + 1),
        which takes no memory, as it is one piece of it seen L times."""
        whole = features.reshape(1, 1, -1, features.shape[-1])
        return mx.broadcast_to(whole, (1, ids.shape[1], *whole.shape[2:]))

    def __call__(
        self, ids: mx.array, cache: list[Any] | None = None, embeddings: mx.array | None = None, **places: Any
    ) -> mx.array:
        cache = self.make_cache() if cache is None else cache
        if embeddings is not None:
            pictures, is_picture = embeddings[0, 0], np.array(ids[0]) == self._slot_id
            show(
                cache,
                pictures[:, :-1],
                pictures[:, -1] > 0,
                is_picture,
                self._vision.max_num_tiles * self._vision.patches,
            )
        return super().__call__(ids, cache)

    def prefill_stops(self, token_ids: np.ndarray, step: int) -> list[int]:
        """None ahead of the last picture: the text ahead of the first one sees them all."""
        stops = super().prefill_stops(token_ids, step)
        pictures = np.flatnonzero(token_ids == self._slot_id)
        return [stop for stop in stops if not len(pictures) or stop > pictures[-1]] or stops[-1:]

    def make_cache(self, max_kv_size: int | None = None) -> list[Any]:
        return with_sight(super().make_cache(max_kv_size), self.language_model)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_mllama_vit(rename(weights, NAMES), "vision_tower.", self._vision.num_channels)
        return sanitize_decoder(self.language_model, weights)


@dataclass(frozen=True, slots=True)
class MllamaProcessor:
    slot_id: int
    recipe: CanvasRecipe
    marker: str = MARKER

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        tiles, grid = self.recipe(picture)
        missing = self.recipe.most_tiles - len(tiles)
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": np.pad(tiles, ((0, missing), (0, 0), (0, 0), (0, 0))), "grid": np.array(grid)},
            expansion=MARKER,
            feature_count=1,
            digest=fingerprint(digest, self.recipe),
        )


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> MllamaProcessor:
    """From the checkpoint's preprocessor file; without one, what the tower is made for."""
    vision = MllamaViTConfig.read(config["vision_config"])
    recipe = CanvasRecipe.read(read_preprocessor(folder), vision.image_size, vision.max_num_tiles)
    cut, wanted = (recipe.side, recipe.most_tiles), (vision.image_size, vision.max_num_tiles)
    if cut != wanted:
        raise CheckpointError(f"The preprocessor file cuts tiles (side, most) {cut}, the tower takes {wanted}.")
    return MllamaProcessor(slot_of(tokenizer, MARKER, config["image_token_index"]), recipe)


FAMILY = Family(
    model_types=("mllama",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Mllama,
    processor=read_processor,
    chat_template=TEMPLATE,
)
