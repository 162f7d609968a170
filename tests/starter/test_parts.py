"""The starter's parts by themselves, on small made-up input."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from engine.models.decoders.gguf_llama import halves_together
from engine.models.layers.switched_lora import AdapterSwitch, SwitchedLoRALinear
from engine.models.layers.windows import DepthwiseConv, average_pool_same
from engine.models.towers.efficientnet_lite import depthwise_weight
from engine.models.towers.glyphs import GlyphRules, read_glyphs

RULES = GlyphRules(characters="abc", threshold=0.12, max_kept=40, count=4)


def padded_same(x, kernel, stride):
    rows, columns = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[-2:])
    return functional.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(9, 9), (8, 13)])
def test_depthwise_convolution_is_pytorch_s(size, kernel, stride):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 6, *size, generator=generator)
    weight, bias = torch.randn(6, 1, kernel, kernel, generator=generator), torch.randn(6, generator=generator)
    theirs = functional.conv2d(padded_same(x, kernel, stride), weight, bias, stride, groups=6)
    layer = DepthwiseConv(6, kernel, stride)
    layer.weight, layer.bias = depthwise_weight(mx.array(weight.numpy())), mx.array(bias.numpy())
    ours = np.array(layer(mx.array(x.permute(0, 2, 3, 1).numpy()))).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_average_pool_counts_only_cells_inside():
    x = torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(2))
    theirs = functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    ours = average_pool_same(mx.array(x.permute(0, 2, 3, 1).numpy()), kernel=3, stride=2)
    np.testing.assert_allclose(np.array(ours).transpose(0, 3, 1, 2), theirs.numpy(), atol=1e-6)


def test_an_adapter_that_is_off_leaves_no_trace():
    switch = AdapterSwitch()
    linear = nn.Linear(8, 6, bias=False)
    layer = SwitchedLoRALinear(linear, rank=2, switch=switch)
    layer.weight = linear.weight
    layer.lora_a, layer.lora_b = mx.random.normal((2, 8)), mx.random.normal((6, 2))
    x = mx.random.normal((3, 8))
    assert mx.array_equal(layer(x), linear(x))
    switch.on = True
    assert mx.allclose(layer(x), x @ (linear.weight + layer.lora_b @ layer.lora_a).T, atol=1e-5)


def test_rotary_rows_go_back_to_hugging_face_s_order():
    # One head of four: llama.cpp stores the rows as 0 2 1 3.
    stored = mx.array([[0.0], [2.0], [1.0], [3.0], [4.0], [6.0], [5.0], [7.0]])
    assert halves_together(stored, heads=2)[:, 0].tolist() == list(range(8))


def letter_map(*cells, size=33):
    """Logits with the letters at the given (row, column, letter, logit), blank elsewhere."""
    logits = np.zeros((size, size, 4), np.float32)
    logits[..., 3] = 10
    for row, column, letter, logit in cells:
        logits[row, column] = 0
        logits[row, column, "abc".index(letter)] = logit
    return logits


def test_letters_are_read_line_by_line_from_left_to_right():
    glyphs = read_glyphs(letter_map((20, 3, "c", 9), (5, 20, "b", 9), (6, 4, "a", 9)), RULES)
    assert glyphs.text == "ab c"
    np.testing.assert_allclose(glyphs.places[:, 2], [0, 0, 0.5, 0])
    np.testing.assert_allclose(glyphs.places[:, 3], [0, 1.6, 0, 0], atol=1e-6)
    np.testing.assert_allclose(glyphs.letters[:3].sum(-1), 1, atol=1e-6)
    assert not glyphs.letters[3].any()
    assert not glyphs.places[3].any()


def test_a_surer_cell_pushes_its_neighbours_aside():
    assert read_glyphs(letter_map((5, 5, "a", 8), (5, 6, "b", 9), (7, 6, "c", 8)), RULES).text == "b"
    assert read_glyphs(letter_map((5, 5, "a", 8), (5, 7, "b", 9)), RULES).text == "ab"


def test_letters_beyond_the_last_place_are_still_read_but_not_handed_on():
    glyphs = read_glyphs(letter_map(*((5, 2 + 3 * i, "a", 9) for i in range(6))), RULES)
    assert glyphs.text == "a" * 6
    assert glyphs.letters.shape == (4, 3)


def test_no_letters():
    glyphs = read_glyphs(letter_map(), RULES)
    assert glyphs.text == ""
    assert not glyphs.places.any()
