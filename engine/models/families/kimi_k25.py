"""Kimi K2.5 (arXiv 2602.02276): pictures and clips at their own shape, a DeepSeek-V3 with many experts.

Four frames of a clip are looked at together and become as many features as one. Knows nothing of the other families.
"""

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.head import head_from_embeddings
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import Prefixes, rename
from engine.models.processors.grouped import CLIP, PICTURE, ClipGroupsProcessor, PictureProcessor, sampling
from engine.models.projectors.mlp import MLPProjector
from engine.models.recipes.bordered import BorderedRecipe
from engine.models.recipes.preprocessor import read_clip_preprocessor, read_preprocessor, slot_of
from engine.models.towers.features import last
from engine.models.towers.moon_names import sanitize_moon_vit
from engine.models.towers.moon_vit import MoonViT, MoonViTConfig
from engine.models.towers.slices import Slices

NAMES: Prefixes = (
    # transformers 5 saves the decoder's layers under the name that the tower's have with its authors.
    ("language_model.model.blocks.", "language_model.model.layers."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.mm_projector.in_proj.", "mm_projector.linear_1."),
    ("model.mm_projector.out_proj.", "mm_projector.linear_2."),
    ("mm_projector.proj.0.", "mm_projector.linear_1."),
    ("mm_projector.proj.2.", "mm_projector.linear_2."),
    ("model.", ""),
)

MOST_IN_PICTURE, MOST_IN_FRAME = 16384, 4096
"""Patches, where no file says it."""

TOGETHER = 4
"""Frames, where no file says it."""

TEMPLATE = (
    "{% for message in messages %}<|im_{{ message['role'] }}|>{{ message['role'] }}<|im_middle|>"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|media_begin|>image<|media_content|><|media_pad|><|media_end|>\n"
    "{% elif part['type'] == 'video' %}<|kimi_k25_video_placeholder|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>{% endif %}"
)


class Projector(MLPProjector):
    """Each patch normalised, a block's laid side by side, two layers."""

    def __init__(self, in_size: int, count: int, out_size: int, eps: float):
        super().__init__(in_size * count, out_size, hidden_size=in_size * count)
        self.pre_norm = nn.LayerNorm(in_size, eps)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, count, in_size) -> (N, out_size)."""
        return super().__call__(self.pre_norm(x).reshape(len(x), -1))


class KimiK25(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        vision, text = MoonViTConfig.read(config["vision_config"]), config["text_config"]
        self.vision_tower = MoonViT(vision)
        self.mm_projector = Projector(
            vision.hidden_size, vision.merge**2, text["hidden_size"], config["projection_layer_norm_eps"]
        )
        if not text.get("rope_interleave", True):
            raise CheckpointError("The text_config turns halves (rope_interleave), which is not known for this model.")
        self._tied = config["tie_word_embeddings"]
        self.language_model = build_decoder({**text, "model_type": "deepseek_v3"})

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (patches, values), `grids` (groups of frames, 3) -> (features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        patches, first, seen = mx.array(media.arrays["pixel_values"]), 0, []
        slices = Slices(self.tower_bytes)
        for grid in media.arrays["grids"].tolist():
            behind = first + grid[0] * grid[1] * grid[2]
            features = yield from self.vision_tower.in_slices(patches[first:behind], tuple(grid), slices)
            seen.append(self.mm_projector(features))
            mx.eval(seen[-1])
            first = behind
            yield
        yield mx.concatenate(seen)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_moon_vit(rename(weights, NAMES), "vision_tower.", self.vision_tower.config.heads)
        if self._tied:
            weights = head_from_embeddings(weights)
        return sanitize_decoder(self.language_model, weights)


def read_pictures(folder: Path, config: Config, tokenizer: TokenizerLike) -> PictureProcessor:
    """From the checkpoint's preprocessor file; what it does not say is as in its type, with the tower's patches. Raises
    `CheckpointError` when its patches are not those of the tower."""
    recipe = _recipe(read_preprocessor(folder), config, MOST_IN_PICTURE)
    return PictureProcessor(PICTURE, slot_of(tokenizer, PICTURE, config["image_token_id"]), recipe)


def read_clips(folder: Path, config: Config, tokenizer: TokenizerLike) -> ClipGroupsProcessor:
    """The same for clips. Raises `CheckpointError`, too, for more frames put together than the tower tells apart."""
    settings = read_clip_preprocessor(folder)
    recipe, group = _recipe(settings, config, MOST_IN_FRAME), settings.get("temporal_patch_size", TOGETHER)
    if group > (known := MoonViTConfig.read(config["vision_config"]).frames):
        raise CheckpointError(f"The clips' preprocessor file puts {group} frames together, the tower knows {known}.")
    slot_id = slot_of(tokenizer, CLIP, config["video_token_id"])
    return ClipGroupsProcessor(CLIP, slot_id, recipe, group, sampling(settings))


def _recipe(settings: Config, config: Config, most: int) -> BorderedRecipe:
    vision = MoonViTConfig.read(config["vision_config"])
    own = {"patch_size": vision.patch, "merge_size": vision.merge}
    recipe = BorderedRecipe.read(own | settings, most)
    if (recipe.patch, recipe.merge) != (vision.patch, vision.merge):
        raise CheckpointError(
            f"The preprocessor file cuts patches of (side, merge) {(recipe.patch, recipe.merge)}, "
            f"the tower takes {(vision.patch, vision.merge)}."
        )
    return recipe


FAMILY = Family(
    model_types=("kimi_k25",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO}),
    build=KimiK25,
    processor=read_pictures,
    clips=read_clips,
    chat_template=TEMPLATE,
)
