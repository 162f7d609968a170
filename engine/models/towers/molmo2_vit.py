"""Molmo 2's vision tower: SigLIP 2 at one size, without a norm behind its last layer (arXiv 2502.14786).

Knows nothing of crops. What is its own are the names in checkpoints, those of before transformers 5 among them.
"""

import re

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.towers.vit import VisionTransformer, ViTConfig

_RENAMED = (
    (r"^image_vit\.", ""),
    (r"^(transformer\.)?resblocks\.|^transformer\.|^layers\.", "encoder.layers."),
    (r"\.attention_norm\.", ".layer_norm1."),
    (r"\.ffn_norm\.", ".layer_norm2."),
    (r"\.feed_forward\.w([12])\.", r".mlp.fc\1."),
    (r"\.attention\.w([qkvo])\.", r".self_attn.\1_proj."),
    (r"\.o_proj\.", ".out_proj."),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^patch_embedding\.", "embeddings.patch_embedding."),
)


class Molmo2ViT(VisionTransformer):
    def __init__(self, shape: ViTConfig):
        super().__init__(shape, class_token=False, patch_bias=True, pre_norm=False, post_norm=False)


def molmo2_shape(config: Config) -> ViTConfig:
    """Of a normalised `vision_config`. Raises `CheckpointError` for one that is not known here."""
    shape = ViTConfig.read(config)
    heads = shape.num_attention_heads
    plain = (heads, shape.hidden_size // heads, True, shape.grid**2)
    said = tuple(
        config[key] for key in ("num_key_value_heads", "head_dim", "attention_bias", "num_position_embeddings")
    )
    if said != plain:
        raise CheckpointError(
            "The vision_config has (num_key_value_heads, head_dim, attention_bias, num_position_embeddings) "
            f"{said}, known is {plain}."
        )
    return shape


def sanitize_molmo2_vit(weights: dict[str, mx.array], prefix: str, shape: ViTConfig) -> dict[str, mx.array]:
    """The tower's weights under `prefix`, by this module's names; the patch kernel, whose rows already hold a patch's
    values channel by channel inside of each pixel, as (out, h, w, in)."""
    renamed: dict[str, mx.array] = {}
    for name, tensor in weights.items():
        own = name.removeprefix(prefix)
        if own != name:
            for old, new in _RENAMED:
                own = re.sub(old, new, own)
            if own == "embeddings.patch_embedding.weight":
                tensor = tensor.reshape(len(tensor), shape.patch_size, shape.patch_size, shape.num_channels)
            name = prefix + own
        renamed[name] = tensor
    return renamed
