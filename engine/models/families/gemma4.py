"""Gemma 4 with its eyes (ai.google.dev/gemma/docs/core/model_card_4): pictures and clips at their own shape.

Most sizes look through a ViT, `gemma4_unified` through one layer. In the large ones the features of a frame see each
other both ways where layers have a window. The sound side is not built. Knows nothing of the other families.
"""

from collections.abc import Iterator, Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.clips.frame_sampling import FPS, MAX_FRAMES, EvenParts
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.grounding.json_places import json_places
from engine.models.grounding.question import in_parts
from engine.models.layers.blocks import BlockRotatingKVCache, looking_ahead, seen_both_ways, stops_around, stretches
from engine.models.names import TOWER_AND_DECODER, Prefixes, rename
from engine.models.processors.framed import Frame, FramedClipProcessor, FramedPictureProcessor
from engine.models.projectors.normed import NormedProjector
from engine.models.recipes.patch_budget import PatchBudget
from engine.models.recipes.preprocessor import read_clip_preprocessor, read_preprocessor, slot_of
from engine.models.towers.features import last, tile_by_tile
from engine.models.towers.gemma4_vit import Gemma4ViT, Gemma4ViTConfig, sanitize_gemma4_vit
from engine.models.towers.patch_words import PatchWords

PICTURE, CLIP = "<|image|>", "<|video|>"
TOWERLESS = "gemma4_unified"
MOST, MOST_IN_FRAME, FRAMES = 280, 70, 32
"""Features of a picture, features of a frame, and frames, of checkpoints that do not say."""

PATCH_WORDS: Prefixes = (
    ("embed_vision.multimodal_embedder.", "embed_vision."),
    ("embed_vision.embedding_projection.", "embed_vision.embedding_projection."),
    ("embed_vision.", "vision_tower."),
    ("vision_embedder.", "vision_tower."),
)
"""Of the model without a tower: transformers keeps its one layer in the projector, checkpoints beside it."""

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|image|>"
    "{% elif part['type'] == 'video' %}<|video|>{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}{% endif %}"
    "<turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn>model\n{% endif %}"
)


class Gemma4(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        text, vision = config["text_config"], config["vision_config"]
        if vision is None:
            raise CheckpointError("The config has no vision_config: a Gemma 4 without eyes is not known here.")
        self._slot_ids = [config["image_token_id"], config["video_token_id"]]
        self._blank_id = text["pad_token_id"] or 0
        self._scale = sqrt(text["hidden_size"])
        self._both_ways = text["use_bidirectional_attention"] == "vision"
        self._vit: Gemma4ViTConfig | None = None
        if config["model_type"] == TOWERLESS:
            # Its reference has none of these, whatever a file says.
            text = {**text, "hidden_size_per_layer_input": 0, "enable_moe_block": False}
            width = vision["output_proj_dims"]
            side = vision["patch_size"] * vision["pooling_kernel_size"]
            self.vision_tower: nn.Module = PatchWords(side, vision["mm_embed_dim"], vision["mm_posemb_size"])
        else:
            self._vit = Gemma4ViTConfig.read(vision)
            width = vision["hidden_size"]
            self.vision_tower = Gemma4ViT(self._vit)
        self.embed_vision = NormedProjector(width, text["hidden_size"], eps=vision["rms_norm_eps"])
        self.language_model = build_decoder({**text, "model_type": "gemma4_text"})

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (frames, patches, values) and `grid` (2,) -> (features, D), made small by what the decoder
        multiplies embeddings with."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        grid = tuple(media.arrays["grid"].tolist())
        features = yield from tile_by_tile(
            lambda patches: self.embed_vision(self.vision_tower(patches, grid)), mx.array(media.arrays["pixel_values"])
        )
        # In bfloat16 that factor is a rounded one.
        yield features.reshape(-1, features.shape[-1]) / mx.array(self._scale).astype(features.dtype)

    def __call__(
        self, ids: mx.array, cache: list[Any] | None = None, embeddings: mx.array | None = None, **places: Any
    ) -> mx.array:
        # The decoder looks ids up a second time, in each layer's own table, where a slot stands for nothing.
        inside = (ids[..., None] == mx.array(self._slot_ids)).any(axis=-1)
        words = mx.where(inside, self._blank_id, ids)
        if embeddings is None or not self._both_ways:
            return super().__call__(words, cache, embeddings, **places)
        cache = self.make_cache() if cache is None else cache
        sliding = [layer for layer in cache if isinstance(layer, BlockRotatingKVCache)]
        with seen_both_ways(sliding, mx.array(stretches(np.array(inside[0]))), whole=False):
            return super().__call__(words, cache, embeddings, **places)

    def prefill_stops(self, token_ids: np.ndarray, step: int) -> list[int]:
        stops = super().prefill_stops(token_ids, step)
        return stops_around(stops, np.isin(token_ids, self._slot_ids)) if self._both_ways else stops

    def make_cache(self, max_kv_size: int | None = None) -> list[Any]:
        cache = super().make_cache(max_kv_size)
        return looking_ahead(cache) if self._both_ways else cache

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """Drops the sound side."""
        weights = rename(weights, TOWER_AND_DECODER)
        weights = {name: w for name, w in weights.items() if not name.startswith(("audio_tower.", "embed_audio."))}
        if self._vit is None:
            weights = rename(weights, PATCH_WORDS)
        else:
            weights = sanitize_gemma4_vit(weights, "vision_tower.", self._vit)
        return sanitize_decoder(self.language_model, weights)


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> FramedPictureProcessor:
    """From the checkpoint's preprocessor file; without one, what the tower is made for."""
    recipe = _budget(read_preprocessor(folder), config, MOST)
    return FramedPictureProcessor(slot_of(tokenizer, PICTURE, config["image_token_id"]), _frame(PICTURE), recipe)


def read_clips(folder: Path, config: Config, tokenizer: TokenizerLike) -> FramedClipProcessor:
    """The same for clips. Where the tokenizer lacks their token, as in some of the first checkpoints, it is the prompt
    that is refused: pictures can do without."""
    settings = read_clip_preprocessor(folder)
    sampling = EvenParts(
        fps=settings.get("fps", FPS),
        number=settings.get("num_frames", None if "fps" in settings else FRAMES),
        least=1,
        most=settings.get("max_frames", MAX_FRAMES),
        group=1,
    )
    return FramedClipProcessor(
        config["video_token_id"], _frame(CLIP), _budget(settings, config, MOST_IN_FRAME), sampling
    )


def _frame(slot: str) -> Frame:
    return Frame("<|image>", slot, "<image|>")


def _budget(settings: Mapping[str, Any], config: Config, most: int) -> PatchBudget:
    """Raises `CheckpointError` when it is not made for the tower."""
    vision, towerless = config["vision_config"], config["model_type"] == TOWERLESS
    cut = (vision["patch_size"], vision["pooling_kernel_size"])
    recipe = PatchBudget.read(settings, cut, most, whole=towerless, as_torch=towerless)
    if (recipe.patch, recipe.pool) != cut:
        raise CheckpointError(
            f"The preprocessor file cuts patches of (side, pool) {(recipe.patch, recipe.pool)}, the tower takes {cut}."
        )
    longest = vision["mm_posemb_size"] if towerless else vision["position_embedding_size"] // recipe.pool
    if recipe.most > longest:
        raise CheckpointError(f"A strip of {recipe.most} features is longer than the {longest} there are places for.")
    return recipe


FAMILY = Family(
    model_types=("gemma4", TOWERLESS),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO}),
    build=Gemma4,
    processor=read_processor,
    clips=read_clips,
    chat_template=TEMPLATE,
    locate=json_places(in_parts(1000), rows_first=True),
)
