"""Qwen2-VL (arXiv 2409.12191) and Qwen2.5-VL (arXiv 2502.13923): pictures at their own shape, a Qwen2 that knows rows
and columns.

The two differ in the tower only. Knows nothing of the other families.
"""

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.layers.mrope import tell_axes_apart
from engine.models.names import Prefixes, rename
from engine.models.patches import PatchRecipe
from engine.models.pictures import fingerprint
from engine.models.positions import Positions, grid_positions
from engine.models.preprocessor import read_preprocessor, slot_of
from engine.models.towers.qwen_vit import GatedMLP, QwenViT, QwenViTConfig, patch_shape, sanitize_qwen_vit
from engine.models.towers.vit import MLP

NAMES: Prefixes = (
    ("model.language_model.", "language_model.model."),
    ("model.visual.", "vision_tower."),
    ("visual.", "vision_tower."),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)

TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Qwen2VL(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        text = config["text_config"]
        if "sliding_attention" in (text.get("layer_types") or ()):
            raise CheckpointError("The config gives some layers a sliding window, which is not known for this model.")
        self.vision_tower = _tower(config["model_type"], config["vision_config"])
        self.language_model = build_decoder({**text, "model_type": "qwen2"})
        self._step = tell_axes_apart(self.language_model, text)

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (patches, values) and their `grid` (3,) -> (features, D)."""
        return self.vision_tower(mx.array(media.arrays["pixel_values"]), tuple(media.arrays["grid"].tolist()))

    def positions_for(self, ids: np.ndarray, slots: np.ndarray, media: tuple[PreparedMedia, ...]) -> Positions | None:
        if not media:
            return None
        merge = self.vision_tower.config.merge
        per_feature = np.array([1, merge, merge])
        grids = [tuple((item.arrays["grid"] // per_feature).tolist()) for item in media]
        return grid_positions(len(ids), slots, grids)

    def __call__(
        self,
        ids: mx.array,
        cache: list[Any] | None = None,
        embeddings: mx.array | None = None,
        *,
        positions: mx.array | None = None,
        shift: int | mx.array = 0,
    ) -> mx.array:
        with self._step.during(positions, shift):
            return super().__call__(ids, cache, embeddings)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_qwen_vit(rename(weights, NAMES), "vision_tower.", self.vision_tower.config)
        return sanitize_decoder(self.language_model, weights)


def _tower(model_type: str, vision: Config) -> QwenViT:
    shared = {
        "depth": vision["depth"],
        "heads": vision["num_heads"],
        "hidden_act": vision["hidden_act"],
        "patch_shape": patch_shape(vision),
        "merge": vision["spatial_merge_size"],
        "rope_theta": vision["rope_theta"],
    }
    if model_type == "qwen2_vl":
        config = QwenViTConfig(
            hidden_size=vision["embed_dim"],
            intermediate_size=int(vision["embed_dim"] * vision["mlp_ratio"]),
            out_size=vision["hidden_size"],
            **shared,
        )
        return QwenViT(config, nn.LayerNorm, MLP)
    config = QwenViTConfig(
        hidden_size=vision["hidden_size"],
        intermediate_size=vision["intermediate_size"],
        out_size=vision["out_hidden_size"],
        window=vision["window_size"] // vision["patch_size"] // vision["spatial_merge_size"],
        whole_blocks=frozenset(vision["fullatt_block_indexes"]),
        **shared,
    )
    return QwenViT(config, nn.RMSNorm, GatedMLP)


class Qwen2VLProcessor:
    marker = "<|image_pad|>"

    def __init__(self, recipe: PatchRecipe, slot_id: int):
        self.slot_id = slot_id
        self._recipe = recipe

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        patches, grid = self._recipe(picture)
        features = len(patches) // self._recipe.merge**2
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": patches, "grid": np.array(grid)},
            expansion=self.marker * features,
            feature_count=features,
            digest=fingerprint(digest, self._recipe),
        )


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> Qwen2VLProcessor:
    """From the checkpoint's preprocessor file; what it does not say is as in Qwen2-VL's own. Raises `CheckpointError`
    when its patches are not those of the tower."""
    recipe, vision = PatchRecipe.read(read_preprocessor(folder)), config["vision_config"]
    cut = (recipe.frames, recipe.patch, recipe.merge)
    wanted = (vision["temporal_patch_size"], vision["patch_size"], vision["spatial_merge_size"])
    if cut != wanted:
        raise CheckpointError(
            f"The preprocessor file cuts patches of (frames, side, merge) {cut}, the tower takes {wanted}."
        )
    return Qwen2VLProcessor(recipe, slot_of(tokenizer, Qwen2VLProcessor.marker, config["image_token_id"]))


FAMILY = Family(
    model_types=("qwen2_vl", "qwen2_5_vl"),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Qwen2VL,
    processor=read_processor,
    chat_template=TEMPLATE,
)
