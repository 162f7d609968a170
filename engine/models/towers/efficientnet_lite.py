"""EfficientNet-Lite: inverted residual blocks without squeeze-excite, ReLU6, TensorFlow's SAME padding.

BatchNorm is folded into the convolutions. Knows nothing of what reads its maps. Source: arXiv 1905.11946, and the
"Lite" variants of github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.models.layers.windows import DepthwiseConv, pad_same


@dataclass(frozen=True, slots=True)
class TowerFeatures:
    """What the tower sees in B pictures."""

    stem: mx.array
    """(B, H/2, W/2, C)"""
    stages: tuple[mx.array, ...]
    """The map (B, H', W', C) after the last block of each stage, first stage first."""
    head: mx.array
    """(B, H', W', D)"""
    pooled: mx.array
    """(B, D): the mean of `head` over the map."""
    classes: mx.array
    """(B, classes): probabilities."""


def relu6(x: mx.array) -> mx.array:
    return mx.minimum(mx.maximum(x, 0.0), 6.0)


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, filter each channel, narrow again; the widening may be left out."""

    def __init__(self, block: Mapping[str, Any]) -> None:
        super().__init__()
        depthwise = block["dw"]
        channels, _, kernel, _ = depthwise["weight"]
        if block["expand"] is not None:
            self.expand = pointwise(block["expand"]["weight"])
        self.dw = DepthwiseConv(channels, kernel, depthwise["stride"])
        self.proj = pointwise(block["proj"]["weight"])
        self.residual = bool(block["residual"])

    def __call__(self, x: mx.array) -> mx.array:
        y = relu6(self.expand(x)) if "expand" in self else x
        y = self.proj(relu6(self.dw(y)))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config` lists the stem, every block with its PyTorch weight shapes, the head and the classifier."""
        super().__init__()
        out_channels, in_channels, kernel, _ = config["stem"]["weight"]
        self.stem = nn.Conv2d(in_channels, out_channels, kernel, stride=config["stem"]["stride"])
        self.blocks = [InvertedResidual(block) for block in config["blocks"]]
        self.head = pointwise(config["head"]["weight"])
        self.fc = pointwise(config["fc"]["weight"])
        self._kernel, self._stride = kernel, config["stem"]["stride"]
        self._stage_of_block = [block["stage"] for block in config["blocks"]]

    def __call__(self, x: mx.array) -> TowerFeatures:
        """`x` (B, H, W, 3), normalised."""
        x = stem = relu6(self.stem(pad_same(x, self._kernel, self._stride)))
        last_of_stage: dict[int, mx.array] = {}
        for stage, block in zip(self._stage_of_block, self.blocks, strict=True):
            x = last_of_stage[stage] = block(x)
        head = relu6(self.head(x))
        pooled = head.mean(axis=(1, 2))
        return TowerFeatures(
            stem, tuple(last_of_stage.values()), head, pooled, mx.softmax(self.fc(pooled), axis=-1, precise=True)
        )

    @staticmethod
    def sanitize(name: str, weight: mx.array) -> mx.array:
        """One tensor, from PyTorch's layout to this module's."""
        return depthwise_weight(weight) if name.endswith(".dw.weight") else conv_weight(weight)


def pointwise(shape: list[int]) -> nn.Linear:
    """A 1x1 convolution, which over (B, H, W, C) is a linear layer; `shape` is PyTorch's, (out, in) first."""
    return nn.Linear(shape[1], shape[0])


def conv_weight(weight: mx.array) -> mx.array:
    """PyTorch's (out, in, H, W) to MLX's (out, H, W, in), 1x1 to (out, in); anything else as it is."""
    if weight.ndim != 4:
        return weight
    return weight[:, :, 0, 0] if weight.shape[2:] == (1, 1) else weight.transpose(0, 2, 3, 1)


def depthwise_weight(weight: mx.array) -> mx.array:
    """PyTorch's (C, 1, H, W) to (H, W, C)."""
    return mx.contiguous(weight[:, 0].transpose(1, 2, 0))
