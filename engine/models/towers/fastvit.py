"""FastViTHD (arXiv 2412.13303, on 2303.14189): convolutions that mix neighbours, and attention once the map is small.

Knows nothing of how pictures are cut. As it is used: the branches it was trained with are one kernel each.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError

ATTENTION_FROM = 3
"""The first stage that attends, and whose features are told where they stand."""

HEAD_SIZE, EPS = 32, 1e-5


@dataclass(frozen=True, slots=True)
class FastViTConfig:
    widths: tuple[int, ...] = (96, 192, 384, 768, 1536)
    depths: tuple[int, ...] = (2, 12, 24, 4, 2)
    mlp_ratio: int = 4
    out_ratio: int = 2

    @classmethod
    def read(cls, arguments: Mapping[str, Any]) -> "FastViTConfig":
        """What a `vision_config` says as timm's `model_args`. Raises `CheckpointError` for what is not known."""
        said = dict(arguments)
        if said.pop("inference_mode", True) is not True or said.keys() - {"embed_dims", "layers"}:
            raise CheckpointError(f"The vision_config's model_args {dict(arguments)} are not known for this tower.")
        return cls(tuple(said.get("embed_dims", cls.widths)), tuple(said.get("layers", cls.depths)))

    @property
    def out_size(self) -> int:
        return self.out_ratio * self.widths[-1]

    @property
    def patch(self) -> int:
        """Pixels along a side of what becomes one feature."""
        return 4 * 2 ** (len(self.widths) - 1)


class Convolution(nn.Module):
    """Of maps (N, H, W, C); a channel of its own each where `groups` says so."""

    def __init__(self, in_size: int, out_size: int, side: int, *, stride: int = 1, groups: int = 1, bias: bool = True):
        super().__init__()
        self._stride, self._padding, self._groups = stride, side // 2, groups
        self.weight = mx.zeros((out_size, side, side, in_size // groups))
        if bias:
            self.bias = mx.zeros((out_size,))

    def __call__(self, x: mx.array) -> mx.array:
        x = mx.conv2d(x, self.weight, self._stride, self._padding, groups=self._groups)
        return x + self.bias if "bias" in self else x


class Squeeze(nn.Module):
    """Channels weighed by what the whole map holds."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def __call__(self, x: mx.array) -> mx.array:
        return x * mx.sigmoid(self.fc2(nn.relu(self.fc1(x.mean(axis=(1, 2), keepdims=True)))))


class MobileOne(nn.Module):
    """A layer of `convolution`, weighed, activated."""

    def __init__(self, convolution: nn.Module, squeeze: Squeeze | None = None):
        super().__init__()
        self.reparam_conv = convolution
        if squeeze is not None:
            self.se = squeeze

    def __call__(self, x: mx.array) -> mx.array:
        x = self.reparam_conv(x)
        return nn.gelu(self.se(x) if "se" in self else x)


class Downsample(nn.Module):
    def __init__(self, in_size: int, out_size: int):
        super().__init__()
        large = Convolution(in_size, out_size, 7, stride=2, groups=in_size)
        self.proj = [MobileOne(large), MobileOne(nn.Linear(out_size, out_size))]

    def __call__(self, x: mx.array) -> mx.array:
        return self.proj[1](self.proj[0](x))


class FixedNorm(nn.Module):
    """A batch norm whose mean and variance are those of training."""

    def __init__(self, width: int):
        super().__init__()
        self.weight, self.bias = mx.ones((width,)), mx.zeros((width,))
        self.running_mean, self.running_var = mx.zeros((width,)), mx.ones((width,))

    def __call__(self, x: mx.array) -> mx.array:
        scale = self.weight * mx.rsqrt(self.running_var + EPS)
        return x * scale + (self.bias - self.running_mean * scale)


class NormedConvolution(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = Convolution(width, width, 7, groups=width, bias=False)
        self.bn = FixedNorm(width)

    def __call__(self, x: mx.array) -> mx.array:
        return self.bn(self.conv(x))


class ConvMLP(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.conv = NormedConvolution(width)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def __call__(self, x: mx.array) -> mx.array:
        return self.fc2(nn.gelu(self.fc1(self.conv(x))))


class Mixer(nn.Module):
    """A kernel over neighbours, which is all that is left of a sum of branches."""

    def __init__(self, width: int, side: int):
        super().__init__()
        self.reparam_conv = Convolution(width, width, side, groups=width)

    def __call__(self, x: mx.array) -> mx.array:
        return self.reparam_conv(x)


class Attention(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, H, W, D); every place looks at every other."""
        count, width = len(x), x.shape[-1]
        heads = self.qkv(x).reshape(count, -1, 3, width // HEAD_SIZE, HEAD_SIZE).transpose(2, 0, 3, 1, 4)
        mixed = mx.fast.scaled_dot_product_attention(*heads, scale=HEAD_SIZE**-0.5)
        return self.proj(mixed.swapaxes(1, 2).reshape(x.shape))


class LayerScale(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.gamma = mx.ones((width,))

    def __call__(self, x: mx.array) -> mx.array:
        return x * self.gamma


class MixerBlock(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.token_mixer = Mixer(width, 3)
        self.mlp = ConvMLP(width, inner)
        self.layer_scale = LayerScale(width)

    def __call__(self, x: mx.array) -> mx.array:
        x = self.token_mixer(x)
        return x + self.layer_scale(self.mlp(x))


class AttentionBlock(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, EPS)
        self.token_mixer = Attention(width)
        self.layer_scale_1 = LayerScale(width)
        self.mlp = ConvMLP(width, inner)
        self.layer_scale_2 = LayerScale(width)

    def __call__(self, x: mx.array) -> mx.array:
        x = x + self.layer_scale_1(self.token_mixer(self.norm(x)))
        return x + self.layer_scale_2(self.mlp(x))


class Stage(nn.Module):
    def __init__(self, config: FastViTConfig, number: int):
        super().__init__()
        width, attends = config.widths[number], number >= ATTENTION_FROM
        if number:
            self.downsample = Downsample(config.widths[number - 1], width)
        if attends:
            self.pos_emb = Mixer(width, 7)
        block = AttentionBlock if attends else MixerBlock
        self.blocks = [block(width, config.mlp_ratio * width) for _ in range(config.depths[number])]

    def steps(self) -> list[Callable[[mx.array], mx.array]]:
        return [*(self[name] for name in ("downsample", "pos_emb") if name in self), *self.blocks]


class FastViT(nn.Module):
    """The tower. Its names are timm's."""

    def __init__(self, config: FastViTConfig):
        super().__init__()
        first, last = config.widths[0], config.widths[-1]
        self.stem = [
            MobileOne(Convolution(3, first, 3, stride=2)),
            MobileOne(Convolution(first, first, 3, stride=2, groups=first)),
            MobileOne(nn.Linear(first, first)),
        ]
        self.stages = [Stage(config, number) for number in range(len(config.widths))]
        out = config.out_size
        self.final_conv = MobileOne(Convolution(last, out, 3, groups=last), Squeeze(out, out // 16))

    def layer_by_layer(self, pixels: mx.array) -> Iterator[mx.array]:
        """(N, 3, H, W) -> the map after each layer, (N, H / patch, W / patch, out) at last: so that nobody has to wait
        for all of it at once."""
        x = pixels.transpose(0, 2, 3, 1).astype(self.stem[0].reparam_conv.bias.dtype)
        layers = [*self.stem, *(step for stage in self.stages for step in stage.steps()), self.final_conv]
        for layer in layers:
            x = layer(x)
            yield x
