"""PaddleOCR-VL (arXiv 2510.14528): pages at their own shape, and a small ERNIE 4.5 that knows rows and columns.

Knows nothing of the other families. This ERNIE turns halves and not neighbours, which makes it a Llama.
"""

from pathlib import Path

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, TokenizerLike
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.joined.grid import GridModel
from engine.models.layers.mrope import tell_axes_apart
from engine.models.names import Prefixes, rename
from engine.models.processors.patched import PatchedPictureProcessor, check_cut
from engine.models.recipes.patches import PatchRecipe, whole_blocks
from engine.models.recipes.pictures import Pair, refuse_strip
from engine.models.recipes.preprocessor import read_preprocessor, slot_of
from engine.models.towers.turned_siglip import TurnedSiglip, sanitize_turned_siglip

NAMES: Prefixes = (
    ("model.visual.vision_model.", "vision_tower."),
    ("visual.vision_model.", "vision_tower."),
    ("model.projector.", "vision_tower.merger."),
    ("mlp_AR.", "vision_tower.merger."),
    # mlx-community
    ("visual.projector.", "vision_tower.merger."),
    ("visual.", "vision_tower."),
    ("model.language_model.", "language_model.model."),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)

SLOT = "<|IMAGE_PLACEHOLDER|>"

PICTURES = {
    "temporal_patch_size": 1,
    "size": {"shortest_edge": 384 * 384, "longest_edge": 1536 * 1536},
}
"""What a preprocessor file does not say."""

TEMPLATE = (
    "{{ '<|begin_of_sentence|>' }}{% for message in messages %}{% if message['role'] == 'user' %}User: {% endif %}"
    "{% if message['role'] == 'assistant' %}Assistant:\n{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% else %}{{ '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:\n{% endif %}"
)


class PaddleOCRVL(GridModel):
    steps_apart = False

    def __init__(self, config: Config):
        super().__init__()
        text = config["text_config"]
        if text["hidden_act"] != "silu":
            raise CheckpointError(f"The text config's hidden_act is {text['hidden_act']!r}; known is 'silu'.")
        self._channels = config["vision_config"]["num_channels"]
        self.vision_tower = TurnedSiglip(config["vision_config"], text["hidden_size"])
        bias = {"attention_bias": text["use_bias"], "mlp_bias": text["use_bias"]}
        self.language_model = build_decoder({**text, **bias, "model_type": "llama"})
        self._step = tell_axes_apart(self.language_model, text)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_turned_siglip(rename(weights, NAMES), "vision_tower.", self._channels)
        return sanitize_decoder(self.language_model, weights)


class PageRecipe(PatchRecipe):
    """A page narrower than one feature is scaled up to it first."""

    __slots__ = ()

    def scaled_size(self, size: Pair) -> Pair:
        height, width = size
        side = self.patch * self.merge
        if height < side:
            height, width = side, round(width * side / height)
        if width < side:
            height, width = round(height * side / width), side
        refuse_strip((height, width))
        return whole_blocks((height, width), side, self.min_pixels, self.max_pixels)


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> PatchedPictureProcessor:
    """From the checkpoint's preprocessor file. Raises `CheckpointError` when its patches are not those of the tower."""
    recipe = PageRecipe.read(PICTURES | read_preprocessor(folder))
    check_cut(recipe, {**config["vision_config"], "temporal_patch_size": 1})
    return PatchedPictureProcessor(SLOT, slot_of(tokenizer, SLOT, config["image_token_id"]), recipe)


FAMILY = Family(
    model_types=("paddleocr_vl",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=PaddleOCRVL,
    processor=read_processor,
    chat_template=TEMPLATE,
)
