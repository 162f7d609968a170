"""LLaVA 1.5 and its kin (arXiv 2310.03744): a CLIP or SigLIP tower, two linear layers, and any text decoder.

Knows nothing of the other families.
"""

from pathlib import Path

import mlx.core as mx
from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import Prefixes, rename
from engine.models.pictures import PictureRecipe, fingerprint
from engine.models.preprocessor import picture_recipe, read_preprocessor, slot_of
from engine.models.projectors.mlp import MLPProjector
from engine.models.towers.features import SIGLIP, Features, build_tower
from engine.models.towers.vit import ViTConfig, sanitize_tower

NAMES: Prefixes = (
    ("model.vision_tower.vision_model.", "vision_tower."),
    ("model.vision_tower.", "vision_tower."),
    ("vision_tower.vision_model.", "vision_tower."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)

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
        weights = sanitize_tower(rename(weights, NAMES), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)


class LlavaProcessor:
    """One picture of the tower's size, and one marker for each feature."""

    marker = "<image>"

    def __init__(self, recipe: PictureRecipe, side: int, features: int, slot_id: int):
        self.slot_id = slot_id
        self._recipe = recipe
        self._side = side
        self._features = features

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        pixels = self._recipe(picture)
        if pixels.shape[1:] != (self._side, self._side):
            raise CheckpointError(
                f"The preprocessor file makes a picture of {pixels.shape[2]} x {pixels.shape[1]} pixels, "
                f"the tower takes {self._side} x {self._side}."
            )
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": pixels[None]},
            expansion=self.marker * self._features,
            feature_count=self._features,
            digest=fingerprint(digest, self._recipe),
        )


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> LlavaProcessor:
    """From the checkpoint's preprocessor file. Without one, what CLIP or SigLIP does at the tower's size."""
    vision = ViTConfig.read(config["vision_config"])
    settings = read_preprocessor(folder) or _standard(config["vision_config"]["model_type"], vision.image_size)
    slot_id = slot_of(tokenizer, LlavaProcessor.marker, config["image_token_index"])
    return LlavaProcessor(picture_recipe(settings), vision.image_size, Features.read(config).count, slot_id)


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
