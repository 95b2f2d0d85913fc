"""Encoders without pretraining: stacks of 3x3 convolutions on L, as reported systems use them.

There is one class and several layouts. A layout lists groups of convolutions; each convolution is
(channels in units of the width, stride, dilation). 0 units: no convolution, but every second pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
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
ZHANG_RELEASED: Layout = (*ZHANG[:6], ((8, 1, 1),) * 3)
"""The same as in the weights that the authors released: the seventh group is twice as wide."""
SIGGRAPH: Layout = (
    ((1, 1, 1), (1, 1, 1)),
    ((0, 2, 1), (2, 1, 1), (2, 1, 1)),
    ((0, 2, 1), (4, 1, 1), (4, 1, 1), (4, 1, 1)),
    ((0, 2, 1), (8, 1, 1), (8, 1, 1), (8, 1, 1)),
    *ZHANG_RELEASED[4:],
)
"""The first seven groups of Zhang et al. 2017, whose levels are joined with the decoder's."""
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
        center: the input is (L - 50) / 100, not L / 100.
        hints: three more planes are the input: `encode_hints`, 0 where there are none.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        width: int,
        norm: bool = False,
        dropout: float = 0.0,
        center: bool = False,
        hints: bool = False,
    ) -> None:
        levels: list[nn.Sequential] = []
        channels: list[int] = []
        reduction: list[int] = []
        current, stride_so_far = 4 if hints else 1, 1
        for group in layout:
            modules: list[nn.Module] = []
            for units, stride, dilation in group:
                stride_so_far *= stride
                if units == 0:
                    modules.append(nn.MaxPool2d(1, stride))
                    continue
                modules += conv_block(
                    current, units * width, stride=stride, dilation=dilation, bias=True, norm=False
                )
                current = units * width
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
        mean = 50.0 if center else 0.0
        super().__init__(levels, channels, reduction, mean=(mean,), std=(100.0,))
        self.takes_hints = hints

    def normalize(self, gray_rgb: Tensor) -> Tensor:
        """sRGB gray -> (L - mean) / 100: B,3,H,W -> B,1,H,W."""
        lightness = gray_to_lightness(gray_rgb[:, :1])
        return (lightness - self.mean) / self.std

    def features(self, gray_rgb: Tensor, hints: Tensor | None = None) -> list[Tensor]:
        """See Encoder.features.

        Args:
            gray_rgb: B,3,H,W in 0..1.
            hints: B,3,h,w from `encode_hints`, for an encoder that takes them; None: no hints.
        """
        x = self.normalize(gray_rgb)
        if self.takes_hints:
            planes = x.new_zeros(len(x), 3, *x.shape[-2:]) if hints is None else hints
            x = torch.cat((x, F.interpolate(planes, x.shape[-2:])), dim=1)
        return self.run_levels(x)

    forward = features
