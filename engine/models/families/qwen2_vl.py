"""Qwen2-VL (arXiv 2409.12191) and Qwen2.5-VL (arXiv 2502.13923): pictures and clips at their own shape, a Qwen2 that
knows rows and columns.

The two differ in the tower, and in how they count a clip's time. Knows nothing of the other families.
"""

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.api.events import Modality, Region
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike
from engine.models.clips.clip_patches import ClipPatchRecipe
from engine.models.clips.frame_sampling import EvenSteps
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.grounding.json_places import json_places
from engine.models.grounding.question import Question, in_parts, in_patches
from engine.models.grounding.tags import boxes_between
from engine.models.joined.grid import GridModel
from engine.models.layers.mrope import tell_axes_apart
from engine.models.names import Prefixes, rename
from engine.models.processors.patched import (
    PatchedClipProcessor,
    PatchedPictureProcessor,
    check_cut,
    clip_settings,
    tower_cut,
)
from engine.models.recipes.patches import PatchRecipe
from engine.models.recipes.preprocessor import CLIP_MEAN, CLIP_STD, read_preprocessor, slot_of
from engine.models.towers.qwen_vit import GatedMLP, QwenViT, QwenViTConfig, patch_shape, sanitize_qwen_vit
from engine.models.towers.vit import MLP

NAMES: Prefixes = (
    ("model.language_model.", "language_model.model."),
    ("model.visual.", "vision_tower."),
    ("visual.", "vision_tower."),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)

PICTURE, CLIP = "<|image_pad|>", "<|video_pad|>"

CLIP_BOUNDS = 128 * 28 * 28, 768 * 28 * 28
"""Pixels of a frame, of a checkpoint whose files say nothing of clips."""

CAP = 128000
"""Features of a clip, where a file asks for a cap and does not say which."""

TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Qwen2VL(GridModel):
    steps_apart = False

    def __init__(self, config: Config):
        super().__init__()
        text, vision = config["text_config"], config["vision_config"]
        if "sliding_attention" in (text.get("layer_types") or ()):
            raise CheckpointError("The config gives some layers a sliding window, which is not known for this model.")
        self._rate = vision["tokens_per_second"] if config["model_type"] == "qwen2_5_vl" else None
        self.vision_tower = _tower(config["model_type"], vision)
        self.language_model = build_decoder({**text, "model_type": "qwen2"})
        self._step = tell_axes_apart(self.language_model, text)

    def interval(self, media: PreparedMedia) -> float:
        """Qwen2.5-VL counts in time, Qwen2-VL in steps."""
        if self._rate is None or media.modality is not Modality.VIDEO:
            return 1
        return self._rate * media.arrays["seconds_per_step"]

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


def read_pictures(folder: Path, config: Config, tokenizer: TokenizerLike) -> PatchedPictureProcessor:
    """From the checkpoint's preprocessor file; what it does not say is as in Qwen2-VL's own. Raises `CheckpointError`
    when its patches are not those of the tower."""
    recipe = PatchRecipe.read(read_preprocessor(folder))
    check_cut(recipe, config["vision_config"])
    return PatchedPictureProcessor(PICTURE, slot_of(tokenizer, PICTURE, config["image_token_id"]), recipe)


def read_clips(folder: Path, config: Config, tokenizer: TokenizerLike) -> PatchedClipProcessor:
    """From what the checkpoint says of clips; what it does not say is as in transformers' class, but for the tower's
    patches. Raises `CheckpointError` when its patches are not those of the tower."""
    settings, cut = clip_settings(folder), tower_cut(config["vision_config"])
    recipe = ClipPatchRecipe.read(
        settings, cut=cut, bounds=CLIP_BOUNDS, mean=CLIP_MEAN, std=CLIP_STD, together=False, max_tokens=CAP
    )
    check_cut(recipe, config["vision_config"])
    slot_id = slot_of(tokenizer, CLIP, config["video_token_id"])
    return PatchedClipProcessor(CLIP, slot_id, recipe, EvenSteps.read(settings, recipe.frames), _in_one_piece)


def _in_one_piece(seconds: np.ndarray, features: int) -> str:
    return CLIP * (len(seconds) * features)


IN_PIXELS = json_places(in_patches)
IN_THOUSANDTHS = boxes_between(
    ("<|object_ref_start|>", "<|object_ref_end|>"), ("<|box_start|>", "<|box_end|>"), in_parts(1000)
)


def locate(answer: str, question: Question) -> tuple[Region, ...]:
    """Qwen2.5-VL counts pixels of the picture as it was scaled, Qwen2-VL thousandths between tags."""
    newer = question.config["model_type"] == "qwen2_5_vl"
    return (IN_PIXELS if newer else IN_THOUSANDTHS)(answer, question)


FAMILY = Family(
    model_types=("qwen2_vl", "qwen2_5_vl"),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO}),
    build=Qwen2VL,
    processor=read_pictures,
    clips=read_clips,
    chat_template=TEMPLATE,
    locate=locate,
)
