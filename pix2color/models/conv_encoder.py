"""Encoders without pretraining: stacks of 3x3 convolutions on L, as reported systems use them.

There is one class and three layouts. A layout lists groups of convolutions; each convolution is
(channels in units of the width, stride, dilation).
"""

from __future__ import annotations

from torch import Tensor, nn

from pix2color.color.lab import gray_to_lightness
from pix2color.models.blocks import conv_block
from pix2color.models.encoders import Encoder

Layout = tuple[tuple[tuple[int, int, int], ...], ...]

ZHANG: Layout = (
    ((1, 1, 1), (1, 2, 1)),
    ((2, 1, 1), (2, 2, 1)),
    ((4, 1, 1), (4, 1, 1), (4, 2, 1)),
    ((8, 1, 1), (8, 1, 1), (8, 1, 1)),
    ((8, 1, 2), (8, 1, 2), (8, 1, 2)),
    ((8, 1, 2), (8, 1, 2), (8, 1, 2)),
    ((4, 1, 1), (4, 1, 1), (4, 1, 1)),
)
"""The first seven groups of Zhang et al. 2016 with the widths of the paper's table; the decoder
holds the eighth."""
STRIDED: Layout = (
    ((1, 1, 1), (1, 2, 1)),
    ((2, 1, 1), (2, 2, 1)),
    ((4, 1, 1), (4, 2, 1)),
    ((8, 1, 1), (4, 1, 1)),
)
"""Strides instead of pooling (Wallner's tutorial, "beta")."""
STRIDED_DEEP: Layout = (
    ((1, 2, 1),),
    ((2, 1, 1), (2, 2, 1)),
    ((4, 1, 1), (4, 2, 1)),
    ((8, 1, 1), (8, 1, 1), (4, 1, 1)),
)
"""The same tutorial's "full" network, before the fusion."""


class ConvEncoder(Encoder):
    """Groups of 3x3 convolutions with ReLU; groups at one resolution are one level.

    Args:
        layout: the groups, see the module.
        width: channels per unit of the layout.
        norm: put a batch norm after each group.
        dropout: share of values dropped after each group while training.
    """

    def __init__(
        self, layout: Layout, *, width: int, norm: bool = False, dropout: float = 0.0
    ) -> None:
        levels: list[nn.Sequential] = []
        channels: list[int] = []
        reduction: list[int] = []
        current, stride_so_far = 1, 1
        for group in layout:
            modules: list[nn.Module] = []
            for units, stride, dilation in group:
                modules += conv_block(
                    current, units * width, stride=stride, dilation=dilation, bias=True, norm=False
                )
                current, stride_so_far = units * width, stride_so_far * stride
            if norm:
                modules.append(nn.BatchNorm2d(current))
            if dropout:
                modules.append(nn.Dropout(dropout))
            if reduction and reduction[-1] == stride_so_far:
                levels[-1].extend(modules)
                channels[-1] = current
            else:
                levels.append(nn.Sequential(*modules))
                channels.append(current)
                reduction.append(stride_so_far)
        # The input is L / 100: without pretraining there is no mean color to subtract.
        super().__init__(levels, channels, reduction, mean=(0.0,), std=(100.0,))

    def normalize(self, gray_rgb: Tensor) -> Tensor:
        """sRGB gray -> L / 100: B,3,H,W -> B,1,H,W in 0..1."""
        lightness = gray_to_lightness(gray_rgb[:, :1])
        return (lightness - self.mean) / self.std
