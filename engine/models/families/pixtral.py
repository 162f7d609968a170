"""Pixtral (arXiv 2410.07073) and Mistral 3, which is the same model with blocks of patches merged into one feature.

Pixtral's tower looks at pictures at their own shape; Mistral's decoders read them row by row. Mistral Small 3.1 and
3.2 have a Mistral, Ministral 3 has a decoder of its own. Knows nothing of the other families.
"""

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import TOWER_AND_DECODER, rename
from engine.models.projectors.merging import MergingProjector
from engine.models.projectors.mlp import MLPProjector
from engine.models.recipes.preprocessor import read_preprocessor, slot_of
from engine.models.recipes.rows import MARKER, RowProcessor, RowRecipe
from engine.models.towers.features import last
from engine.models.towers.pixtral_vit import PixtralViT, pixtral_shape, sanitize_pixtral_vit
from engine.models.towers.slices import Slices

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}[INST]{% elif message['role'] == 'system' %}[SYSTEM_PROMPT]{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}[IMG]{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% if message['role'] == 'user' %}[/INST]{% elif message['role'] == 'system' %}[/SYSTEM_PROMPT]"
    "{% else %}{{ eos_token }}{% endif %}{% endfor %}"
)


class Pixtral(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        vision, text = config["vision_config"], config["text_config"]
        self._depth = _depth(config)
        self.vision_tower = PixtralViT(vision)
        shared = {"hidden_act": config["projector_hidden_act"], "bias": config["multimodal_projector_bias"]}
        widths = vision["hidden_size"], text["hidden_size"]
        if config["model_type"] == "mistral3":
            self.multi_modal_projector = MergingProjector(
                *widths, merge=config["spatial_merge_size"], eps=text["rms_norm_eps"], **shared
            )
        else:
            self.multi_modal_projector = MLPProjector(*widths, **shared)
        self.language_model = build_decoder(text)

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (1, 3, H, W) -> (features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        pixels, slices = mx.array(media.arrays["pixel_values"]), Slices(self.tower_bytes)
        features = self.multi_modal_projector((yield from self.vision_tower.in_slices(pixels, self._depth, slices)))
        yield features.reshape(-1, features.shape[-1])

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_pixtral_vit(rename(weights, TOWER_AND_DECODER), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)


def _depth(config: Config) -> int:
    """How many of the tower's layers are computed; what comes out of the last of them is what the projector sees."""
    layer, depth = config["vision_feature_layer"], config["vision_config"]["num_hidden_layers"]
    if not isinstance(layer, int) or not -depth - 1 <= layer <= depth:
        raise CheckpointError(f"The config's vision_feature_layer is {layer!r}, which is not one layer of the tower.")
    if config.get("vision_feature_select_strategy", "full") != "full":
        raise CheckpointError("The config drops a patch of each picture, which cannot be for this tower.")
    return layer % (depth + 1)


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> RowProcessor:
    """From the checkpoint's preprocessor file. Without one, pictures are at most as large as the tower's own."""
    vision = pixtral_shape(config["vision_config"])
    side = vision.patch_size * (config["spatial_merge_size"] if config["model_type"] == "mistral3" else 1)
    recipe = RowRecipe.read(read_preprocessor(folder), side, vision.image_size)
    return RowProcessor(slot_of(tokenizer, MARKER, config["image_token_index"]), recipe)


FAMILY = Family(
    model_types=("pixtral", "mistral3"),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Pixtral,
    processor=read_processor,
    chat_template=TEMPLATE,
)
