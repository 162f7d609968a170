"""The weights of FastViTHD as checkpoints hold them: timm's names or its authors', kernels in either layout.

Knows nothing of the tower's maths. Source of the authors' names: Apple's `mobileclip/mci.py`.
"""

import re

import mlx.core as mx

from engine.models.towers.fastvit import ATTENTION_FROM

STAGES = 5

_NAMES = (
    (r"^patch_embed\.(?:blocks\.)?", "stem."),
    (r"^conv_exp\.", "final_conv."),
    (r"\blkb_reparam\.", "reparam_conv."),
    (r"\bconvffn\.", "mlp."),
    (r"\bse\.reduce\.", "se.fc1."),
    (r"\bse\.expand\.", "se.fc2."),
    (r"\b(layer_scale(?:_[12])?)$", r"\1.gamma"),
)


def sanitize_fastvit(weights: dict[str, mx.array], prefix: str) -> dict[str, mx.array]:
    """The weights under `prefix` in `FastViT`'s names and layout, the others as they are.

    Dropped are the head, which gives one feature for the whole picture, and how many batches a norm has seen.
    """
    own = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(prefix)}
    own = {_renamed(name): tensor for name, tensor in own.items()}
    # A kernel for a channel each tells the layout, as it has one of them only.
    sample = own.get("stem.1.reparam_conv.weight")
    channels_first = sample is not None and sample.shape[-1] != 1
    for name, tensor in own.items():
        if name.startswith("head.") or name.endswith(".num_batches_tracked"):
            continue
        kept[prefix + name] = _laid_out(name, tensor, channels_first)
    return kept


def _renamed(name: str) -> str:
    name = re.sub(r"^network\.(\d+)\.", lambda found: f"{_PARTS[int(found[1])]}.", name)
    for pattern, new in _NAMES:
        name = re.sub(pattern, new, name)
    return name


def _parts() -> list[str]:
    """The authors' row of layers, each by its place in a stage."""
    parts = []
    for number in range(STAGES):
        parts += [f"stages.{number}.downsample"] if number else []
        parts += [f"stages.{number}.pos_emb"] if number >= ATTENTION_FROM else []
        parts.append(f"stages.{number}.blocks")
    return parts


_PARTS = _parts()


def _laid_out(name: str, tensor: mx.array, channels_first: bool) -> mx.array:
    if name.endswith(".gamma"):
        return tensor.reshape(-1)
    if tensor.ndim != 4:
        return tensor
    if channels_first:
        tensor = tensor.transpose(0, 2, 3, 1)
    # A kernel of one place is a matrix, unless it is for a channel each.
    return tensor.reshape(len(tensor), -1) if tensor.shape[1:3] == (1, 1) else tensor
