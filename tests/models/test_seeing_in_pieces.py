"""Families that see pictures at their own shape keep to the model's budget, and pause wherever their tower does."""

from types import SimpleNamespace

import numpy as np
import pytest

from engine.api.events import Modality
from engine.models.base import PreparedMedia, VisionLanguageModel
from engine.models.families.hunyuan_vl import HunyuanVL
from engine.models.families.kimi_k25 import KimiK25
from engine.models.families.pixtral import Pixtral
from engine.models.joined.grid import PATCHES_AT_ONCE, GridModel
from engine.models.towers.slices import LayerSizes, Slices

BUDGET = 1 << 20


class Layer:
    """Gives back what it is given."""

    sizes = LayerSizes(64, 64, 1)

    def asked(self, x, *places):
        return (x.reshape(len(x), 1, -1),) * 3

    def answered(self, x, queries, keys, values, mask):
        return x


class Tower:
    """Of one layer; patches are features."""

    def __init__(self):
        self.seen = []
        """How many patches at a time."""

    def in_slices(self, x, *places):
        assert isinstance(places[-1], Slices)
        self.seen.append(len(x))
        return (yield from places[-1].through(Layer(), x))


def model(**parts):
    return SimpleNamespace(vision_tower=Tower(), tower_bytes=BUDGET, **parts)


def media(count, **arrays):
    pixels = np.arange(count * 64, dtype=np.float32).reshape(count, 64)
    return PreparedMedia(Modality.IMAGE, {"pixel_values": pixels, **arrays}, "", count, "digest")


def pieces(family, made, item):
    *pauses, features = family.encode_in_pieces(made, item)
    assert set(pauses) <= {None}
    assert np.array_equal(features, item.arrays["pixel_values"])
    return len(pauses)


@pytest.mark.parametrize("family", [GridModel, HunyuanVL])
def test_a_large_picture_is_seen_in_slices_and_a_small_one_at_once(family):
    assert pieces(family, model(), media(100, grid=np.array([1, 10, 10]))) == 0
    large = media(1024, grid=np.array([1, 32, 32]))
    made = model()
    sliced = pieces(family, made, large)
    assert made.vision_tower.seen == [1024]
    assert sliced >= 1024 * Layer.sizes.bytes_a_patch(1024) // BUDGET
    made.tower_bytes = 2 * BUDGET
    assert 0 < pieces(family, made, large) < sliced


def test_a_clip_is_seen_some_frames_at_a_time():
    made = model()
    pieces(GridModel, made, media(10 * 1024, grid=np.array([10, 32, 32])))
    assert made.vision_tower.seen == [PATCHES_AT_ONCE, PATCHES_AT_ONCE, 2 * 1024]


def test_groups_of_frames_are_seen_in_slices():
    made = model(mm_projector=lambda features: features)
    grids = np.array([[2, 20, 20], [1, 10, 10]])
    assert pieces(KimiK25, made, media(900, grids=grids)) > 2
    assert made.vision_tower.seen == [800, 100]


def test_pixtral_is_told_how_deep_it_looks():
    made = model(multi_modal_projector=lambda features: features, _depth=1)
    assert pieces(Pixtral, made, media(1024)) > 1


def test_a_model_has_a_budget_before_it_is_given_one():
    assert VisionLanguageModel().tower_bytes > 1 << 20
