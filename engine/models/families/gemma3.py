"""Gemma 3 with its eyes (arXiv 2503.19786): SigLIP, patches averaged in squares, and Gemma 3 reading them.

The features of one picture see each other in both directions. Knows nothing of the other families.
"""

from math import isqrt, sqrt
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.layers.blocks import looking_ahead, seen_both_ways, stops_around, stretches
from engine.models.names import TOWER_AND_DECODER, rename
from engine.models.processors.whole import WholePictureProcessor
from engine.models.projectors.average import AverageProjector
from engine.models.recipes.preprocessor import picture_recipe, read_preprocessor, slot_of
from engine.models.towers.features import build_tower
from engine.models.towers.vit import ViTConfig, sanitize_tower

MARKER, END = "<start_of_image>", "<end_of_image>"
SLOT = "<image_soft_token>"

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<start_of_turn>{{ 'model' if message['role'] == 'assistant' else 'user' }}\n"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<start_of_image>{% else %}"
    "{{ part['text'] | trim }}{% endif %}{% endfor %}{% endif %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


class Gemma3(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        vision = ViTConfig.read(config["vision_config"])
        self._slot_id = config["image_token_index"]
        self._scale = sqrt(config["text_config"]["hidden_size"])
        self.vision_tower = build_tower(config["vision_config"])
        self.multi_modal_projector = AverageProjector(
            vision.hidden_size,
            config["text_config"]["hidden_size"],
            patches=vision.grid,
            features=isqrt(config["mm_tokens_per_image"]),
            eps=vision.layer_norm_eps,
        )
        self.language_model = build_decoder(config["text_config"])

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (1, 3, H, W) -> (features, D), made small by what the decoder multiplies embeddings with."""
        features = self.multi_modal_projector(self.vision_tower(mx.array(media.arrays["pixel_values"])))[0]
        # In bfloat16 that factor is a rounded one.
        return features / mx.array(self._scale).astype(features.dtype)

    def __call__(
        self, ids: mx.array, cache: list[Any] | None = None, embeddings: mx.array | None = None, **places: Any
    ) -> mx.array:
        if embeddings is None:
            return super().__call__(ids, cache, **places)
        cache = self.make_cache() if cache is None else cache
        blocks = stretches(np.array(ids[0]) == self._slot_id)
        with seen_both_ways(cache, mx.array(blocks), whole=False):
            return super().__call__(ids, cache, embeddings, **places)

    def prefill_stops(self, token_ids: np.ndarray, step: int) -> list[int]:
        return stops_around(super().prefill_stops(token_ids, step), token_ids == self._slot_id)

    def make_cache(self, max_kv_size: int | None = None) -> list[Any]:
        return looking_ahead(super().make_cache(max_kv_size))

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_tower(rename(weights, TOWER_AND_DECODER), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> WholePictureProcessor:
    """From the checkpoint's preprocessor file; without one, the squares that the tower takes."""
    vision, count = ViTConfig.read(config["vision_config"]), config["mm_tokens_per_image"]
    square = {"height": vision.image_size, "width": vision.image_size}
    settings = read_preprocessor(folder) or {"image_processor_type": "Gemma3ImageProcessor", "size": square}
    if settings.get("do_pan_and_scan"):
        raise CheckpointError(
            "The preprocessor file asks for crops beside each picture (do_pan_and_scan), which is not known here.",
            "Set it to false there: the model then looks at whole pictures, as Gemma 3 does by default.",
        )
    return WholePictureProcessor(
        marker=MARKER,
        slot_id=slot_of(tokenizer, SLOT, config["image_token_index"]),
        recipe=picture_recipe(settings),
        side=vision.image_size,
        expansion=f"\n\n{MARKER}{SLOT * count}{END}\n\n",
        feature_count=count,
    )


FAMILY = Family(
    model_types=("gemma3",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Gemma3,
    processor=read_processor,
    chat_template=TEMPLATE,
)
