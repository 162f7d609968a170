"""Molmo 2 (allenai.org/papers/molmo2): overlapping crops or frames, a few patches pooled by attention, and a decoder
that all pictures of a prompt see each other in.

Features are added to the tokens they stand on. Answers may name points as text, as in `<points coords="1 1 532 270">`:
picture, number, and thousandths of its width and height. Knows nothing of the other families.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.molmo2 import build_molmo2_decoder, sanitize_molmo2_decoder
from engine.models.decoders.text import sanitize_decoder
from engine.models.grounding.tags import point_tags
from engine.models.layers.blocks import looking_ahead, seen_both_ways, stops_around
from engine.models.names import Prefixes, rename
from engine.models.processors.cropped import CroppedPictureProcessor, SquareClipProcessor, Words
from engine.models.projectors.pooling import PoolingProjector
from engine.models.recipes.overlapping_crops import CropRecipe, WholeRecipe
from engine.models.recipes.preprocessor import (
    read_clip_preprocessor,
    read_preprocessor,
    read_processor_settings,
    slot_of,
)
from engine.models.towers.features import last, tile_by_tile
from engine.models.towers.molmo2_vit import Molmo2ViT, molmo2_shape, sanitize_molmo2_vit

NAMES: Prefixes = (
    ("model.language_model.", "language_model.model."),
    ("model.transformer.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.vision_backbone.image_vit.", "vision_tower."),
    ("model.vision_backbone.", "multi_modal_projector."),
    ("vision_tower.image_pooling_2d.", "multi_modal_projector.image_pooling_2d."),
    ("vision_tower.image_projector.", "multi_modal_projector.image_projector."),
    ("model.", ""),
)

PROJECTOR_NAMES: Prefixes = tuple(
    (f"multi_modal_projector.{part}.w{old}.", f"multi_modal_projector.{part}.{new}_proj.")
    for part, layers in {
        "image_pooling_2d": {"q": "q", "k": "k", "v": "v", "o": "o"},
        "image_projector": {"1": "gate", "2": "down", "3": "up"},
    }.items()
    for old, new in layers.items()
)
"""Those of before transformers 5."""

SEEN = {
    "image_start_token_id": 151936,
    "image_end_token_id": 151937,
    "image_patch_id": 151938,
    "image_col_id": 151939,
    "low_res_image_start_token_id": 151940,
    "image_low_res_id": 151942,
    "frame_start_token_id": 151943,
    "frame_end_token_id": 151944,
}
"""The tokens that see each other both ways, by their names in a config; files of transformers 5 may leave some out."""

TEMPLATE = (
    "{{ bos_token or eos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|image|>{% elif part['type'] == 'video' %}<|video|>{% else %}"
    "{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Molmo2(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        self._text, self._shape = config["text_config"], molmo2_shape(config["vision_config"])
        # In either way of counting, a state's number is one more than that of the layer it comes out of.
        layers = config["adapter_config"]["vision_feature_layer"]
        self._states = [layer % self._shape.num_hidden_layers + 1 for layer in layers]
        self._seen = [config.get(name, standard) for name, standard in SEEN.items()]
        self.vision_tower = Molmo2ViT(self._shape)
        self.multi_modal_projector = PoolingProjector(config["adapter_config"])
        self.language_model = build_molmo2_decoder(self._text)

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (crops or frames, 3, side, side), `pooled` (T, P) of all crops or of each frame
        -> (features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        pixels, project = mx.array(media.arrays["pixel_values"]), partial(self._projected, media.arrays["pooled"])
        if media.modality is Modality.VIDEO:
            yield (yield from tile_by_tile(lambda frame: project(self._look(frame)), pixels))
        else:
            yield project((yield from tile_by_tile(self._look, pixels)))

    def _look(self, pixels: mx.array) -> mx.array:
        states = self.vision_tower.hidden_states(pixels)
        return mx.concatenate([states[number] for number in self._states], axis=-1)

    def _projected(self, pooled: np.ndarray, patches: mx.array) -> mx.array:
        return self.multi_modal_projector(patches, pooled)

    def embed(self, ids: mx.array, slots: mx.array, features: mx.array) -> mx.array:
        """Features do not take the place of their tokens' embeddings: they are added."""
        embeddings = self.embed_tokens(ids)
        embeddings[0, slots] += features.astype(embeddings.dtype)
        return embeddings

    def __call__(
        self, ids: mx.array, cache: list[Any] | None = None, embeddings: mx.array | None = None, **places: Any
    ) -> mx.array:
        if embeddings is None:
            return super().__call__(ids, cache, **places)
        cache = self.make_cache() if cache is None else cache
        blocks = np.where(np.isin(np.array(ids[0]), self._seen), 0, -1)
        with seen_both_ways(cache, mx.array(blocks), whole=False):
            return super().__call__(ids, cache, embeddings, **places)

    def prefill_stops(self, token_ids: np.ndarray, step: int) -> list[int]:
        """All pictures are one block, whatever stands between them: it is computed at once."""
        places = np.flatnonzero(np.isin(token_ids, self._seen))
        inside = np.zeros(len(token_ids), bool)
        if len(places):
            inside[places[0] : places[-1] + 1] = True
        return stops_around(super().prefill_stops(token_ids, step), inside)

    def make_cache(self, max_kv_size: int | None = None) -> list[Any]:
        return looking_ahead(super().make_cache(max_kv_size))

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = rename(rename(weights, NAMES), PROJECTOR_NAMES)
        weights = sanitize_molmo2_vit(weights, "vision_tower.", self._shape)
        return sanitize_decoder(self.language_model, sanitize_molmo2_decoder(weights, self._text))


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> CroppedPictureProcessor:
    """From the checkpoint's processor files; without them, as in transformers' class, with the tower's sizes."""
    shape = molmo2_shape(config["vision_config"])
    recipe = CropRecipe.read(read_preprocessor(folder), shape.image_size, shape.patch_size)
    return CroppedPictureProcessor(_words(folder, config, tokenizer), recipe)


def read_clip_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> SquareClipProcessor:
    shape, settings = molmo2_shape(config["vision_config"]), read_clip_preprocessor(folder)
    recipe = WholeRecipe.read(settings, shape.image_size, shape.patch_size, (3, 3))
    return SquareClipProcessor.read(settings, _words(folder, config, tokenizer), recipe)


def _words(folder: Path, config: Config, tokenizer: TokenizerLike) -> Words:
    return Words.read(read_processor_settings(folder), slot_of(tokenizer, Words.slot, config["image_patch_id"]))


FAMILY = Family(
    model_types=("molmo2",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO}),
    build=Molmo2,
    processor=read_processor,
    clips=read_clip_processor,
    chat_template=TEMPLATE,
    locate=point_tags,
    begin=lambda tokenizer: tokenizer.bos_token or tokenizer.eos_token or "",
)
