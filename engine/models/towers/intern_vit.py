"""InternViT (arXiv 2312.14238), the tower of InternVL: CLIP's layers, what they add scaled a channel at a time.

Knows nothing of tiles. Sources: transformers' `modeling_internvl.py`, whose vision configs are read as well as those
of the first form, which calls itself `intern_vit_6b`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError
from engine.models.towers.vit import Attention, EncoderLayer, VisionTransformer, ViTConfig, sanitize_tower

NORMS: Mapping[str, Callable[[int, float], nn.Module]] = {"layer_norm": nn.LayerNorm, "rms_norm": nn.RMSNorm}

QUERY_EPS = 1e-6

FIRST_FORM = "intern_vit_6b"

FIRST_FORM_DEFAULTS = {
    "hidden_size": 3200,
    "intermediate_size": 12800,
    "num_hidden_layers": 48,
    "num_attention_heads": 25,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "norm_type": "rms_norm",
    "qkv_bias": False,
    "qk_normalization": True,
}

PARTS = (
    ("encoder.layer.", "encoder.layers."),
    (".attention.projection_layer.", ".self_attn.out_proj."),
    (".attention.", ".self_attn."),
    (".attn.proj.", ".self_attn.out_proj."),
    (".attn.", ".self_attn."),
    (".layernorm_before.", ".layer_norm1."),
    (".layernorm_after.", ".layer_norm2."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".ls1", ".lambda_1"),
    (".ls2", ".lambda_2"),
    (".patch_embeddings.projection.", ".patch_embedding."),
    (".cls_token", ".class_embedding"),
    (".position_embeddings", ".position_embedding"),
)
"""Of the tensors' names in both forms, and what they are here."""


@dataclass(frozen=True, slots=True)
class InternViTConfig(ViTConfig):
    norm_type: str = "layer_norm"
    attention_bias: bool = False
    use_qk_norm: bool = False
    use_mean_pooling: bool = True
    """Whether there is no norm behind the layers."""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "InternViTConfig":
        if config.get("model_type") == FIRST_FORM:
            config = FIRST_FORM_DEFAULTS | dict(config)
            config |= {"attention_bias": config["qkv_bias"], "use_qk_norm": config["qk_normalization"]}
        if not config.get("use_absolute_position_embeddings", True):
            raise CheckpointError("The vision_config has no learned positions, which is not known here.")
        if config.get("norm_type", "layer_norm") not in NORMS:
            raise CheckpointError(f"The vision_config's norm_type is {config['norm_type']!r}, not known here.")
        # Without arguments `super` would look for the class that dataclass has replaced to give it slots.
        return super(InternViTConfig, cls).read(config)


class InternAttention(Attention):
    def __init__(self, config: InternViTConfig):
        super().__init__(config, bias=config.attention_bias)
        if config.use_qk_norm:
            self.q_norm = nn.RMSNorm(config.hidden_size, QUERY_EPS)
            self.k_norm = nn.RMSNorm(config.hidden_size, QUERY_EPS)

    def projected(self, x: mx.array) -> tuple[mx.array, mx.array, mx.array]:
        queries, keys, values = super().projected(x)
        return (self.q_norm(queries), self.k_norm(keys), values) if "q_norm" in self else (queries, keys, values)


class InternLayer(EncoderLayer):
    def __init__(self, config: InternViTConfig):
        super().__init__(config)
        norm = NORMS[config.norm_type]
        self.layer_norm1 = norm(config.hidden_size, config.layer_norm_eps)
        self.layer_norm2 = norm(config.hidden_size, config.layer_norm_eps)
        self.self_attn = InternAttention(config)
        self.lambda_1 = mx.zeros((config.hidden_size,))
        self.lambda_2 = mx.zeros((config.hidden_size,))

    def __call__(self, x: mx.array) -> mx.array:
        x = x + self.lambda_1 * self.self_attn(self.layer_norm1(x))
        return x + self.lambda_2 * self.mlp(self.layer_norm2(x))


class InternViT(VisionTransformer):
    """A class token comes first."""

    def __init__(self, config: InternViTConfig):
        super().__init__(
            config,
            class_token=True,
            patch_bias=True,
            pre_norm=False,
            post_norm=not config.use_mean_pooling,
            layer=InternLayer,
        )


def sanitize_intern_vit(weights: dict[str, mx.array], prefix: str) -> dict[str, mx.array]:
    """The tower's weights under `prefix`, in either form, as this module names and shapes them; those of queries, keys
    and values, which the first form keeps in one tensor, apart.

    Dropped is the token for patches that are masked in training.
    """
    kept: dict[str, mx.array] = {}
    for name, tensor in weights.items():
        if not name.startswith(prefix):
            kept[name] = tensor
        elif name != f"{prefix}embeddings.mask_token":
            kept |= _renamed(prefix, name.removeprefix(prefix), tensor)
    return sanitize_tower(kept, prefix)


def _renamed(prefix: str, name: str, tensor: mx.array) -> dict[str, mx.array]:
    for old, new in PARTS:
        name = name.replace(old, new)
    if name.startswith("layernorm."):
        name = f"post_{name}"
    elif name == "embeddings.class_embedding":
        tensor = tensor.reshape(-1)
    elif name == "embeddings.position_embedding":
        name, tensor = f"{name}.weight", tensor.reshape(-1, tensor.shape[-1])
    if ".qkv." not in name:
        return {prefix + name: tensor}
    parts = zip(("q", "k", "v"), mx.split(tensor, 3), strict=True)
    return {prefix + name.replace(".qkv.", f".{part}_proj."): piece for part, piece in parts}
