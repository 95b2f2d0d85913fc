"""Colors that a person gave, as a further input of the generator (Zhang et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AB_SCALE = 110.0
"""Lab units of a hint's color at the value 1."""


class HintEncoder(nn.Module):
    """Adds what hints say to the encoder's features.

    At every level from `stride` on, the mean color of a cell's hints and whether it has some pass
    a 3x3 convolution whose weights start at 0: a network that gets this input is at first the
    function that it was, and without hints it always is.

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
        """Features, finest first, and hints B,3,h,w (see `pack`) -> features of the same shapes."""
        return [
            feature + conv(pool_hints(hints, factor)) if factor else feature
            for feature, conv, factor in zip(features, self.convs, self.factors, strict=True)
        ]


def pool_hints(hints: Tensor, factor: int) -> Tensor:
    """Hints on cells `factor` times as large: the mean of those that are given."""
    if factor == 1:
        return hints
    mean = F.avg_pool2d(hints, factor)
    given = mean[:, 2:]
    return torch.cat((mean[:, :2] / given.clamp_min(1e-6), (given > 0).to(mean)), dim=1)


def encode_hints(ab: Tensor, given: Tensor) -> Tensor:
    """Hints as the network takes them.

    Args:
        ab: B,2,h,w in Lab units; what lies where nothing is given does not count.
        given: B,1,h,w, above 0 where a color is given.

    Returns:
        B,3,h,w: ab / AB_SCALE and 1 where given, 0 elsewhere.
    """
    where = (given > 0).to(ab)
    return torch.cat((ab / AB_SCALE * where, where), dim=1)
