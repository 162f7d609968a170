"""A llama-like decoder's tensors out of a GGUF file, under mlx-lm's names, dequantised.

Knows nothing of the model around it. What differs from Hugging Face's layout: the tensors' names, blocks of quantised
weights, and the rows of q and k, which llama.cpp orders for rotating neighbouring pairs.
"""

from pathlib import Path

import mlx.core as mx

from engine.api.errors import CheckpointError

_BLOCK = 32
"""Weights that share a scale, in every GGUF type that MLX reads quantised."""

_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def read_gguf_llama(path: Path, heads: int, kv_heads: int, dtype: mx.Dtype) -> dict[str, mx.array]:
    """All tensors, rounded to `dtype` once. Raises `CheckpointError` for a file that MLX cannot read."""
    try:
        tensors: dict[str, mx.array] = mx.load(str(path))
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}.", "The file is damaged; get it again.") from error
    weights: dict[str, mx.array] = {}
    for name in tensors:
        stem, _, kind = name.rpartition(".")
        if kind in ("scales", "biases") and f"{stem}.weight" in tensors:
            continue
        weight = _dequantised(tensors, stem) if f"{stem}.scales" in tensors else tensors[name]
        if stem.endswith((".attn_q", ".attn_k")):
            weight = halves_together(weight, heads if stem.endswith("q") else kv_heads)
        weights[f"{_renamed(stem)}.{kind}"] = weight.astype(dtype)
    return weights


def halves_together(weight: mx.array, heads: int) -> mx.array:
    """Rows (heads * D, in) from llama.cpp's order in a head, 0 D/2 1 D/2+1 ..., to Hugging Face's, 0 1 ... D-1."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _dequantised(tensors: dict[str, mx.array], stem: str) -> mx.array:
    packed, scales = tensors[f"{stem}.weight"], tensors[f"{stem}.scales"].astype(mx.float32)
    bits = packed.shape[-1] * 32 // (scales.shape[-1] * _BLOCK)
    return mx.dequantize(packed, scales, tensors[f"{stem}.biases"].astype(mx.float32), group_size=_BLOCK, bits=bits)


def _renamed(stem: str) -> str:
    parts = stem.split(".")
    if parts[0] == "blk":
        return ".".join(["model.layers", parts[1], _IN_LAYER.get(parts[2], parts[2]), *parts[3:]])
    return _TOP.get(stem, stem)
