"""GOT-OCR 2 (arXiv 2409.01704): SAM's tower looks at a page as a whole, and a small Qwen2 reads it.

Knows nothing of the other families. Pages are not cut into tiles, as in the reference unless it is asked to.
"""

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import TOWER_AND_DECODER, Prefixes, rename
from engine.models.processors.tiled import TiledPictureProcessor, Wording
from engine.models.projectors.downsampling import Downsampler, features_of
from engine.models.recipes.dynamic_tiles import DynamicTileRecipe
from engine.models.recipes.preprocessor import read_preprocessor, slot_of
from engine.models.towers.sam_vit import SamViT, SamViTConfig, channels_last, sanitize_sam_vit

SLOT = "<imgpad>"

NAMES: Prefixes = (
    *(
        (f"{before}multi_modal_projector.{old}.", new)
        for before in ("model.", "")
        for old, new in (
            ("conv_upsampler1", "downsampler.conv1."),
            ("conv_upsampler2", "downsampler.conv2."),
            ("multimodal_projector", "multi_modal_projector."),
        )
    ),
    *TOWER_AND_DECODER,
)

TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You should follow the instructions carefully and explain your answers in detail.<|im_end|>{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<img><imgpad></img>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class GotOcr2(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        self._vision = SamViTConfig.read(config["vision_config"])
        channels, width = self._vision.output_channels, config["text_config"]["hidden_size"]
        self.vision_tower = SamViT(self._vision)
        self.downsampler = Downsampler(channels, 2 * channels, width)
        self.multi_modal_projector = nn.Linear(width, width)
        self.language_model = build_decoder(config["text_config"])

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (1, 3, side, side) -> (features, D)."""
        seen = self.downsampler(self.vision_tower(mx.array(media.arrays["pixel_values"])))
        return self.multi_modal_projector(seen.reshape(-1, seen.shape[-1]))

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_sam_vit(rename(weights, NAMES), "vision_tower.", self._vision)
        channels = self._vision.output_channels
        for name, wanted in (("downsampler.conv1.weight", channels), ("downsampler.conv2.weight", 2 * channels)):
            weights[name] = channels_last(weights[name], wanted)
        return sanitize_decoder(self.language_model, weights)


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> TiledPictureProcessor:
    """From the checkpoint's preprocessor file; without one, pages of the tower's size."""
    vision = SamViTConfig.read(config["vision_config"])
    side = vision.image_size
    settings = read_preprocessor(folder) or {"size": {"height": side, "width": side}}
    recipe = DynamicTileRecipe.read(settings, split=False).for_tower(side)
    slot_id = slot_of(tokenizer, SLOT, config["image_token_index"])
    return TiledPictureProcessor(Wording(SLOT, slot_id, features_of(vision.grid), begin="", end=""), recipe)


FAMILY = Family(
    model_types=("got_ocr2",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=GotOcr2,
    processor=read_processor,
    chat_template=TEMPLATE,
    # Its turns end in it, and its files name another token.
    ends=("<|im_end|>",),
)
