"""Encoders without pretraining: stacks of 3x3 convolutions on L, as reported systems use them.

One class, three layouts. A layout lists groups of convolutions; each convolution is (channels in
units of the width, stride, dilation).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pix2color.color.lab import gray_to_lightness
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
"""The first seven groups of Zhang et al. 2016 with the widths of the paper's table; the eighth is
the decoder's."""
STRIDED: Layout = (
    ((1, 1, 1), (1, 2, 1)),
    ((2, 1, 1), (2, 2, 1)),
    ((4, 1, 1), (4, 2, 1)),
    ((8, 1, 1), (4, 1, 1)),
)
"""Strides in the place of pooling (Wallner's tutorial, "beta")."""
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
        layout: of the groups.
        width: channels of a unit.
        norm: batch norm after each group.
        dropout: share of values dropped after each group while training.
    """

    def __init__(
        self, layout: Layout, *, width: int, norm: bool = False, dropout: float = 0.0
    ) -> None:
        levels: list[nn.Sequential] = []
        channels: list[int] = []
        reduction: list[int] = []
        before, at = 1, 1
        for group in layout:
            modules, after, at = _group(group, before, at, width)
            if norm:
                modules.append(nn.BatchNorm2d(after))
            if dropout:
                modules.append(nn.Dropout(dropout))
            before = after
            if reduction and reduction[-1] == at:
                levels[-1].extend(modules)
                channels[-1] = after
            else:
                levels.append(nn.Sequential(*modules))
                channels.append(after)
                reduction.append(at)
        # L / 100 in their place: no photos were seen whose mean this could be.
        super().__init__(levels, channels, reduction, mean=(0.0,), std=(100.0,))

    def normalize(self, gray_rgb: Tensor) -> Tensor:
        """The L that a gray stands for, / 100: B,3,H,W -> B,1,H,W in 0..1."""
        lightness = gray_to_lightness(gray_rgb[:, :1])
        return (lightness - self.mean) / self.std


def _group(
    convolutions: Sequence[tuple[int, int, int]], before: int, at: int, width: int
) -> tuple[list[nn.Module], int, int]:
    """The modules of a group, its channels and its reduction."""
    modules: list[nn.Module] = []
    for units, stride, dilation in convolutions:
        conv = nn.Conv2d(
            before, units * width, 3, stride=stride, padding=dilation, dilation=dilation
        )
        modules += [conv, nn.ReLU(inplace=True)]
        before, at = units * width, at * stride
    return modules, before, at
