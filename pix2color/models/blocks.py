"""Convolution blocks that several networks are built of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def conv_block(
    in_channels: int,
    out_channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
    norm: bool = True,
    activation: type[nn.ReLU | nn.ReLU6] = nn.ReLU,
) -> nn.Sequential:
    """Convolution, batch norm where `norm`, activation: B,in,H,W -> B,out,H/stride,W/stride."""
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    return nn.Sequential(conv, *_norm_and_activation(out_channels, norm, activation))


def upsample_block(in_channels: int, out_channels: int, *, norm: bool = True) -> nn.Sequential:
    """4x4 transposed convolution of stride 2, batch norm where `norm`, ReLU: twice the size."""
    conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
    return nn.Sequential(conv, *_norm_and_activation(out_channels, norm))


def _norm_and_activation(
    channels: int, norm: bool, activation: type[nn.ReLU | nn.ReLU6] = nn.ReLU
) -> list[nn.Module]:
    """What follows a convolution."""
    return [*([nn.BatchNorm2d(channels)] if norm else []), activation(inplace=True)]


class ResidualBlock(nn.Module):
    """The input plus a body of convolutions (He et al. 2016): B,C,H,W -> the same shape.

    Args:
        body: keeps the shape.
        relu: apply ReLU to the sum.
    """

    def __init__(self, body: nn.Module, *, relu: bool = False) -> None:
        super().__init__()
        self.body = body
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return F.relu(y) if self.relu else y
