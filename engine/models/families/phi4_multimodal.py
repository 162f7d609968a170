"""Phi-4-multimodal with its eyes (arXiv 2503.01743), as transformers has it and, as `phi4mm`, as Microsoft has it.

A SigLIP tower looks at crops of a picture and at a small copy of the whole; the decoder reads them under an adapter,
which answers without pictures do not use. The sound side is not built. Knows nothing of the other families.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.phi3 import TurnsByLength
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.layers.switched_lora import AdapterSwitch, switch_lora
from engine.models.names import Prefixes, rename
from engine.models.projectors.tile_rows import joined, rows_with_ends
from engine.models.recipes.padded_crops import PaddedCropProcessor, PaddedCropRecipe
from engine.models.recipes.preprocessor import read_preprocessor
from engine.models.towers.features import last
from engine.models.towers.masked_siglip import MaskedSiglip
from engine.models.towers.vit import ViTConfig, sanitize_tower

MARKERS = ("<|image|>", "<|endoftext10|>")
"""The token that takes features, as the two forms of the checkpoint call it."""

ADAPTER = "vision"
ADAPTED = {"self_attn": ("qkv_proj", "o_proj"), "mlp": ("gate_up_proj", "down_proj")}

_IMAGE = "model.embed_tokens_extend.image_embed."
NAMES: Prefixes = (
    (f"{_IMAGE}img_processor.", "vision_tower."),
    (f"{_IMAGE}img_projection.0.", "img_projection_up."),
    (f"{_IMAGE}img_projection.2.", "img_projection_down."),
    (f"{_IMAGE}glb_GN", "global_img_feature_extensor"),
    (f"{_IMAGE}sub_GN", "sub_img_feature_extensor"),
    (_IMAGE, ""),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)
SOUND = "model.embed_tokens_extend.audio_embed."
_ADDED = re.compile(r"(.+)\.lora_([AB])\.(\w+)\.weight")

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

_KNOWN = {
    "embedding_cls": "tune_image",
    "hd_transform_order": "sub_glb",
    "image_token_compression_cls": "avg_pool_2d",
    "projection_cls": "mlp",
    "use_hd_transform": True,
    "with_learnable_separator": True,
}
"""What Microsoft's config may say of pictures."""


class Phi4Multimodal(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        vision, width = _vision(config), config["hidden_size"]
        added = config.get("vision_lora") or {}
        self._added_scale = added.get("lora_alpha", 1) / added.get("r", 1)
        self._switch: AdapterSwitch | None = None
        self.vision_tower = MaskedSiglip(vision, config["vision_config"]["feature_layer"])
        self.img_projection_up = nn.Linear(vision.hidden_size, width)
        self.img_projection_down = nn.Linear(width, width)
        self.global_img_feature_extensor = mx.zeros((1, 1, vision.hidden_size))
        self.sub_img_feature_extensor = mx.zeros((1, 1, 1, vision.hidden_size))
        self.language_model = build_decoder({**config, "model_type": "phi3"})

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (1 + crops, 3, side, side), `masks` (1 + crops, n, n), `grid` and `shown` (2,)
        -> (features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        pixels, masks = mx.array(media.arrays["pixel_values"]), media.arrays["masks"]
        looked = []
        for number, mask in enumerate(masks):
            looked.append(_averaged(self.vision_tower(pixels[number : number + 1], mask)))
            mx.eval(looked[-1])
            yield None
        grid, (rows, columns) = tuple(media.arrays["grid"].tolist()), media.arrays["shown"].tolist()
        whole, picture = joined(looked[0], (1, 1)), joined(mx.concatenate(looked[1:]), grid)[:rows, :columns]
        end, between = self.sub_img_feature_extensor[0, 0, 0], self.global_img_feature_extensor[0]
        features = mx.concatenate([rows_with_ends(picture, end), between, rows_with_ends(whole, end)])
        yield self.img_projection_down(nn.gelu(self.img_projection_up(features)))

    def prefill_stops(self, token_ids: np.ndarray, step: int) -> list[int]:
        stops, decoder = super().prefill_stops(token_ids, step), self.language_model
        return decoder.stops_of(len(token_ids), stops) if isinstance(decoder, TurnsByLength) else stops

    def adapter_for(self, media: tuple[PreparedMedia, ...]) -> str | None:
        return ADAPTER if media and self._switch else None

    def select_adapter(self, name: str | None) -> None:
        if self._switch:
            self._switch.on = name == ADAPTER

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """Drops the sound side, its adapter included. Where there is one for pictures, its layers are made here."""
        plain, added = {}, {}
        for name, tensor in weights.items():
            if (found := _ADDED.fullmatch(name)) is not None:
                layer, side, adapter = found.groups()
                if adapter == ADAPTER:
                    added[f"{layer}.lora_{side.lower()}"] = tensor if side == "A" else tensor * self._added_scale
            elif not name.startswith(SOUND):
                plain[name.replace(".base_layer.", ".")] = tensor
        if added:
            self._adapt(next(tensor.shape[0] for name, tensor in added.items() if name.endswith(".lora_a")))
        weights = sanitize_tower(rename(plain | added, NAMES), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)

    def _adapt(self, rank: int) -> None:
        self._switch = AdapterSwitch()
        for layer in self.language_model.layers:
            for part, names in ADAPTED.items():
                switch_lora(layer[part], names, rank, self._switch)


def _averaged(features: mx.array) -> mx.array:
    """(1, n, n, D) -> (1, n / 2 * n / 2, D), the means of squares."""
    _, rows, columns, width = features.shape
    squares = features.reshape(rows // 2, 2, columns // 2, 2, width)
    return squares.mean(axis=(1, 3)).reshape(1, -1, width)


def _vision(config: Config) -> ViTConfig:
    """Raises `CheckpointError` for pictures that are looked at in a way not known here."""
    vision = ViTConfig.read(config["vision_config"])
    said = (config.get("embd_layer") or {}).get("image_embd_layer") or {}
    for name, known in _KNOWN.items():
        if said.get(name, known) != known:
            raise CheckpointError(f"The config says {name}: {said[name]!r} of pictures, which is not known here.")
    if vision.grid % 2 or said.get("crop_size", vision.image_size) != vision.image_size:
        raise CheckpointError("The config's crops are not the tower's pictures, or have an odd number of patches.")
    return vision


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> PaddedCropProcessor:
    """From the checkpoint's preprocessor file; without one, what the tower is made for. Raises `CheckpointError` for an
    adapter that lies in a folder of its own, which nobody would see is missing."""
    if (folder / "vision-lora").is_dir():
        raise CheckpointError(
            "This checkpoint keeps its adapter for pictures in a folder of its own, which is not read here.",
            "Choose the original, microsoft/Phi-4-multimodal-instruct, whose weights have it among them.",
        )
    vision, slot_id = _vision(config), config["vision_config"]["image_token_id"]
    recipe = PaddedCropRecipe.read(read_preprocessor(folder), vision.image_size, vision.patch_size)
    if (recipe.side, recipe.patch) != (vision.image_size, vision.patch_size):
        raise CheckpointError(f"The preprocessor file cuts crops of {recipe.side} pixels, not {vision.image_size}.")
    marker = next((text for text in MARKERS if tokenizer.convert_tokens_to_ids(text) == slot_id), None)
    if marker is None:
        raise CheckpointError(f"The tokenizer knows token {slot_id}, which stands for pictures, by another name.")
    return PaddedCropProcessor(marker, slot_id, recipe)


FAMILY = Family(
    model_types=("phi4_multimodal", "phi4mm"),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Phi4Multimodal,
    processor=read_processor,
    chat_template=TEMPLATE,
)
