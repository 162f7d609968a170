"""Decoders of mlx-lm with random weights, small enough to be run through hundreds of times; one of every kind of cache.

Shared by the tests of what lives on caches.
"""

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map_with_path

from engine.models.families.text_only import TextOnly

VOCABULARY = 60
WINDOW = 8
_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCABULARY,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
CONFIGS = {
    "llama": {},
    "gemma3_text": {"num_hidden_layers": 3, "sliding_window": WINDOW, "sliding_window_pattern": 3},
    "qwen3_next": {
        "num_hidden_layers": 4,
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_conv_kernel_dim": 4,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "decoder_sparse_step": 1,
        "shared_expert_intermediate_size": 16,
        "mlp_only_layers": [],
        "moe_intermediate_size": 16,
        "partial_rotary_factor": 0.5,
    },
    "falcon_h1": {
        "mamba_d_head": 8,
        "mamba_d_ssm": 32,
        "mamba_d_state": 8,
        "mamba_n_heads": 4,
        "mamba_n_groups": 2,
    },
    "lfm2": {
        "norm_eps": 1e-5,
        "conv_bias": False,
        "conv_L_cache": 3,
        "block_dim": 32,
        "block_multiple_of": 8,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
        "full_attn_idxs": [1],
    },
}
RECURRENT = ("qwen3_next", "falcon_h1", "lfm2")


def build(kind: str, seed: int = 1, **sizes: int) -> TextOnly:
    """Of `CONFIGS`, but for these `sizes`; the same weights for the same seed."""
    model = TextOnly({"model_type": kind, **_SIZES, **CONFIGS[kind], **sizes})
    keys = iter(mx.random.split(mx.random.key(seed), 1000))

    def weight(name: str, value: mx.array) -> mx.array:
        noise = mx.random.normal(value.shape, key=next(keys)).astype(value.dtype)
        # Gates and decays of recurrent layers have to stay what they are set up as.
        if "A_log" in name or "dt_bias" in name or name.endswith(".D"):
            return value + 0.1 * noise
        return 1 + 0.1 * noise if "norm" in name else 0.25 * noise

    model.update(tree_map_with_path(weight, model.parameters()))
    model.eval()
    return model


def ids(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, VOCABULARY, length).tolist()
