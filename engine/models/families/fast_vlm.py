"""FastVLM (arXiv 2412.13303): a tower of convolutions that looks at large pictures quickly, and Qwen2.

Reads transformers' form and the authors' own (`llava_qwen2`), whose tokenizer has no token for a picture's place. Knows
nothing of the other families.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import Prefixes, rename
from engine.models.processors.whole import WholePictureProcessor
from engine.models.projectors.mlp import MLPProjector
from engine.models.recipes.preprocessor import picture_recipe, read_preprocessor, slot_of
from engine.models.towers.fastvit import FastViT, FastViTConfig
from engine.models.towers.fastvit_names import sanitize_fastvit
from engine.models.towers.features import last

NAMES: Prefixes = (
    ("model.vision_tower.timm_model.", "vision_tower."),
    ("model.vision_tower.vision_tower.model.", "vision_tower."),
    ("vision_tower.vision_model.", "vision_tower."),
    ("vision_tower.timm_model.", "vision_tower."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    ("model.mm_projector.0.", "multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "multi_modal_projector.linear_2."),
    ("mm_projector.0.", "multi_modal_projector.linear_1."),
    ("mm_projector.2.", "multi_modal_projector.linear_2."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", "language_model.model."),
)

MARKER = "<image>"

SIDE = 1024
"""Of a picture, where no file says it."""

TOWER = "mobileclip_l_"
"""How the authors call the tower; the side of its pictures follows."""

UNUSED = "<|endoftext|>"
"""No prompt holds it, so it can keep a picture's place where no token is made for that."""

TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class FastVLM(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        tower, text = _tower(config), _text(config)
        self.vision_tower = FastViT(tower)
        self.multi_modal_projector = MLPProjector(
            tower.out_size,
            text["hidden_size"],
            hidden_act=config.get("projector_hidden_act", "gelu"),
            bias=config.get("multimodal_projector_bias", True),
        )
        self.language_model = build_decoder(text)

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (1, 3, H, W) -> (features, D), row by row."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        for seen in self.vision_tower.layer_by_layer(mx.array(media.arrays["pixel_values"])):
            mx.eval(seen)
            yield
        yield self.multi_modal_projector(seen.reshape(-1, seen.shape[-1]))

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_fastvit(rename(weights, NAMES), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)


def _is_original(config: Config) -> bool:
    return config["model_type"] != "fast_vlm"


def _text(config: Config) -> Config:
    """The authors keep the decoder's settings at the top."""
    if _is_original(config):
        return {**(config.get("text_config") or config), "model_type": "qwen2"}
    return config["text_config"]


def _tower(config: Config) -> FastViTConfig:
    """Raises `CheckpointError` for a tower or a projector that is not known."""
    vision = config.get("vision_config") or {}
    if _is_original(config):
        found = (str(config.get("mm_vision_tower")).rstrip("0123456789"), config.get("mm_projector_type"))
        known = (TOWER, "mlp2x_gelu")
    else:
        found, known = vision.get("architecture"), "fastvit_mci3"
    if found != known:
        raise CheckpointError(f"This model looks through {found}; of its type only {known} is known here.")
    return FastViTConfig.read(vision.get("model_args") or {})


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> WholePictureProcessor:
    """From the checkpoint's preprocessor file; without one, black is put around a picture to make it a square as large
    as the tower's. Raises `CheckpointError` for pictures that are not whole features."""
    original = _is_original(config)
    side = int(config["mm_vision_tower"].removeprefix(TOWER) or SIDE) if original else SIDE
    said = read_preprocessor(folder)
    if original:
        # A file of theirs leaves to the config whether there is something around.
        kind = {"image_processor_type": "LlavaImageProcessor", "do_pad": config.get("image_aspect_ratio") == "pad"}
        said = _black_around(side) | said | kind
    recipe = picture_recipe(said or _black_around(side))
    side, patch = recipe.crop[0] if recipe.crop else side, _tower(config).patch
    if side % patch:
        raise CheckpointError(f"The preprocessor file makes pictures of {side} pixels, a feature has {patch}.")
    count = (side // patch) ** 2
    place = UNUSED if original else MARKER
    slot_id = tokenizer.convert_tokens_to_ids(place) if original else config["image_token_index"]
    return WholePictureProcessor(
        marker=MARKER,
        slot_id=slot_of(tokenizer, place, slot_id),
        recipe=recipe,
        side=side,
        expansion=place * count,
        feature_count=count,
    )


def _black_around(side: int) -> dict[str, Any]:
    return {
        "image_processor_type": "LlavaImageProcessor",
        "do_pad": True,
        "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side},
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
    }


FAMILY = Family(
    model_types=("fast_vlm", "llava_qwen2", "fastvlm"),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=FastVLM,
    processor=read_processor,
    chat_template=TEMPLATE,
)
