"""Pixel values against transformers' torch-free image processors, on shapes and settings that real files have."""

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import (
    Idefics3ImageProcessorPil,
    get_resize_output_image_size,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from engine.models.recipes.anyres import AnyresRecipe, unpadded
from engine.models.recipes.pictures import Values
from engine.models.recipes.preprocessor import HALF, picture_recipe
from engine.models.recipes.tiles import TileRecipe, scaled_size

SIZES = [(1, 1), (1, 300), (300, 1), (50, 50), (51, 50), (97, 31), (31, 97), (200, 113), (13, 211), (64, 65)]
"""Width and height."""


def drawn(size):
    return Image.fromarray(np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"size": {"longest_edge": 130}, "max_image_size": {"longest_edge": 33}, "resample": 2},
        {"size": {"longest_edge": 130}, "max_image_size": {"longest_edge": 33}, "do_image_splitting": False},
        {"do_resize": False, "max_image_size": {"longest_edge": 64}, "do_normalize": False, "do_rescale": False},
    ],
    ids=["defaults", "small", "whole", "as it is"],
)
def test_tiles(settings, size):
    theirs = Idefics3ImageProcessorPil(**settings, return_row_col_info=True)(drawn(size), return_tensors="np")
    tiles, grid = TileRecipe.read(settings)(drawn(size))
    assert grid == (theirs["rows"][0][0], theirs["cols"][0][0])
    pixels = Values.read(settings, HALF, HALF)(tiles)
    assert pixels.dtype == np.float32
    assert (pixels == theirs["pixel_values"][0]).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("longest", [364, 2048, 4096, 5000])
def test_how_large_a_picture_becomes(size, longest):
    pixels = np.broadcast_to(np.uint8(0), (3, *size))
    assert scaled_size(size, longest) == get_resize_output_image_size(pixels, longest)


@pytest.mark.parametrize("size", [size for size in SIZES if 1 not in size])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (CLIPImageProcessorPil, {}),
        (CLIPImageProcessorPil, {"size": 40, "crop_size": 36, "resample": 2}),
        (CLIPImageProcessorPil, {"size": {"shortest_edge": 30}, "crop_size": {"height": 37, "width": 48}}),
        (CLIPImageProcessorPil, {"do_resize": False, "crop_size": {"height": 57, "width": 60}}),
        (CLIPImageProcessorPil, {"do_center_crop": False, "size": {"height": 20, "width": 30}}),
        (CLIPImageProcessorPil, {"rescale_factor": 0.01, "image_mean": [0, 1, 2], "image_std": [1, 2, 3]}),
        (SiglipImageProcessorPil, {}),
        (SiglipImageProcessorPil, {"size": {"height": 30, "width": 40}, "do_normalize": False}),
        (LlavaImageProcessorPil, {"do_pad": True, "size": {"shortest_edge": 40}, "crop_size": 40}),
    ],
)
def test_single_pictures(kind, settings, size):
    theirs = kind(**settings)(drawn(size), return_tensors="np")["pixel_values"][0]
    ours = picture_recipe({"image_processor_type": kind.__name__} | settings)(drawn(size))
    assert ours.dtype == np.float32
    assert (ours == theirs).all()


POINTS = [[40, 80], [80, 40], [80, 80], [120, 40], [40, 120], [40, 200]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"shortest_edge": 40}, "crop_size": {"height": 40, "width": 40}},
        {"size": {"height": 36, "width": 36}, "crop_size": {"height": 40, "width": 40}, "do_center_crop": False},
        {"size": {"shortest_edge": 40}, "crop_size": {"height": 20, "width": 20}, "resample": 2},
    ],
    ids=["as they are", "scaled", "cropped"],
)
def test_the_best_of_several_resolutions(settings, size):
    settings = settings | {"image_grid_pinpoints": POINTS}
    theirs = LlavaNextImageProcessorPil(**settings)(drawn(size), return_tensors="np")["pixel_values"][0]
    named = settings | {"image_processor_type": "LlavaNextImageProcessorFast"}
    ours, (rows, columns) = AnyresRecipe.read(named, picture_recipe(named), ())(drawn(size))
    assert len(ours) == 1 + rows * columns
    assert (ours == theirs).all()


@pytest.mark.parametrize("size", [*SIZES, (1, 5000), (5000, 1), (640, 427)])
@pytest.mark.parametrize("grid", [(1, 2), (2, 2), (5, 1)])
def test_how_many_features_show_the_picture(size, grid):
    width, height = size
    rows, columns = unpadded((height, width), (grid[0] * 24, grid[1] * 24))
    theirs = LlavaNextProcessor._get_unpadded_features(None, height, width, 24, 24, *grid)
    tall, wide = rows[1] - rows[0], columns[1] - columns[0]
    assert (tall * wide, tall) == theirs
