"""A small convolutional trunk on three maps of a tower: where which letter stands, and what fills each grid cell.

Knows nothing of the tower's kind, nor of how letters become words.
"""

from collections.abc import Mapping

import mlx.core as mx
import mlx.nn as nn

UNUSED = ("shape.", "col.")
"""Heads that only its training looks at."""

Shapes = Mapping[str, list[int]]


class ChannelNorm(nn.Module):
    """(x - mean) / std with statistics of the training pictures."""

    def __init__(self, shape: list[int]) -> None:
        super().__init__()
        self.mean = mx.zeros(shape)
        self.std = mx.ones(shape)

    def __call__(self, x: mx.array) -> mx.array:
        return (x - self.mean) / self.std


class TextShapeTrunk(nn.Module):
    """Layers have the checkpoint's names: the main branch goes from b to g, and the digit of a side branch is the stage
    of the tower that it reads."""

    def __init__(self, shapes: Shapes) -> None:
        """`shapes` are PyTorch's, by name within the trunk."""
        super().__init__()

        def conv(name: str, stride: int = 1, padding: int = 0) -> nn.Module:
            out_channels, in_channels, kernel, _ = shapes[f"{name}.weight"]
            if kernel == 1:
                return nn.Linear(in_channels, out_channels)
            return nn.Conv2d(in_channels, out_channels, kernel, stride, padding)

        self.norm3 = ChannelNorm(shapes["norm3.mean"])
        self.norm5 = ChannelNorm(shapes["norm5.mean"])
        self.norm7 = ChannelNorm(shapes["norm7.mean"])
        self.a3, self.a5 = conv("a3", padding=1), conv("a5")
        self.b, self.b2 = conv("b", padding=1), conv("b2", padding=1)
        self.char = conv("char")
        self.c, self.c5 = conv("c", stride=2, padding=1), conv("c5")
        self.d = conv("d", padding=1)
        self.e, self.e7 = conv("e", stride=3), conv("e7")
        self.g = conv("g")

    def __call__(self, f3: mx.array, f5: mx.array, f7: mx.array) -> tuple[mx.array, mx.array]:
        """Maps (B, H, W, C) of three sizes -> logits of letters (B, H3, W3, letters + 1), the last one for none, and
        grid features (B, cells, D), row by row."""
        f3, f5, f7 = self.norm3(f3), self.norm5(f5), self.norm7(f7)
        # The inner ReLU is meant: only the side branch is added linearly.
        x = nn.relu(nn.relu(self.a3(f3)) + enlarged(self.a5(f5), f3.shape[1:3]))
        x = nn.relu(self.b2(nn.relu(self.b(x))))
        letters = self.char(x)
        y = nn.relu(nn.relu(self.c(x)) + self.c5(f5))
        y = nn.relu(self.d(y))
        grid = nn.relu(nn.relu(self.e(y)) + self.e7(f7))
        return letters, nn.relu(self.g(grid)).flatten(1, 2)


def enlarged(x: mx.array, size: tuple[int, int]) -> mx.array:
    """(B, H, W, C) twice as large by repetition, cropped to `size`."""
    return mx.repeat(mx.repeat(x, 2, axis=1), 2, axis=2)[:, : size[0], : size[1]]
