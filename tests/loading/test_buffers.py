"""What prompts take on their way in: told from shapes, and never less than towers and decoders really take."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from engine.api.events import Modality
from engine.loading.buffers import NUMBER, OF_A_VALUE, TowerBuffers, decoder_sizes, prompt_buffers
from engine.models.base import PreparedMedia
from engine.models.towers.qwen_vit import GatedMLP, QwenViT, QwenViTConfig
from engine.models.towers.siglip import SiglipTower
from engine.models.towers.slices import LayerSizes, Slices, all_at_once
from engine.models.towers.vit import ViTConfig

PATCH = 4
VISION = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 16 * PATCH,
    "patch_size": PATCH,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
TEXT = {"hidden_size": 32, "intermediate_size": 96, "num_attention_heads": 4}
CONFIG = {"text_config": TEXT, "vision_config": VISION}
UNSLICED = 1 << 40


def media(features=5, **arrays):
    return PreparedMedia(Modality.IMAGE, arrays, "", features, "digest")


def tiles(count):
    return media(pixel_values=np.zeros((count, 3, 16 * PATCH, 16 * PATCH), np.float32))


def patches(*grid):
    return media(pixel_values=np.zeros((int(np.prod(grid)), 3 * PATCH**2), np.float32), grid=np.array(grid))


def peak(see):
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    mx.eval(see())
    return mx.get_peak_memory() - before


def test_tiles_go_one_at_a_time():
    tower = TowerBuffers.read(CONFIG, UNSLICED)
    one = tower.looking(tiles(1))
    # Of the others there is a copy.
    assert tower.looking(tiles(5)) - one == pytest.approx(4 * 3 * (16 * PATCH) ** 2 * NUMBER)
    assert TowerBuffers.read(CONFIG, UNSLICED, together=True).looking(tiles(5)) > 4 * one


def test_a_tile_takes_no_more_than_is_said():
    model = SiglipTower(ViTConfig.read(VISION))
    mx.eval(model.parameters())
    picture = tiles(1)
    taken = peak(lambda: model(mx.array(picture.arrays["pixel_values"])))
    assert taken <= TowerBuffers.read(CONFIG, UNSLICED).looking(picture) < 4 * taken


@pytest.mark.parametrize("sliced_at", [1 << 18, UNSLICED])
def test_a_picture_of_any_size_takes_no_more_than_is_said(sliced_at):
    shape = QwenViTConfig(
        depth=2,
        hidden_size=64,
        intermediate_size=256,
        out_size=32,
        heads=4,
        hidden_act="silu",
        patch_shape=(3, 1, PATCH, PATCH),
        merge=2,
        rope_theta=10000.0,
    )
    model = QwenViT(shape, nn.RMSNorm, GatedMLP)
    mx.eval(model.parameters())
    picture = patches(1, 32, 32)
    pixels = picture.arrays["pixel_values"]
    taken = peak(lambda: all_at_once(model.in_slices(mx.array(pixels), (1, 32, 32), Slices(sliced_at))))
    assert taken <= TowerBuffers.read(CONFIG, sliced_at).looking(picture) < 4 * taken


def test_slices_are_what_a_large_picture_takes():
    large, larger = patches(1, 64, 64), patches(1, 128, 64)
    tower = TowerBuffers.read(CONFIG, 1 << 20)
    per_patch = 3 * PATCH**2 * NUMBER + LayerSizes(64, 256, 4).held_a_patch
    assert tower.looking(larger) - tower.looking(large) == 64 * 64 * per_patch


def test_of_a_clip_some_frames_are_seen_at_a_time():
    tower = TowerBuffers.read(CONFIG, UNSLICED)
    copied = 3 * PATCH**2 * NUMBER
    few, many = patches(8, 32, 32), patches(32, 32, 32)
    assert tower.looking(many) - tower.looking(few) == 24 * 32 * 32 * copied
    shapes = media(pixel_values=np.zeros((300, 3 * PATCH**2), np.float32), shapes=np.array([[10, 10], [10, 20]]))
    assert tower.looking(shapes) < tower.looking(patches(1, 10, 30))


@pytest.mark.parametrize(
    ("config", "array"),
    [
        ({"vision_config": {"tower": {}}}, np.zeros((96, 96, 3), np.uint8)),
        ({"vision_config": {"embed_dim": [8, 16], "patch_size": [7, 3]}}, np.zeros((1, 3, 96, 96), np.float32)),
    ],
)
def test_towers_without_patches_count_by_pixels(config, array):
    tower = TowerBuffers.read({"text_config": TEXT, **config}, UNSLICED)
    assert tower.looking(media(pixels=array)) == 3 * 96**2 * NUMBER * (1 + OF_A_VALUE)
    assert tower.usual > 0


def test_a_model_for_text_has_no_tower():
    assert TowerBuffers.read(TEXT, UNSLICED) is None


def buffers(config=CONFIG, **options):
    options = {"together": False, "has_fused_attention": False, **options}
    return prompt_buffers(config, UNSLICED, 16, **options)


def test_a_text_takes_what_its_longest_piece_does():
    sizes = LayerSizes(32, 96, 4)
    assert decoder_sizes(CONFIG) == sizes
    assert buffers().bytes(10, ()) == 10 * sizes.bytes_a_patch(10)
    assert buffers().bytes(1000, ()) == 16 * sizes.bytes_a_patch(1000)


def test_scores_that_are_never_held_do_not_count():
    sizes = LayerSizes(32, 96, 4)
    fused = buffers({"text_config": {**TEXT, "head_dim": 64}}, has_fused_attention=True)
    assert fused.bytes(1000, ()) == 16 * sizes.bytes_a_patch(0)
    # Heads of 8 channels have no such kernel.
    assert buffers(has_fused_attention=True).bytes(1000, ()) == 16 * sizes.bytes_a_patch(1000)


def test_pictures_count_with_their_features():
    text, one, two = (buffers().bytes(50, seen) for seen in ((), (tiles(1),), (tiles(1), tiles(1))))
    assert text < one < two < 2 * one
    assert two - one == 5 * 32 * NUMBER
    deep = {**CONFIG, "vision_config": {**VISION, "deepstack_visual_indexes": [0, 1]}}
    assert buffers(deep).bytes(50, (tiles(1),)) - one == 2 * (5 + 50) * 32 * NUMBER


def test_experts_count_as_many_as_a_token_goes_through():
    experts = {**TEXT, "num_experts_per_tok": 8, "moe_intermediate_size": 40}
    assert decoder_sizes({"text_config": experts}).inner == 320
