"""Towers see a picture the same in whatever slices, hold no more than they may of a large one, and pause on the way."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_map

from engine.models.layers import attention
from engine.models.layers.attention import attended
from engine.models.towers.deepstack_vit import DeepStackViT
from engine.models.towers.glm_vit import GlmViT
from engine.models.towers.hunyuan_vit import HunyuanViT
from engine.models.towers.moon_vit import MoonViT, MoonViTConfig
from engine.models.towers.pixtral_vit import PixtralViT
from engine.models.towers.qwen_vit import GatedMLP, QwenViT, QwenViTConfig
from engine.models.towers.slices import UNBOUNDED, Slices, all_at_once
from engine.models.towers.turned_siglip import TurnedSiglip
from engine.models.towers.vit import MLP

PATCH, DEPTH, WIDTH, INNER, HEADS = 4, 3, 32, 48, 2
VISION = {
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "num_channels": 3,
    "image_size": 8 * PATCH,
    "patch_size": PATCH,
    "spatial_merge_size": 2,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
MOON = MoonViTConfig(
    depth=DEPTH,
    hidden_size=WIDTH,
    intermediate_size=INNER,
    heads=HEADS,
    hidden_act="gelu",
    patch=PATCH,
    side=6,
    frames=4,
    merge=2,
    rope_theta=10000.0,
)
PIXTRAL = VISION | {"rope_parameters": {"rope_theta": 10000.0}, "hidden_act": "silu"}
HUNYUAN = VISION | {"interpolate_mode": "bilinear", "max_image_size": 8 * PATCH, "rms_norm_eps": 1e-6}


def qwen(frames=1, width=WIDTH, inner=INNER, heads=HEADS, depth=DEPTH, **changes):
    return QwenViTConfig(
        depth=depth,
        hidden_size=width,
        intermediate_size=inner,
        out_size=16,
        heads=heads,
        hidden_act="silu",
        patch_shape=(3, frames, PATCH, PATCH),
        merge=2,
        rope_theta=10000.0,
        **changes,
    )


WINDOWS = {"window": 2, "whole_blocks": frozenset({1})}
GRIDS = {
    "qwen2": lambda: QwenViT(qwen(), nn.LayerNorm, MLP),
    "qwen2.5": lambda: QwenViT(qwen(**WINDOWS), nn.RMSNorm, GatedMLP),
    "deepstack": lambda: DeepStackViT(qwen(), 36, [0, 1]),
    "glm": lambda: GlmViT(qwen(), 24, 6),
    "turned": lambda: TurnedSiglip(VISION, 16),
    "moon": lambda: MoonViT(MOON),
    "hunyuan": lambda: HunyuanViT(HUNYUAN, 16),
}


def random(tower, seed=3):
    keys = iter(mx.random.split(mx.random.key(seed), 1000))
    tower.update(tree_map(lambda value: 0.2 * mx.random.normal(value.shape, key=next(keys)), tower.parameters()))
    mx.eval(tower.parameters())
    return tower


def pauses_and_result(work):
    count = 0
    while True:
        try:
            next(work)
        except StopIteration as end:
            return count, end.value
        count += 1


def check(see):
    """`see` begins the work of a tower, given its slices."""
    whole = all_at_once(see(Slices(UNBOUNDED)))
    counts = []
    for max_bytes in (1, 30_000, 100_000, 300_000, UNBOUNDED):
        count, sliced = pauses_and_result(see(Slices(max_bytes)))
        assert mx.abs(sliced - whole).max().item() <= 1e-6 * mx.abs(whole).max().item()
        counts.append(count)
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0


@pytest.mark.parametrize(
    ("kind", "grid"),
    [(kind, (1, 10, 14)) for kind in GRIDS] + [(kind, (3, 6, 4)) for kind in GRIDS if kind != "hunyuan"],
)
def test_slices_are_the_whole(kind, grid):
    tower = random(GRIDS[kind]())
    patches = mx.random.normal((int(np.prod(grid)), 3 * PATCH**2), key=mx.random.key(1))
    check(lambda slices: tower.in_slices(patches, grid, slices))


def test_slices_are_the_whole_behind_any_layer_of_pixtrals():
    tower = random(PixtralViT(PIXTRAL))
    pixels = mx.random.normal((1, 3, 10 * PATCH, 14 * PATCH), key=mx.random.key(1))
    check(lambda slices: tower.in_slices(pixels, 2, slices))
    assert not mx.allclose(*(all_at_once(tower.in_slices(pixels, depth, Slices(UNBOUNDED))) for depth in (2, 3)))


def test_what_is_not_looked_at_stays_out_of_slices():
    """Windows at the edges are filled up."""
    tower = random(GRIDS["qwen2.5"]())
    patches = mx.random.normal((6 * 10, 3 * PATCH**2), key=mx.random.key(1))
    check(lambda slices: tower.in_slices(patches, (1, 6, 10), slices))


def peak(work):
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    mx.eval(all_at_once(work))
    return mx.get_peak_memory() - before


def test_a_large_picture_takes_no_more_than_a_slice_beside_itself():
    tower = random(QwenViT(qwen(width=64, inner=2048, heads=8, depth=1), nn.RMSNorm, GatedMLP))
    grid, budget = (1, 32, 32), 1 << 20
    patches = mx.random.normal((1024, 3 * PATCH**2), key=mx.random.key(1))
    mx.eval(patches)
    sizes = tower.blocks[0].sizes
    whole = peak(tower.in_slices(patches, grid, Slices(UNBOUNDED)))
    sliced = peak(tower.in_slices(patches, grid, Slices(budget)))
    # The picture itself, beside patches and what merges them.
    itself = 1024 * (sizes.held_a_patch + 4 * 3 * PATCH**2)
    assert sliced < budget + itself
    assert whole > 5 * sliced


def test_attention_takes_a_piece_at_a_time(monkeypatch):
    queries, keys, values = (mx.random.normal((1, 2, 512, 16), key=mx.random.key(n)) for n in range(3))
    mx.eval(queries, keys, values)
    wanted = attended(queries, keys, values)
    mx.eval(wanted)
    monkeypatch.setattr(attention, "SCORES_BYTES", 1 << 17)

    def work():
        return attended(queries, keys, values)
        yield

    assert peak(work()) < 1 << 19
    assert mx.allclose(attended(queries, keys, values), wanted, atol=1e-6)
