"""How a picture was cut up, told from arrays of every form that families make."""

import numpy as np
import pytest

from engine.api.events import Modality
from engine.api.model_facts import PictureCut
from engine.models.base import PreparedMedia
from engine.models.cut import picture_cut

CONFIG = {"vision_config": {"patch_size": 4}}


def cut(config=CONFIG, **arrays):
    media = PreparedMedia(Modality.IMAGE, {name: np.asarray(array) for name, array in arrays.items()}, "", 7, "digest")
    return picture_cut(media, (30, 40), config)


@pytest.mark.parametrize(
    ("arrays", "tiles", "seen"),
    [
        ({"pixel_values": np.zeros((5, 3, 32, 48), np.float32)}, 5, (48, 32)),
        ({"pixel_values": np.zeros((20, 96), np.float32), "grid": [1, 4, 5]}, 1, (20, 16)),
        ({"pixel_values": np.zeros((20, 48), np.float32), "grid": [4, 5]}, 1, (20, 16)),
        ({"pixel_values": np.zeros((2, 20, 48), np.float32), "shapes": [[4, 5], [2, 3]]}, 2, (20, 16)),
        ({"pixel_values": np.zeros((3, 16, 48), np.float32), "pooled": [[0]]}, 3, (16, 16)),
        ({"pixels": np.zeros((260, 250, 3), np.uint8)}, 1, (250, 260)),
        ({"else": np.zeros(3)}, 1, (0, 0)),
    ],
    ids=["tiles", "patches", "patches-2", "patches of tiles", "crops", "pixels", "unknown"],
)
def test_every_form(arrays, tiles, seen):
    assert cut(**arrays) == PictureCut((40, 30), seen, tiles, 7)


def test_without_the_size_of_a_patch_the_size_is_not_known():
    assert cut({}, pixel_values=np.zeros((20, 96)), grid=[1, 4, 5]).seen_size == (0, 0)
