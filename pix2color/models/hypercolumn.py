"""The hypercolumn decoder: low, middle and high features of every pixel side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.errors import ConfigError


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input: B,C,H,W -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class HypercolumnDecoder(nn.Module):
    """All levels at one size, mixed by a 1x1 convolution, residual blocks and a 3x3 convolution.

    Args:
        channels, reduction: the encoder's.
        width: channels of everything after the 1x1 convolution.
        blocks: residual blocks.
        at: the reduction at which the levels meet; all are resized bilinearly to it.
        stride: reduction of the output; finer than `at`, it is reached by a pixel shuffle.

    Raises:
        ConfigError: the stride is coarser than `at`, or the width too small for the shuffle.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reduction: Sequence[int],
        *,
        width: int = 128,
        blocks: int = 3,
        at: int = 2,
        stride: int = 2,
    ) -> None:
        super().__init__()
        factor = at // stride
        if factor < 1 or width % factor**2:
            raise ConfigError(
                f"model.output_stride {stride} cannot be reached from hypercolumn.feature_stride {at} with "
                f"{width} channels"
            )
        self.at = at
        self.finest = reduction[0]
        self.mix = nn.Sequential(
            nn.Conv2d(sum(channels), width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.last = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True))
        self.shuffle = nn.PixelShuffle(factor)
        self.out_channels = width // factor**2

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's features, finest first -> B,out_channels,H/stride,W/stride."""
        height, width = (n * self.finest // self.at for n in features[0].shape[-2:])
        column = torch.cat([_resize(level, (height, width)) for level in features], dim=1)
        x: Tensor = self.shuffle(self.last(self.blocks(self.mix(column))))
        return x


def _resize(level: Tensor, size: tuple[int, int]) -> Tensor:
    if level.shape[-2:] == size:
        return level
    return F.interpolate(level, size=size, mode="bilinear", align_corners=False)
