"""Molmo 2's decoders on mlx-lm's: those of 4 and 8 billion are Qwen 3, the open one of 7 billion is an OLMo 2.

Knows nothing of pictures. What is their own: more tokens are read than are ever written, some layers may go without the
scaling of the others' positions, and files of before transformers 5 have names of their own.
"""

import re

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.decoders.text import PREFIX, build_decoder

KINDS = {("qwen3", False): "qwen3", ("olmo", True): "olmo2"}
"""mlx-lm's name by how queries are normalised and whether layers are normalised behind."""

_MODEL = f"{PREFIX}model."

_RENAMED = (
    (r"\.transformer\.", "."),
    (r"\.blocks\.", ".layers."),
    (r"\.ln_f\.", ".norm."),
    (r"\.attn_norm\.", ".input_layernorm."),
    (r"\.ff_norm\.", ".post_attention_layernorm."),
    (r"\.attn_out\.", ".o_proj."),
    (r"\.ff_out\.", ".down_proj."),
)
_OLMO2 = (
    (r"\.post_attention_layernorm\.", ".post_feedforward_layernorm."),
    (r"\.input_layernorm\.", ".post_attention_layernorm."),
)


def build_molmo2_decoder(config: Config) -> nn.Module:
    """From a normalised text config. Raises `CheckpointError` for one that is neither of the two."""
    kind = KINDS.get((config["qk_norm_type"], config["norm_after"]))
    if (
        kind is None
        or config["attention_bias"]
        or config["hidden_act"] != "silu"
        or not config.get("use_qk_norm", True)
    ):
        raise CheckpointError(
            "The text_config is neither that of a Qwen 3 nor that of an OLMo 2 (qk_norm_type, norm_after, hidden_act, "
            "attention_bias, use_qk_norm), which is not known for Molmo 2."
        )
    decoder = build_decoder({**config, "model_type": kind, "tie_word_embeddings": False})
    rows = config["vocab_size"] + config["additional_vocab_size"]
    decoder.model.embed_tokens = nn.Embedding(rows, config["hidden_size"])
    for number, layer in enumerate(decoder.layers):
        if number not in config["rope_scaling_layers"]:
            layer.self_attn.rope = nn.RoPE(config["head_dim"], traditional=False, base=config["rope_theta"])
    return decoder


def sanitize_molmo2_decoder(weights: dict[str, mx.array], config: Config) -> dict[str, mx.array]:
    """The decoder's weights, under `PREFIX` as they are in files of any age, as mlx-lm names them: tables of old and
    new tokens become one, and what lay in one matrix is parted."""
    heads = [config[key] * config["head_dim"] for key in ("num_attention_heads", *["num_key_value_heads"] * 2)]
    # Files that were written anew for mlx-lm have its names already.
    renames_norms = config["norm_after"] and not any(".post_feedforward_layernorm." in name for name in weights)
    renamed: dict[str, mx.array] = {}
    for name, tensor in weights.items():
        if not name.startswith(PREFIX):
            renamed[name] = tensor
            continue
        name = _replaced(name, _RENAMED + (_OLMO2 if renames_norms else ()))
        stem, _, kind = name.rpartition(".")
        part, _, layer = stem.rpartition(".")
        if layer == "att_proj":
            renamed |= _parted(tensor, heads, [f"{part}.{one}_proj.{kind}" for one in "qkv"])
        elif layer == "ff_proj":
            half = [tensor.shape[0] // 2] * 2
            renamed |= _parted(tensor, half, [f"{part}.{one}_proj.{kind}" for one in ("up", "gate")])
        else:
            renamed[name] = tensor
    if f"{_MODEL}wte.embedding" in renamed:
        tables = [renamed.pop(f"{_MODEL}wte.{kind}") for kind in ("embedding", "new_embedding")]
        renamed[f"{_MODEL}embed_tokens.weight"] = mx.concatenate(tables)
    return renamed


def _replaced(name: str, replacements: tuple[tuple[str, str], ...]) -> str:
    for old, new in replacements:
        name = re.sub(old, new, name)
    return name


def _parted(tensor: mx.array, rows: list[int], names: list[str]) -> dict[str, mx.array]:
    return dict(zip(names, mx.split(tensor, np.cumsum(rows)[:-1].tolist()), strict=True))
