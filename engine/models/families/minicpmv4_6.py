"""MiniCPM-V 4.6: SigLIP that merges patches in its middle, slices of large pictures, and Qwen3.5's decoder.

A clip is a picture after the other. Knows nothing of the other families.
"""

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.qwen3_5 import build_qwen3_5
from engine.models.decoders.text import sanitize_decoder
from engine.models.names import Prefixes, rename
from engine.models.processors.sliced import CLIP, PICTURE, SlicedClipProcessor, SlicedPictureProcessor
from engine.models.projectors.pixel_shuffle import PixelShuffleMLP
from engine.models.recipes.pictures import Pair
from engine.models.recipes.preprocessor import (
    read_clip_preprocessor,
    read_preprocessor,
    read_processor_settings,
    slot_of,
)
from engine.models.recipes.slices import SliceRecipe
from engine.models.towers.features import last, shape_by_shape
from engine.models.towers.merging_siglip import SIDE, MergingSiglip
from engine.models.towers.vit import ViTConfig, sanitize_tower

NAMES: Prefixes = (
    ("model.merger.mlp.0.pre_norm.", "merger.layer_norm."),
    ("model.merger.mlp.0.", "merger."),
    ("merger.mlp.0.pre_norm.", "merger.layer_norm."),
    ("merger.mlp.0.", "merger."),
    ("vit_merger.", "vision_tower.vit_merger."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", ""),
)

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{{ '' if loop.first else '\n' }}{% if part['type'] == 'image' %}<|image_pad|>"
    "{% elif part['type'] == 'video' %}<|video_pad|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n"
    "{% if not enable_thinking %}\n</think>\n\n{% endif %}{% endif %}"
)


class MiniCPMV46(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        _refuse_unknown(config)
        vision, text = ViTConfig.read(config["vision_config"]), config["text_config"]
        merges_after = config["insert_layer_id"] if config["downsample_mode"] != "4x" else None
        self.vision_tower = MergingSiglip(vision, merges_after)
        width = vision.hidden_size
        self.merger = PixelShuffleMLP(width, SIDE**2 * width, text["hidden_size"], SIDE, eps=1e-6)
        self.language_model = build_qwen3_5(text)

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (patches, values), `shapes` (slices, 2) -> (features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        patches = mx.array(media.arrays["pixel_values"])
        yield (yield from shape_by_shape(self._look, patches, media.arrays["shapes"]))

    def _look(self, patches: mx.array, shape: Pair) -> mx.array:
        features = self.merger(self.vision_tower(patches, shape))
        return features.reshape(-1, features.shape[-1])

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_tower(rename(weights, NAMES), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)


def _refuse_unknown(config: Config) -> None:
    square = [SIDE, SIDE]
    known = {
        "window_kernel_size": list(config["vision_config"]["window_kernel_size"]) == square,
        "merge_kernel_size": list(config["merge_kernel_size"]) == square,
        "merger_times": config["merger_times"] == 1,
        "drop_vision_last_layer": not config["drop_vision_last_layer"],
        "insert_layer_id": 0 <= config["insert_layer_id"] < config["vision_config"]["num_hidden_layers"],
    }
    if unknown := [name for name in known if not known[name]]:
        raise CheckpointError(f"The config says of {', '.join(unknown)} what is not known for this model.")


def read_pictures(folder: Path, config: Config, tokenizer: TokenizerLike) -> SlicedPictureProcessor:
    """From the checkpoint's preprocessor file; what it does not say is as in its type. Raises `CheckpointError` when
    its patches are not those of the model."""
    settings = read_preprocessor(folder)
    recipe = _recipe(settings, config)
    slot_id = slot_of(tokenizer, PICTURE, config["image_token_id"])
    return SlicedPictureProcessor(PICTURE, slot_id, recipe, _has_number(folder, settings))


def read_clips(folder: Path, config: Config, tokenizer: TokenizerLike) -> SlicedClipProcessor:
    """The same for clips. Whether they are numbered is said where it is for pictures."""
    settings = read_clip_preprocessor(folder)
    if settings.get("stack_frames", 1) > 1:
        raise CheckpointError(
            "The clips' preprocessor file puts frames into one picture (stack_frames), not known here."
        )
    recipe = _recipe(settings, config)
    slot_id = slot_of(tokenizer, CLIP, config["video_token_id"])
    has_number = _has_number(folder, read_preprocessor(folder))
    return SlicedClipProcessor(CLIP, slot_id, recipe, has_number, settings.get("max_num_frames", 128))


def _recipe(settings: Config, config: Config) -> SliceRecipe:
    own = {"patch_size": config["vision_config"]["patch_size"], "downsample_mode": config["downsample_mode"]}
    recipe, wanted = SliceRecipe.read(own | settings), SliceRecipe.read(own)
    if (recipe.patch, recipe.merge) != (wanted.patch, wanted.merge):
        raise CheckpointError(
            f"The preprocessor file makes features of (side, merge) {(recipe.patch, recipe.merge)}, "
            f"the model takes {(wanted.patch, wanted.merge)}."
        )
    return recipe


def _has_number(folder: Path, settings: Config) -> bool:
    return read_processor_settings(folder).get("use_image_id", settings.get("use_image_id", True))


FAMILY = Family(
    model_types=("minicpmv4_6",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO}),
    build=MiniCPMV46,
    processor=read_pictures,
    clips=read_clips,
    chat_template=TEMPLATE,
)
