"""Renaming of a checkpoint's tensors by the beginnings of their names.

Knows no family: each brings its own table, or takes the one that many share.
"""

import mlx.core as mx

from engine.api.errors import CheckpointError

Prefixes = tuple[tuple[str, str], ...]
"""(beginning in the checkpoint, beginning in the module); the first that fits is taken."""

TOWER_AND_DECODER: Prefixes = (
    ("model.vision_tower.vision_model.", "vision_tower."),
    ("vision_tower.vision_model.", "vision_tower."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", ""),
)
"""Of families that have a `vision_tower`, a `language_model`, and what joins them, side by side: transformers 5 puts
all of it under `model.`, and the head beside that; transformers 4 and mlx-community keep the head in the decoder."""

IDEFICS: Prefixes = (
    ("model.vision_model.", "vision_model."),
    ("model.connector.", "connector."),
    ("model.text_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    # mlx-community, whose decoder has its head beside its layers.
    ("language_model.lm_head.", "language_model.lm_head."),
    ("language_model.model.", "language_model.model."),
    ("language_model.", "language_model.model."),
)
"""Of Idefics2, Idefics3 and SmolVLM."""


def rename(weights: dict[str, mx.array], prefixes: Prefixes) -> dict[str, mx.array]:
    """`weights` under their new names; what fits no prefix keeps its own. Raises if two end up under one name."""
    renamed: dict[str, mx.array] = {}
    for name, tensor in weights.items():
        new = next((to + name.removeprefix(old) for old, to in prefixes if name.startswith(old)), name)
        if new in renamed:
            raise CheckpointError(f"The checkpoint holds {new} twice, once of them as {name}.")
        renamed[new] = tensor
    return renamed
