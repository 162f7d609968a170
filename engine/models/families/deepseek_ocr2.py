"""DeepSeek-OCR 2 (arXiv 2601.20552): queries that order what SAM sees, of tiles and of the whole page, and a DeepSeek
with experts reading them.

Knows nothing of the other families. mlx-community calls it `deepseekocr_2` and keeps its authors' config.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.deepseek import as_deepseek
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.grounding.question import in_parts
from engine.models.grounding.tags import boxes_between
from engine.models.names import Prefixes, rename
from engine.models.recipes.pictures import fingerprint
from engine.models.recipes.preprocessor import read_preprocessor, slot_of
from engine.models.recipes.tiles_beside_whole import TilesBesideWhole
from engine.models.towers.deep_encoder import NAMES as TOWER
from engine.models.towers.deep_encoder import DeepEncoder, queries_for
from engine.models.towers.features import last, tile_by_tile

NAMES: Prefixes = (
    *TOWER,
    ("model.projector.layers.", "multi_modal_projector."),
    ("projector.layers.", "multi_modal_projector."),
    ("model.view_seperator", "view_separator"),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% endfor %}"
)

TILES = (2, 6)
"""At least and at most; the reference's processor says so whatever the file for pictures says."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A config as transformers spells it."""

    sam: dict[str, Any]
    encoder: Config
    text: Config

    @classmethod
    def read(cls, config: Config) -> "Shape":
        if config["model_type"] == "deepseek_ocr2":
            vision = config["vision_config"]
            return cls(vision["sam_config"], vision["encoder_config"], config["text_config"])
        return cls._of_the_authors(config)

    @classmethod
    def _of_the_authors(cls, config: Config) -> "Shape":
        """What their config leaves out is in their code."""
        vision, text = config["vision_config"], config.get("language_config") or config.get("text_config") or config
        sam, width = vision["width"]["sam_vit_b"], vision["width"]["qwen2-0-5b"]["dim"]
        return cls(
            sam={
                "hidden_size": sam["width"],
                "mlp_dim": 4 * sam["width"],
                "num_hidden_layers": sam["layers"],
                "num_attention_heads": sam["heads"],
                "global_attn_indexes": sam["global_attn_indexes"],
                "image_size": vision["image_size"],
                "patch_size": 16,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-6,
                # Their config names another width for the second of them, which nothing reads.
                "downsample_channels": [sam["downsample_channels"][0], width],
            },
            encoder={
                "hidden_size": width,
                "intermediate_size": 4864,
                "num_hidden_layers": 24,
                "num_attention_heads": 14,
                "num_key_value_heads": 2,
                "rms_norm_eps": 1e-6,
                "rope_theta": 1e6,
            },
            text={"n_group": 1} | dict(text if "hidden_size" in text else config),
        )


class DeepseekOcr2(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        shape = Shape.read(config)
        self.vision_tower = DeepEncoder(shape.sam, shape.encoder)
        self.multi_modal_projector = nn.Linear(shape.encoder["hidden_size"], shape.text["hidden_size"])
        self.view_separator = mx.zeros((shape.text["hidden_size"],))
        self.language_model = build_decoder(as_deepseek(shape.text))

    def encode(self, media: PreparedMedia) -> mx.array:
        """`tiles` (N, 3, tile, tile) and `pixel_values` (1, 3, side, side) -> (features, D), a separator at last."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        seen = []
        for name in ("tiles", "pixel_values"):
            if len(media.arrays[name]):
                features = yield from tile_by_tile(self._look, mx.array(media.arrays[name]))
                seen.append(features.reshape(-1, features.shape[-1]))
        yield mx.concatenate([*seen, self.view_separator[None].astype(seen[0].dtype)])

    def _look(self, pixels: mx.array) -> mx.array:
        return self.multi_modal_projector(self.vision_tower(pixels))

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = self.vision_tower.sanitize(rename(weights, NAMES), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)


class DeepseekOcr2Processor:
    marker = "<image>"

    def __init__(self, recipe: TilesBesideWhole, patch: int, slot_id: int):
        self.slot_id = slot_id
        self._recipe = recipe
        self._of_tile, self._of_whole = queries_for(recipe.tile, patch), queries_for(recipe.side, patch)

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        tiles, whole = self._recipe(picture)
        count = len(tiles) * self._of_tile + self._of_whole + 1
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"tiles": tiles, "pixel_values": whole},
            expansion=self.marker * count,
            feature_count=count,
            digest=fingerprint(digest, self._recipe),
        )


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> DeepseekOcr2Processor:
    """From the checkpoint's preprocessor file; without one, as published."""
    patch, marker = Shape.read(config).sam["patch_size"], DeepseekOcr2Processor.marker
    found = tokenizer.encode(marker, add_special_tokens=False)
    if len(found) != 1:
        raise CheckpointError(f"The tokenizer does not know {marker}.", "Get its files again.")
    slot_id = slot_of(tokenizer, marker, config.get("image_token_id", found[0]))
    return DeepseekOcr2Processor(TilesBesideWhole.read(read_preprocessor(folder), *TILES), patch, slot_id)


FAMILY = Family(
    model_types=("deepseek_ocr2", "deepseekocr_2"),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=DeepseekOcr2,
    processor=read_processor,
    chat_template=TEMPLATE,
    locate=boxes_between(("<|ref|>", "<|/ref|>"), ("<|det|>", "<|/det|>"), in_parts(999)),
)
