"""Our resizing of bytes against PyTorch's."""

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling
from torchvision.transforms.v2.functional import InterpolationMode, resize

from engine.models.media.torch_resize import torch_resize

MODES = {Resampling.BILINEAR: InterpolationMode.BILINEAR, Resampling.BICUBIC: InterpolationMode.BICUBIC}
SIZES = [(97, 131), (40, 131), (97, 33), (60, 50), (200, 260), (3, 400), (1, 1), (500, 2)]


def drawn() -> np.ndarray:
    """Noise, and hard edges where the cubic overshoots."""
    pixels = np.random.default_rng(5).integers(0, 256, (97, 131, 3), dtype=np.uint8)
    pixels[:40, :60] = np.where(np.indices((40, 60)).sum(axis=0)[..., None] // 7 % 2, 255, 0)
    return pixels


@pytest.mark.parametrize("resample", MODES)
@pytest.mark.parametrize("size", SIZES)
def test_every_byte_is_the_references(size, resample):
    pixels = drawn()
    frames = torch.from_numpy(pixels).permute(2, 0, 1)
    theirs = resize(frames, list(size), interpolation=MODES[resample], antialias=True).permute(1, 2, 0).numpy()
    assert (torch_resize(pixels, size, resample) == theirs).all()


def test_it_is_not_what_pillow_does():
    """Else this part would not be needed."""
    pillow = np.asarray(Image.fromarray(drawn()).resize((50, 60), Resampling.BICUBIC))
    assert (torch_resize(drawn(), (60, 50), Resampling.BICUBIC) != pillow).any()
