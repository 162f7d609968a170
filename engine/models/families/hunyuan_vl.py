"""HunyuanOCR (arXiv 2511.19575): pages at their own shape, rows of features that end in a mark, and a small Hunyuan
that knows rows, columns and pictures.

Knows nothing of the other families.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.layers.xdrope import spread_over_axes
from engine.models.names import Prefixes, rename
from engine.models.positions import Positions
from engine.models.processors.patched import check_cut
from engine.models.recipes.patches import PatchRecipe
from engine.models.recipes.pictures import fingerprint
from engine.models.recipes.preprocessor import read_preprocessor, slot_of
from engine.models.towers.features import last
from engine.models.towers.hunyuan_vit import HunyuanViT
from engine.models.towers.slices import Slices

NAMES: Prefixes = (
    ("vit.", "vision_tower."),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)

START, END, SLOT = (f"<｜hy_place▁holder▁no▁{number}｜>" for number in (100, 101, 102))

PICTURES = {
    "patch_size": 16,
    "temporal_patch_size": 1,
    "size": {"shortest_edge": 512 * 512, "longest_edge": 2048 * 2048},
}
"""What a preprocessor file does not say."""

TEMPLATE = (
    "<｜hy_begin▁of▁sentence｜>{% for message in messages %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}" + START + SLOT + END + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}{% if message['role'] == 'system' %}<｜hy_place▁holder▁no▁3｜>"
    "{% elif message['role'] == 'user' %}<｜hy_User｜>{% else %}<｜hy_Assistant｜>{% endif %}{% endfor %}"
)


class HunyuanVL(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        text = config["text_config"]
        self.vision_tower = HunyuanViT(config["vision_config"], text["hidden_size"])
        self.language_model = _decoder(text)
        self._axes = len(text["rope_parameters"].get("mrope_section") or ())
        self._step = spread_over_axes(self.language_model, text)

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (patches, values) and their `grid` (3,) -> (features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        patches, grid = mx.array(media.arrays["pixel_values"]), tuple(media.arrays["grid"].tolist())
        yield (yield from self.vision_tower.in_slices(patches, grid, Slices(self.tower_bytes)))

    def positions_for(self, ids: np.ndarray, slots: np.ndarray, media: tuple[PreparedMedia, ...]) -> Positions | None:
        """All axes count tokens, but for the last three where there is a picture: column, row, and which picture."""
        if not media:
            return None
        axes = np.tile(np.arange(len(ids), dtype=np.int32), (self._axes, 1))
        taken = 0
        for number, item in enumerate(media):
            rows, columns = item.arrays["grid"][1:] // self.vision_tower.merge
            # The marks before and behind stand where text would.
            inside = slots[taken + 1 : taken + item.feature_count - 1]
            row, column = np.indices((rows, columns + 1)).reshape(2, -1)
            axes[-3:, inside] = np.stack([column, row, np.full_like(row, number)])
            taken += item.feature_count
        return Positions(axes)

    def __call__(
        self,
        ids: mx.array,
        cache: list[Any] | None = None,
        embeddings: mx.array | None = None,
        *,
        positions: mx.array | None = None,
        shift: int | mx.array = 0,
    ) -> mx.array:
        with self._step.during(positions, shift):
            return super().__call__(ids, cache, embeddings)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = self.vision_tower.sanitize(rename(weights, NAMES), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)


def _decoder(text: Config) -> nn.Module:
    if text["hidden_act"] != "silu":
        raise CheckpointError(f"The text config's hidden_act is {text['hidden_act']!r}; known is 'silu'.")
    rope = text["rope_parameters"]
    if rope["rope_type"] != "default" and not (rope["rope_type"] == "dynamic" and rope.get("alpha")):
        raise CheckpointError(f"The text config's rotary positions are not known here: {dict(rope)}.")
    scaling = {"alpha": rope.get("alpha") or 1.0, "factor": 1.0, "type": "dynamic"}
    return build_decoder({**text, "model_type": "hunyuan_v1_dense", "use_qk_norm": True, "rope_scaling": scaling})


class HunyuanVLProcessor:
    marker = SLOT

    def __init__(self, recipe: PatchRecipe, slot_id: int):
        self.slot_id = slot_id
        self._recipe = recipe

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        patches, grid = self._recipe(picture)
        rows, columns = grid[1] // self._recipe.merge, grid[2] // self._recipe.merge
        count = rows * (columns + 1) + 2
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": patches, "grid": np.array(grid)},
            expansion=self.marker * count,
            feature_count=count,
            digest=fingerprint(digest, self._recipe),
        )


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> HunyuanVLProcessor:
    """From the checkpoint's preprocessor file, but for its `resample`, which the reference does not use either. Raises
    `CheckpointError` when its patches are not those of the tower."""
    settings = PICTURES | read_preprocessor(folder) | {"resample": Image.Resampling.BICUBIC}
    recipe = PatchRecipe.read(settings)
    check_cut(recipe, config["vision_config"])
    return HunyuanVLProcessor(recipe, slot_of(tokenizer, SLOT, config["image_token_id"]))


FAMILY = Family(
    model_types=("hunyuan_vl",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=HunyuanVL,
    processor=read_processor,
    chat_template=TEMPLATE,
)
