"""DeepEncoder V2 (DeepSeek-OCR 2, arXiv 2601.20552): what SAM sees, read in an order of their own by learned queries.

Knows nothing of tiles. Source: transformers' `modeling_deepseek_ocr2.py`. Cells of SAM's map see each other; queries,
which are the features, see these and the queries before them: the layers are those of a Qwen2.
"""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.qwen2 import ModelArgs, TransformerBlock

from engine.api.errors import CheckpointError
from engine.models.names import Prefixes
from engine.models.projectors.downsampling import Downsampler, features_of
from engine.models.towers.sam_vit import SamViT, SamViTConfig, channels_last, sanitize_sam_vit

FEW, MANY = 144, 256
"""Queries for a picture of 768 pixels a side, and of 1024."""

NAMES: Prefixes = (
    ("model.sam_model.net_2.", "vision_tower.downsampler.conv1."),
    ("model.sam_model.net_3.", "vision_tower.downsampler.conv2."),
    ("model.sam_model.", "vision_tower.sam."),
    ("model.qwen2_model.query_768.weight", "vision_tower.query_768"),
    ("model.qwen2_model.query_1024.weight", "vision_tower.query_1024"),
    ("model.qwen2_model.model.model.", "vision_tower."),
    # mlx-community
    ("sam_model.net_2.", "vision_tower.downsampler.conv1."),
    ("sam_model.net_3.", "vision_tower.downsampler.conv2."),
    ("sam_model.", "vision_tower.sam."),
    ("vision_model.qwen2_encoder.", "vision_tower."),
)


class DeepEncoder(nn.Module):
    def __init__(self, sam: Mapping[str, Any], encoder: Mapping[str, Any]):
        """Both configs spelt as transformers does. Raises `CheckpointError` for what is not known here."""
        super().__init__()
        self.config = SamViTConfig.read(sam)
        if encoder.get("use_sliding_window") or encoder.get("hidden_act", "silu") != "silu":
            raise CheckpointError("The encoder_config has a sliding window or another activation, not known here.")
        if sam["downsample_channels"][1] != encoder["hidden_size"]:
            raise CheckpointError("SAM's map and the encoder behind it differ in width.")
        args = ModelArgs.from_dict({**encoder, "model_type": "qwen2", "vocab_size": 0})
        self._channels = (self.config.output_channels, *sam["downsample_channels"])
        self.sam = SamViT(self.config)
        self.downsampler = Downsampler(*self._channels)
        self.query_768 = mx.zeros((FEW, args.hidden_size))
        self.query_1024 = mx.zeros((MANY, args.hidden_size))
        self.layers = [TransformerBlock(args) for _ in range(args.num_hidden_layers)]
        self.norm = nn.RMSNorm(args.hidden_size, args.rms_norm_eps)

    def __call__(self, pixels: mx.array) -> mx.array:
        """(N, 3, side, side) -> (N, 144 or 256, D)."""
        cells = self.downsampler(self.sam(pixels))
        cells = cells.reshape(len(cells), -1, cells.shape[-1])
        queries = self.query_768 if cells.shape[1] <= FEW else self.query_1024
        x = mx.concatenate([cells, mx.broadcast_to(queries, (len(cells), *queries.shape))], axis=1)
        mask = mx.array(seen_by(cells.shape[1], len(queries)))
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)[:, cells.shape[1] :]

    def sanitize(self, weights: dict[str, mx.array], prefix: str) -> dict[str, mx.array]:
        """The tower's weights under `prefix`, kernels as (out, h, w, in)."""
        weights = sanitize_sam_vit(weights, f"{prefix}sam.", self.config)
        for number, channels in enumerate(self._channels[:2], 1):
            name = f"{prefix}downsampler.conv{number}.weight"
            weights[name] = channels_last(weights[name], channels)
        return weights


def seen_by(cells: int, queries: int) -> np.ndarray:
    """(L, L) bool for L = cells + queries: which of them each sees."""
    mask = np.tri(cells + queries, dtype=bool)
    mask[:cells, :cells] = True
    return mask


def queries_for(side: int, patch: int) -> int:
    """How many features a picture of `side` pixels has."""
    return FEW if features_of(side // patch) <= FEW else MANY
