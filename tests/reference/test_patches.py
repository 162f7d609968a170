"""Patches of pictures against transformers' torch-free image processor, on shapes and settings that real files have."""

import numpy as np
import pytest
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from engine.api.errors import CheckpointError, MediaError
from engine.models.recipes.patches import PatchRecipe
from tests.reference.test_pictures import SIZES, drawn

SETTINGS = {
    "defaults": {},
    "the first files": {"min_pixels": 100 * 100, "max_pixels": 90 * 120, "patch_size": 4},
    "later files": {"size": {"shortest_edge": 900, "longest_edge": 5000}, "patch_size": 8, "merge_size": 3},
    "other values": {"temporal_patch_size": 1, "do_normalize": False, "resample": 2},
}


@pytest.mark.parametrize("size", [size for size in SIZES if max(size) <= 200 * min(size)])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_patches(settings, size):
    theirs = Qwen2VLImageProcessorPil(**settings)(drawn(size), return_tensors="np")
    patches, grid = PatchRecipe.read(settings)(drawn(size))
    assert grid == tuple(theirs["image_grid_thw"][0])
    assert patches.dtype == np.float32
    assert (patches == theirs["pixel_values"]).all()


@pytest.mark.parametrize("size", [(7, 1400), (4000, 3000), (27, 28), (42, 14), (70, 98), (1001, 1003)])
@pytest.mark.parametrize("bounds", [(3136, 1003520), (3136, 12845056), (10**6, 10**6)])
def test_how_large_a_picture_becomes(size, bounds):
    recipe = PatchRecipe.read({"min_pixels": bounds[0], "max_pixels": bounds[1]})
    assert recipe.scaled_size(size) == smart_resize(*size, 28, *bounds)


def test_bounds_on_the_area_are_read_under_all_their_names():
    for settings in (
        {"min_pixels": 5, "max_pixels": 6},
        {"size": {"min_pixels": 5, "max_pixels": 6}},
        {"size": {"shortest_edge": 5, "longest_edge": 6}},
    ):
        recipe = PatchRecipe.read(settings)
        assert (recipe.min_pixels, recipe.max_pixels) == (5, 6)


def test_a_strip_is_refused():
    with pytest.raises(MediaError, match="1 x 201 pixels"):
        PatchRecipe.read({})(drawn((1, 201)))


def test_pictures_that_are_not_to_be_resized_are_refused():
    with pytest.raises(CheckpointError, match="not resized"):
        PatchRecipe.read({"do_resize": False})
