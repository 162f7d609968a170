"""Pictures and clips of Qwen3's models: patches of 16 pixels, steps in time each behind words that say when it is.

Knows no tower and no decoder. Sources: transformers `processing_qwen3_vl.py`, `video_processing_qwen3_vl.py`.
"""

from pathlib import Path

import numpy as np

from engine.models.base import Config, TokenizerLike
from engine.models.clips.clip_patches import ClipPatchRecipe
from engine.models.clips.frame_sampling import FirstToLast
from engine.models.processors.patched import (
    PatchedClipProcessor,
    PatchedPictureProcessor,
    check_cut,
    clip_settings,
    tower_cut,
)
from engine.models.recipes.patches import PatchRecipe
from engine.models.recipes.preprocessor import HALF, read_preprocessor, slot_of

PICTURE, CLIP = "<|image_pad|>", "<|video_pad|>"
START, END = "<|vision_start|>", "<|vision_end|>"

CLIP_BOUNDS = 128 * 32 * 32, 768 * 32 * 32
"""Pixels of all frames, of a checkpoint whose files say nothing of clips."""

CAP = 768
"""Features of a frame, where a file asks for a cap and does not say which."""


def read_pictures(folder: Path, config: Config, tokenizer: TokenizerLike) -> PatchedPictureProcessor:
    """From the checkpoint's preprocessor file; without one, as in those of Qwen3-VL, with the tower's patches. Raises
    `CheckpointError` when its patches are not those of the tower."""
    frames, patch, merge = tower_cut(config["vision_config"])
    published = {
        "temporal_patch_size": frames,
        "patch_size": patch,
        "merge_size": merge,
        "image_mean": HALF,
        "image_std": HALF,
        "size": {"shortest_edge": 256 * 256, "longest_edge": 4096 * 4096},
    }
    recipe = PatchRecipe.read(read_preprocessor(folder) or published)
    check_cut(recipe, config["vision_config"])
    return PatchedPictureProcessor(PICTURE, slot_of(tokenizer, PICTURE, config["image_token_id"]), recipe)


def read_clips(folder: Path, config: Config, tokenizer: TokenizerLike) -> PatchedClipProcessor:
    """From what the checkpoint says of clips; what it does not say is as in transformers' class, but for the tower's
    patches. Raises `CheckpointError` when its patches are not those of the tower."""
    settings, cut = clip_settings(folder), tower_cut(config["vision_config"])
    recipe = ClipPatchRecipe.read(
        settings, cut=cut, bounds=CLIP_BOUNDS, mean=HALF, std=HALF, together=True, max_tokens=CAP
    )
    check_cut(recipe, config["vision_config"])
    slot_id = slot_of(tokenizer, CLIP, config["video_token_id"])
    return PatchedClipProcessor(CLIP, slot_id, recipe, FirstToLast.read(settings, recipe.frames), timed)


def timed(seconds: np.ndarray, features: int) -> str:
    """Stands where the template wrote `CLIP`, between a START and an END that stay around the whole."""
    middles = (seconds[:, 0] + seconds[:, -1]) / 2
    return "".join(f"<{middle:.1f} seconds>{START}{CLIP * features}{END}" for middle in middles)
