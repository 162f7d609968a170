"""The weights of MoonViT as checkpoints hold them: under transformers' names, its authors' or mlx-community's.

Knows nothing of the tower's maths. The authors keep queries, keys and values in one matrix, and a head's channels in
the order in which neighbours are turned together.
"""

import re

import mlx.core as mx

_NAMES = (
    (r"^encoder\.", ""),
    (r"^patch_embed\.proj\.", "patch_embedding."),
    (r"^patch_embed\.pos_emb\.(weight|position_embeddings)$", "positions"),
)

_AUTHORS = (
    (r"\.norm1\.", ".norm2."),
    (r"\.norm0\.", ".norm1."),
    (r"\.fc1\.", ".fc2."),
    (r"\.fc0\.", ".fc1."),
    (r"\.(attn\.)?wo\.", ".attn.proj."),
    (r"\.(attn\.)?wqkv\.", ".attn.wqkv."),
    (r"^blocks\.", "layers."),
)
"""Of a layer; told from transformers' by what a layer is called."""


def sanitize_moon_vit(weights: dict[str, mx.array], prefix: str, heads: int) -> dict[str, mx.array]:
    """The weights under `prefix` in `MoonViT`'s names and layout, the others as they are. Dropped are the waves that
    tell frames apart, which the tower computes."""
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(prefix)}
    for name, tensor in weights.items():
        own = _renamed(name.removeprefix(prefix))
        if name in kept or own.startswith("patch_embed.pos_emb.time_"):
            continue
        if own == "patch_embedding.weight" and tensor.ndim == 4:
            tensor = (tensor if tensor.shape[1] == 3 else tensor.transpose(0, 3, 1, 2)).reshape(len(tensor), -1)
        if ".wqkv." not in own:
            kept[prefix + own] = tensor
            continue
        for part, rows in zip(("q_proj", "k_proj", "v_proj"), mx.split(tensor, 3), strict=True):
            kept[prefix + own.replace("wqkv", part)] = rows if part == "v_proj" else _halves_together(rows, heads)
    return kept


def _renamed(name: str) -> str:
    for pattern, new in _NAMES:
        name = re.sub(pattern, new, name)
    if name.startswith("blocks."):
        for pattern, new in _AUTHORS:
            name = re.sub(pattern, new, name)
    return name


def _halves_together(rows: mx.array, heads: int) -> mx.array:
    """(heads * d, ...) with a head's channels as the first of each pair, then the second."""
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
