"""Patches of clips against transformers' video processors: which frames are chosen, how large they are, what values."""

from dataclasses import replace

import numpy as np
import pytest
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from engine.api.errors import CheckpointError, MediaError
from engine.models.clips.clip_patches import ClipPatchRecipe
from engine.models.clips.frame_sampling import EvenSteps, FirstToLast
from engine.models.clips.plan import ClipWish
from engine.models.media.torch_resize import torch_resize
from engine.models.recipes.preprocessor import CLIP_MEAN, CLIP_STD, HALF
from tests.reference.clips import drawn_clip, facts_of, metadata_of

EACH = {
    "cut": (2, 14, 2),
    "bounds": (128 * 28 * 28, 28 * 28 * 768),
    "mean": CLIP_MEAN,
    "std": CLIP_STD,
    "together": False,
    "max_tokens": 128000,
}
ALL = {
    "cut": (2, 16, 2),
    "bounds": (128 * 32 * 32, 32 * 32 * 768),
    "mean": HALF,
    "std": HALF,
    "together": True,
    "max_tokens": 768,
}
KINDS = {
    "each frame": (Qwen2VLVideoProcessor, EACH, EvenSteps, {"do_sample_frames": True}),
    "all frames": (Qwen3VLVideoProcessor, ALL, FirstToLast, {}),
}
SMALL = {"size": {"shortest_edge": 900, "longest_edge": 9000}, "patch_size": 8}
SETTINGS = {
    "defaults": {},
    "small": SMALL,
    "capped": SMALL | {"cap_pixels_per_frame": True, "max_video_tokens": 3},
    "capped by frames": SMALL | {"cap_pixels_per_frame": True},
    "other values": SMALL | {"temporal_patch_size": 1, "do_normalize": False, "resample": 2, "merge_size": 3},
    "few frames": SMALL | {"fps": 1, "min_frames": 2, "max_frames": 5},
    "a number of frames": SMALL | {"num_frames": 4, "fps": None},
}
CLIPS = {"long": (61, (20, 45), 10.0), "odd": (7, (37, 21), 30.0), "tiny": (5, (3, 40), 7.3)}


@pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_clips(kind, settings, clip):
    reference, defaults, sampling, extra = kind
    count, size, fps = clip
    if defaults is EACH and "fps" not in settings:
        settings = settings | {"fps": 2}
    frames = drawn_clip(count, size)
    theirs = reference(**settings, **extra)(
        [frames],
        video_metadata=[metadata_of(frames, fps)],
        return_metadata=True,
        return_tensors="np",
        input_data_format="channels_last",
    )
    said = {key: value for key, value in settings.items() if value is not None}
    recipe = ClipPatchRecipe.read(said, **defaults)
    indices = sampling.read(said, recipe.frames)(facts_of(frames, fps), ClipWish())
    assert indices == theirs["video_metadata"][0].frames_indices.tolist()
    scaled = recipe.scaled_size(size, len(indices))
    patches, grid = recipe(np.stack([torch_resize(frames[index], scaled, recipe.resample) for index in indices]))
    assert grid == tuple(theirs["video_grid_thw"][0])
    assert np.abs(patches - theirs["pixel_values_videos"]).max() < 1e-5


@pytest.mark.parametrize("count", [2, 3, 10, 333, 5400])
@pytest.mark.parametrize("rate", [7.3, 24.0, 29.97])
@pytest.mark.parametrize("wish", [ClipWish(), ClipWish(fps=0.5), ClipWish(fps=8, max_frames=31)])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_which_frames_are_chosen(kind, wish, rate, count):
    reference, _, sampling, _ = kind
    processor = reference(max_frames=wish.max_frames or 768)
    facts = replace(facts_of(np.zeros((1, 1, 1, 3), np.uint8), rate), times=np.arange(count), duration=count / rate)
    metadata = type("Metadata", (), {"total_num_frames": count, "fps": facts.fps})
    theirs = processor.sample_frames(metadata, fps=wish.fps or 2)
    assert sampling.read({}, 2)(facts, wish) == list(theirs)


def test_a_clip_of_one_frame_is_refused():
    with pytest.raises(MediaError, match="1 of the 2 frames"):
        FirstToLast.read({}, 2)(facts_of(drawn_clip(1, (9, 9)), 5.0), ClipWish())


def test_a_wish_for_one_frame_gives_the_fewest_there_can_be():
    facts = facts_of(drawn_clip(9, (9, 9)), 5.0)
    for sampling in (FirstToLast, EvenSteps):
        assert len(sampling.read({}, 2)(facts, ClipWish(max_frames=1))) == 2


@pytest.mark.parametrize("defaults", [EACH, ALL])
def test_a_strip_is_refused(defaults):
    with pytest.raises(MediaError, match="The clip is"):
        ClipPatchRecipe.read({}, **defaults).scaled_size((40, 40 * 201), 4)


def test_clips_that_are_not_to_be_resized_are_refused():
    with pytest.raises(CheckpointError, match="not resized"):
        ClipPatchRecipe.read({"do_resize": False}, **ALL)
