"""A checkpoint's preprocessor files: what they say of pictures, and the recipe that the usual ones stand for.

Knows nothing of towers. Sources: transformers' processor classes for CLIP, SigLIP and LLaVA, whose defaults these are.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL.Image import Resampling

from engine.api.errors import CheckpointError
from engine.models.base import TokenizerLike
from engine.models.recipes.pictures import PictureRecipe, Values

Settings = Mapping[str, Any]
Triple = tuple[float, float, float]

CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
HALF: Triple = (0.5, 0.5, 0.5)


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """What the checkpoint says of its pictures; empty if it says nothing. transformers 5 may keep it as a part of
    `processor_config.json`. Raises `CheckpointError` for a file that cannot be read."""
    alone = _read(folder / "preprocessor_config.json")
    said = alone or _read(folder / "processor_config.json").get("image_processor") or {}
    return {key: value for key, value in said.items() if value is not None}


def read_clip_preprocessor(folder: Path) -> dict[str, Any]:
    """What the checkpoint says of its clips in a file or part of their own; empty if it says nothing. Raises
    `CheckpointError` for a file that cannot be read."""
    part = _read(folder / "processor_config.json").get("video_processor")
    said = part or _read(folder / "video_preprocessor_config.json")
    return {key: value for key, value in said.items() if value is not None}


def read_processor_settings(folder: Path) -> dict[str, Any]:
    """What `processor_config.json` says for itself, beside its parts; empty if there is none."""
    said = _read(folder / "processor_config.json")
    return {key: value for key, value in said.items() if value is not None and not isinstance(value, dict)}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.", "Get the file again.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object.", "Get the file again.")
    return content


def _processor_type(settings: Settings) -> str:
    """`CLIPImageProcessor` and so on, without the word for which of transformers' back ends wrote it."""
    name = settings.get("image_processor_type") or settings.get("feature_extractor_type") or ""
    return name.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")


def picture_recipe(settings: Settings) -> PictureRecipe:
    """The recipe of a CLIP, SigLIP or LLaVA processor. Raises `CheckpointError` for another type."""
    kind = _processor_type(settings)
    resample = Resampling.BILINEAR if kind == "Gemma3ImageProcessor" else Resampling.BICUBIC
    if kind in ("CLIPImageProcessor", "LlavaImageProcessor", "LlavaNextImageProcessor"):
        size, crop, mean, std = {"shortest_edge": 224}, {"height": 224, "width": 224}, CLIP_MEAN, CLIP_STD
    elif kind == "LlavaOnevisionImageProcessor":
        size, crop, mean, std = {"height": 384, "width": 384}, None, CLIP_MEAN, CLIP_STD
    elif kind in ("SiglipImageProcessor", "Gemma3ImageProcessor"):
        size, crop, mean, std = {"height": 224, "width": 224}, None, HALF, HALF
    else:
        raise CheckpointError(f"The checkpoint's pictures want a processor of the type {kind!r}, not known here.")
    crop = _square(settings.get("crop_size", crop)) if settings.get("do_center_crop", crop is not None) else None
    return PictureRecipe(
        size=_edge(settings.get("size", size)) if settings.get("do_resize", True) else None,
        crop=(crop["height"], crop["width"]) if crop else None,
        resample=settings.get("resample", resample),
        pad_to_square=kind == "LlavaImageProcessor" and bool(settings.get("do_pad")),
        values=Values.read(settings, mean, std),
    )


def _edge(size: int | Mapping[str, int]) -> Mapping[str, int]:
    """Old files give a size as one number."""
    return {"shortest_edge": size} if isinstance(size, int) else size


def _square(size: int | Mapping[str, int]) -> Mapping[str, int]:
    return {"height": size, "width": size} if isinstance(size, int) else size


def slot_of(tokenizer: TokenizerLike, marker: str, expected: int) -> int:
    """The id of the token that stands for a feature. Raises `CheckpointError` if it is not the one of the config."""
    found = tokenizer.convert_tokens_to_ids(marker)
    if found != expected:
        raise CheckpointError(
            f"The config says that {marker} is token {expected}, the tokenizer says {found}.",
            "The tokenizer's files and config.json do not belong together.",
        )
    return found
