"""Florence-2's config as its authors wrote it, and mlx-community keeps it, in transformers' words.

Knows nothing of other models.
"""

from collections.abc import Mapping
from typing import Any

from engine.api.errors import CheckpointError


def spell_florence2(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """`raw`, respelt where it is a Florence-2 of that kind. Raises `CheckpointError` for parts that transformers has no
    words for."""
    vision, text = raw.get("vision_config"), raw.get("text_config")
    if raw.get("model_type") != "florence2" or not isinstance(vision, Mapping) or "dim_embed" not in vision:
        return raw
    time, place = vision.get("visual_temporal_embedding") or {}, vision.get("image_pos_embed") or {}
    sources = vision.get("image_feature_source", ["spatial_avg_pool", "temporal_avg_pool"])
    said = (time.get("type"), place.get("type"), list(sources))
    known = ("COSINE", "learned_abs_2d", ["spatial_avg_pool", "temporal_avg_pool"])
    if said != known:
        raise CheckpointError(
            "The vision_config's visual_temporal_embedding, image_pos_embed and image_feature_source are "
            f"{said}; known are {known}."
        )
    spelt = {
        "model_type": "florence_vision",
        "embed_dim": vision["dim_embed"],
        "max_temporal_embeddings": time.get("max_temporal_embeddings", 100),
        "max_position_embeddings": place.get("max_pos_embeddings", 50),
    }
    return {**raw, "vision_config": {**vision, **spelt}, "text_config": {**(text or {}), "model_type": "bart"}}
