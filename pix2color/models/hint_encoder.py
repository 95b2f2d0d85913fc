"""Color hints of a user as a further input of the generator (Zhang et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.color.constants import AB_RANGE


class HintEncoder(nn.Module):
    """Adds an encoding of the hints to the encoder's features.

    At every level from `stride` on, two inputs pass a 3x3 convolution without a bias: the mean
    color of a cell's hints and whether it has any. Its weights start at 0, so that adding this
    module to a trained network changes nothing at first; without hints it never changes anything.

    Args:
        channels, reduction: the encoder's.
        stride: pixels of L per cell of the hints.
    """

    def __init__(self, channels: Sequence[int], reduction: Sequence[int], *, stride: int) -> None:
        super().__init__()
        self.factors = [at // stride for at in reduction]
        self.convs = nn.ModuleList(
            nn.Conv2d(3, width, 3, padding=1, bias=False) if factor else nn.Identity()
            for width, factor in zip(channels, self.factors, strict=True)
        )
        for conv in self.convs:
            if isinstance(conv, nn.Conv2d):
                nn.init.zeros_(conv.weight)

    def forward(self, features: Sequence[Tensor], hints: Tensor) -> list[Tensor]:
        """Features, finest first, and `encode_hints` B,3,h,w -> features of the same shapes."""
        return [
            feature + conv(pool_hints(hints, factor)) if factor else feature
            for feature, conv, factor in zip(features, self.convs, self.factors, strict=True)
        ]


def pool_hints(hints: Tensor, factor: int) -> Tensor:
    """Hints on cells `factor` times as large: B,3,h,w -> the mean of each cell's given hints."""
    if factor == 1:
        return hints
    mean = F.avg_pool2d(hints, factor)
    given = mean[:, 2:]
    return torch.cat((mean[:, :2] / given.clamp_min(1e-6), (given > 0).to(mean)), dim=1)


def encode_hints(ab: Tensor, given: Tensor) -> Tensor:
    """Hints in the form of the network's input.

    Args:
        ab: B,2,h,w in Lab units; ignored where no color is given.
        given: B,1,h,w, above 0 where a color is given.

    Returns:
        B,3,h,w: ab / AB_RANGE and 1 where given, 0 elsewhere.
    """
    mask = (given > 0).to(ab)
    return torch.cat((ab / AB_RANGE * mask, mask), dim=1)
