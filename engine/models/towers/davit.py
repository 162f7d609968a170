"""DaViT (arXiv 2204.03645), the tower of Florence-2: in turn patches look around in windows, channels at each other.

Knows nothing of what becomes of its features. Maps are (N, H, W, C) throughout.
"""

import re
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.layers.activations import activation
from engine.models.layers.windows import DepthwiseConv

_RENAMED = (
    (r"^(convs\.\d+)\.proj\.", r"\1.conv."),
    (r"\.(conv[12])\.fn\.dw\.", r".\1."),
    (r"\.(window_attn|channel_attn)\.norm\.", ".norm1."),
    (r"\.ffn\.norm\.", ".norm2."),
    (r"\.(window_attn|channel_attn)\.fn\.", r".\1."),
    (r"\.ffn\.fn\.net\.", ".ffn."),
)
"""From the authors' names, which mlx-community has too."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One of a tower's, each with a coarser map of more channels than the one before."""

    depth: int
    in_size: int
    size: int
    kernel: int
    stride: int
    padding: int
    norm_first: bool
    heads: int
    groups: int

    @classmethod
    def read(cls, config: Config) -> list["Stage"]:
        """All of a normalised `vision_config`. Raises `CheckpointError` where its lists are not equally long."""
        sizes = config["embed_dim"]
        lists = ("patch_size", "patch_stride", "patch_padding", "patch_prenorm", "num_heads", "num_groups")
        columns = [config["depths"], [config["in_channels"], *sizes[:-1]], sizes, *(config[key] for key in lists)]
        if len({len(column) for column in columns}) != 1:
            raise CheckpointError("The lists of the vision_config, one entry a stage, are not equally long.")
        return [cls(*row) for row in zip(*columns, strict=True)]


class ConvEmbed(nn.Module):
    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._norm_first = stage.norm_first
        self.conv = nn.Conv2d(stage.in_size, stage.size, stage.kernel, stage.stride, stage.padding)
        self.norm = nn.LayerNorm(stage.in_size if stage.norm_first else stage.size)

    def __call__(self, x: mx.array) -> mx.array:
        return self.conv(self.norm(x)) if self._norm_first else self.norm(self.conv(x))


class Attention(nn.Module):
    def __init__(self, size: int, parts: int, bias: bool) -> None:
        super().__init__()
        self._parts = parts
        self.qkv = nn.Linear(size, 3 * size, bias=bias)
        self.proj = nn.Linear(size, size)

    def _parted(self, x: mx.array) -> tuple[mx.array, mx.array, mx.array]:
        """(N, L, C) -> (N, parts, L, c) each."""
        qkv = self.qkv(x).reshape(*x.shape[:2], 3, self._parts, -1).transpose(2, 0, 3, 1, 4)
        return qkv[0], qkv[1], qkv[2]


class WindowAttention(Attention):
    """Each `side` x `side` window by itself; beyond the map's edge stand zeros, which are looked at too."""

    def __init__(self, size: int, heads: int, side: int, bias: bool) -> None:
        super().__init__(size, heads, bias)
        self._side = side

    def __call__(self, x: mx.array) -> mx.array:
        _, height, width, channels = x.shape
        side = self._side
        padded = mx.pad(x, [(0, 0), (0, -height % side), (0, -width % side), (0, 0)])
        shape = (len(x), padded.shape[1] // side, side, padded.shape[2] // side, side, channels)
        windows = padded.reshape(shape).swapaxes(2, 3).reshape(-1, side * side, channels)
        queries, keys, values = self._parted(windows)
        mixed = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=queries.shape[-1] ** -0.5)
        mixed = self.proj(mixed.swapaxes(1, 2).reshape(windows.shape))
        mixed = mixed.reshape(*shape[:2], shape[3], side, side, channels).swapaxes(2, 3)
        return mixed.reshape(padded.shape)[:, :height, :width]


class ChannelAttention(Attention):
    """The channels of one group look at each other over all places."""

    def __call__(self, x: mx.array) -> mx.array:
        places = x.reshape(len(x), -1, x.shape[3])
        queries, keys, values = self._parted(places)
        scores = queries.swapaxes(2, 3) @ keys * places.shape[1] ** -0.5
        mixed = values @ mx.softmax(scores, axis=-1).swapaxes(2, 3)
        return self.proj(mixed.swapaxes(1, 2).reshape(places.shape)).reshape(x.shape)


class MLP(nn.Module):
    def __init__(self, size: int, inner: int, hidden_act: str) -> None:
        super().__init__()
        self._activation = activation(hidden_act)
        self.fc1 = nn.Linear(size, inner)
        self.fc2 = nn.Linear(inner, size)

    def __call__(self, x: mx.array) -> mx.array:
        return self.fc2(self._activation(self.fc1(x)))


class Half(nn.Module):
    """Attention of either kind, by the name of its kind, and a feed-forward layer, each after a small convolution."""

    def __init__(self, config: Config, size: int, name: str, attention: Attention) -> None:
        super().__init__()
        self._name = name
        self.conv1 = DepthwiseConv(size, kernel=3, stride=1)
        self.norm1 = nn.LayerNorm(size)
        self[name] = attention
        self.conv2 = DepthwiseConv(size, kernel=3, stride=1)
        self.norm2 = nn.LayerNorm(size)
        self.ffn = MLP(size, int(size * config["mlp_ratio"]), config["activation_function"])

    def __call__(self, x: mx.array) -> mx.array:
        x = x + self.conv1(x)
        x = x + self[self._name](self.norm1(x))
        x = x + self.conv2(x)
        return x + self.ffn(self.norm2(x))


class Block(nn.Module):
    def __init__(self, config: Config, stage: Stage) -> None:
        super().__init__()
        size, bias = stage.size, config["qkv_bias"]
        windows = WindowAttention(size, stage.heads, config["window_size"], bias)
        self.spatial_block = Half(config, size, "window_attn", windows)
        self.channel_block = Half(config, size, "channel_attn", ChannelAttention(size, stage.groups, bias))

    def __call__(self, x: mx.array) -> mx.array:
        return self.channel_block(self.spatial_block(x))


class DaViT(nn.Module):
    """Its names are those that transformers gives."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        stages = Stage.read(config)
        self.convs = [ConvEmbed(stage) for stage in stages]
        self.blocks = [[Block(config, stage) for _ in range(stage.depth)] for stage in stages]

    def steps(self, pixels: mx.array) -> list[mx.array]:
        """(N, C, H, W) -> the map behind each block, lazily; the last is what the tower sees."""
        x, seen = pixels.transpose(0, 2, 3, 1).astype(self.convs[0].conv.weight.dtype), []
        for conv, blocks in zip(self.convs, self.blocks, strict=True):
            x = conv(x)
            for block in blocks:
                x = block(x)
                seen.append(x)
        return seen


def seen_side(config: Config, side: int) -> int:
    """Places along a side of what the tower sees of a square of `side` pixels."""
    for stage in Stage.read(config):
        side = (side + 2 * stage.padding - stage.kernel) // stage.stride + 1
    return side


def sanitize_davit(weights: dict[str, mx.array], prefix: str, config: Config) -> dict[str, mx.array]:
    """The tower's weights under `prefix`, by this module's names and in its layouts: kernels as (out, h, w, in), those
    of single channels as (h, w, channels), whether they came with their channels first or last."""
    widths = [stage.in_size for stage in Stage.read(config)]
    renamed: dict[str, mx.array] = {}
    for name, tensor in weights.items():
        own = name.removeprefix(prefix)
        if own != name:
            for old, new in _RENAMED:
                own = re.sub(old, new, own)
            if tensor.ndim == 4 and own.startswith("blocks."):
                tensor = tensor.reshape(len(tensor), 3, 3).transpose(1, 2, 0)
            elif tensor.ndim == 4 and tensor.shape[3] != widths[int(own.split(".")[1])]:
                tensor = tensor.transpose(0, 2, 3, 1)
            name = prefix + own
        renamed[name] = tensor
    return renamed
