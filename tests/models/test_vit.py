import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from engine.api.errors import CheckpointError
from engine.models.layers.activations import activation, gelu_tanh
from engine.models.towers.siglip import SiglipTower
from engine.models.towers.vit import PatchEmbedding, ViTConfig, sanitize_tower

CONFIG = {
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 12,
    "patch_size": 4,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}


def positions(native: int, patches: int) -> list[int]:
    """Which rows of the position table a square of `patches` by `patches` takes, on a tower made for `native`."""
    tower = SiglipTower(ViTConfig.read(CONFIG | {"image_size": native * 4, "hidden_size": 2, "num_attention_heads": 1}))
    table = mx.arange(native * native, dtype=mx.float32)[:, None] * mx.ones((1, 2))
    tower.embeddings.position_embedding.weight = table
    found = tower.embeddings(mx.zeros((1, 3, patches * 4, patches * 4)))
    return found[0, :, 0].tolist()


@pytest.mark.parametrize("native", [16, 24, 26, 27, 32])
def test_a_picture_of_the_towers_size_takes_every_position_once(native):
    assert positions(native, native) == list(range(native * native))


@pytest.mark.parametrize(("native", "patches"), [(26, 13), (26, 39), (27, 20), (32, 48), (16, 7)])
def test_other_sizes_take_positions_as_the_reference_does(native, patches):
    torch = pytest.importorskip("torch")
    from transformers.models.idefics3.modeling_idefics3 import Idefics3VisionConfig, Idefics3VisionEmbeddings

    reference = Idefics3VisionEmbeddings(
        Idefics3VisionConfig(hidden_size=2, num_attention_heads=1, image_size=native * 4, patch_size=4)
    )
    with torch.no_grad():
        reference.position_embedding.weight.copy_(torch.arange(native * native)[:, None].expand(-1, 2))
        reference.patch_embedding.bias.zero_()
        seen = torch.ones(1, patches, patches, dtype=torch.bool)
        found = reference(torch.zeros(1, 3, patches * 4, patches * 4), seen)
    assert positions(native, patches) == found[0, :, 0].tolist()


def test_patches_are_a_convolution_that_leaves_the_rest_alone():
    layer = PatchEmbedding(ViTConfig.read(CONFIG), bias=True)
    layer.weight = mx.random.normal(layer.weight.shape)
    layer.bias = mx.random.normal(layer.bias.shape)
    pixels = mx.random.normal((2, 3, 14, 19))
    wanted = mx.conv2d(pixels.transpose(0, 2, 3, 1), layer.weight, stride=4) + layer.bias
    assert wanted.shape == (2, 3, 4, 8)
    assert mx.allclose(layer(pixels), wanted, atol=1e-5)


def test_both_layouts_of_a_kernel_become_one_and_what_nobody_uses_is_dropped():
    kernel = mx.random.normal((8, 4, 4, 3))
    name = "vision_tower.embeddings.patch_embedding.weight"
    for stored in (kernel, kernel.transpose(0, 3, 1, 2)):
        weights = {name: stored, "vision_tower.head.probe": kernel, "vision_tower.embeddings.position_ids": kernel}
        assert sanitize_tower(weights, "vision_tower.").keys() == {name}
        assert mx.array_equal(sanitize_tower(weights, "vision_tower.")[name], kernel)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": None}, "lacks patch_size"),
        ({"image_size": [12, 8]}, "only squares"),
        ({"num_attention_heads": 3}, "8 channels into 3 heads"),
    ],
)
def test_a_vision_config_that_cannot_be_built_says_why(change, message):
    with pytest.raises(CheckpointError, match=message):
        ViTConfig.read(CONFIG | change)


def test_gelu_is_the_tanh_form():
    x = mx.concatenate([mx.linspace(-6, 6, 201), mx.array([-1e30, -1e4, 1e4])])
    assert np.allclose(gelu_tanh(x), nn.gelu_approx(mx.clip(x, -1e4, 1e4)), atol=1e-6)


def test_an_unknown_activation_is_named():
    with pytest.raises(CheckpointError, match="'snake'"):
        activation("snake")
