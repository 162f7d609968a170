"""PaliGemma (arXiv 2407.07726) and PaliGemma 2 (arXiv 2412.03555): SigLIP, one linear layer, Gemma or Gemma 2.

The prompt, picture and text, is one prefix whose tokens see each other in both directions; only the answer is causal.
Knows nothing of the other families.
"""

from math import sqrt
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.grounding.loc_tokens import paligemma_places
from engine.models.layers.blocks import looking_ahead, seen_both_ways
from engine.models.names import TOWER_AND_DECODER, rename
from engine.models.processors.whole import WholePictureProcessor
from engine.models.projectors.linear import LinearProjector
from engine.models.recipes.preprocessor import picture_recipe, read_preprocessor, slot_of
from engine.models.towers.features import build_tower
from engine.models.towers.vit import ViTConfig, sanitize_tower

MARKER = "<image>"

TEMPLATE = (
    "{% for message in messages %}{% if message['content'] is not string %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% endif %}{% endfor %}{% endif %}{% endfor %}{{ bos_token }}"
    "{% set last = messages[-1]['content'] %}{% if last is string %}{{ last }}{% else %}"
    "{% for part in last %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '\\n' }}"
)
"""There is no conversation: every picture there is, then the last question alone, as the models were trained."""


class PaliGemma(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        vision, text = config["vision_config"], config["text_config"]
        self._scale = sqrt(text["hidden_size"])
        self.vision_tower = build_tower(vision)
        self.multi_modal_projector = LinearProjector(vision["hidden_size"], text["hidden_size"])
        self.language_model = build_decoder(text)

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (1, 3, H, W) -> (features, D), made small by what the decoder multiplies embeddings with."""
        seen = self.vision_tower(mx.array(media.arrays["pixel_values"]))
        return self.multi_modal_projector(seen[0]) / self._scale

    def __call__(
        self, ids: mx.array, cache: list[Any] | None = None, embeddings: mx.array | None = None, **places: Any
    ) -> mx.array:
        cache = self.make_cache() if cache is None else cache
        with seen_both_ways(cache, mx.zeros((ids.shape[1],), dtype=mx.int32), whole=True):
            return super().__call__(ids, cache, embeddings, **places)

    def prefill_stops(self, token_ids: np.ndarray, step: int) -> list[int]:
        return [len(token_ids)]

    def make_cache(self, max_kv_size: int | None = None) -> list[Any]:
        """No window is taken, whatever `max_kv_size` says: a prefix is there as a whole or it is not that prefix."""
        return looking_ahead(super().make_cache())

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """A head, where there is one, is the embeddings once more."""
        weights = sanitize_tower(rename(weights, TOWER_AND_DECODER), "vision_tower.")
        weights.pop("language_model.lm_head.weight", None)
        return sanitize_decoder(self.language_model, weights)


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> WholePictureProcessor:
    """From the checkpoint's preprocessor file. Without one, what SigLIP does at the tower's size."""
    vision = ViTConfig.read(config["vision_config"])
    square = {"height": vision.image_size, "width": vision.image_size}
    settings = read_preprocessor(folder) or {"image_processor_type": "SiglipImageProcessor", "size": square}
    return WholePictureProcessor(
        marker=MARKER,
        slot_id=slot_of(tokenizer, MARKER, config["image_token_index"]),
        recipe=picture_recipe(settings),
        side=vision.image_size,
        expansion=MARKER * vision.grid**2,
        feature_count=vision.grid**2,
    )


FAMILY = Family(
    model_types=("paligemma",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=PaliGemma,
    processor=read_processor,
    chat_template=TEMPLATE,
    locate=paligemma_places,
)
