"""The hypercolumn decoder: low, middle and high features of each pixel side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.errors import ConfigError
from pix2color.models.blocks import ResidualBlock, conv_block


class HypercolumnDecoder(nn.Module):
    """All levels at one size, mixed by a 1x1 convolution, residual blocks and a 3x3 convolution.

    Args:
        channels, reduction: the encoder's.
        width: channels of everything after the 1x1 convolution.
        blocks: residual blocks.
        feature_stride: the reduction at which the levels meet; all are resized bilinearly to it.
        stride: reduction of the output; a finer one than `feature_stride` is reached by a pixel
            shuffle.

    Raises:
        ConfigError: the stride is coarser than `feature_stride`, or the width is too small for the
            pixel shuffle.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reduction: Sequence[int],
        *,
        width: int = 128,
        blocks: int = 3,
        feature_stride: int = 2,
        stride: int = 2,
    ) -> None:
        super().__init__()
        factor = feature_stride // stride
        if factor < 1 or width % factor**2:
            raise ConfigError(
                f"model.output_stride {stride} cannot be reached from "
                f"model.hypercolumn.feature_stride {feature_stride} with {width} channels"
            )
        self.feature_stride = feature_stride
        self.finest = reduction[0]
        self.mix = conv_block(sum(channels), width, kernel=1, bias=True)
        self.blocks = nn.Sequential(*(_residual_block(width) for _ in range(blocks)))
        self.last = conv_block(width, width, bias=True, norm=False)
        self.shuffle = nn.PixelShuffle(factor)
        self.out_channels = width // factor**2

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's features, finest first -> B,out_channels,H/stride,W/stride."""
        size = tuple(n * self.finest // self.feature_stride for n in features[0].shape[-2:])
        column = torch.cat([_resize(level, size) for level in features], dim=1)
        x: Tensor = self.shuffle(self.last(self.blocks(self.mix(column))))
        return x


def _residual_block(channels: int) -> ResidualBlock:
    """Two 3x3 convolutions with biases and batch norms; ReLU after the sum."""
    first = conv_block(channels, channels, bias=True)
    conv = nn.Conv2d(channels, channels, 3, padding=1)
    return ResidualBlock(nn.Sequential(*first, conv, nn.BatchNorm2d(channels)), relu=True)


def _resize(level: Tensor, size: tuple[int, ...]) -> Tensor:
    if level.shape[-2:] == size:
        return level
    return F.interpolate(level, size=size, mode="bilinear", align_corners=False)
