"""LLaVA 1.5 and its kin (arXiv 2310.03744): a CLIP or SigLIP tower, two linear layers, and any text decoder.

Knows nothing of the other families.
"""

from pathlib import Path

import mlx.core as mx

from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import TOWER_AND_DECODER, rename
from engine.models.processors.whole import WholePictureProcessor
from engine.models.projectors.mlp import MLPProjector
from engine.models.recipes.preprocessor import picture_recipe, read_preprocessor, slot_of
from engine.models.towers.features import SIGLIP, Features, build_tower
from engine.models.towers.vit import ViTConfig, sanitize_tower

MARKER = "<image>"

TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'] | upper }}: {% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    " {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


class Llava(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        self._features = Features.read(config)
        self.vision_tower = build_tower(config["vision_config"])
        self.multi_modal_projector = MLPProjector(
            self._features.width,
            config["text_config"]["hidden_size"],
            hidden_act=config["projector_hidden_act"],
            bias=config["multimodal_projector_bias"],
        )
        self.language_model = build_decoder(config["text_config"])

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (1, 3, H, W) -> (features, D)."""
        seen = self._features.of(self.vision_tower, mx.array(media.arrays["pixel_values"]))
        return self.multi_modal_projector(seen[0])

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_tower(rename(weights, TOWER_AND_DECODER), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> WholePictureProcessor:
    """From the checkpoint's preprocessor file. Without one, what CLIP or SigLIP does at the tower's size."""
    vision = ViTConfig.read(config["vision_config"])
    settings = read_preprocessor(folder) or _standard(config["vision_config"]["model_type"], vision.image_size)
    count = Features.read(config).count
    return WholePictureProcessor(
        marker=MARKER,
        slot_id=slot_of(tokenizer, MARKER, config["image_token_index"]),
        recipe=picture_recipe(settings),
        side=vision.image_size,
        expansion=MARKER * count,
        feature_count=count,
    )


def _standard(tower: str, side: int) -> dict[str, object]:
    square = {"height": side, "width": side}
    if tower == SIGLIP:
        return {"image_processor_type": "SiglipImageProcessor", "size": square}
    return {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": side}, "crop_size": square}


FAMILY = Family(
    model_types=("llava",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Llava,
    processor=read_processor,
    chat_template=TEMPLATE,
)
