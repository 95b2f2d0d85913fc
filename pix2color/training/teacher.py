"""A teacher: trained networks whose averaged color probabilities a student learns.

Distillation after Hinton et al. 2015, Distilling the knowledge in a neural network. The mean over
mirrored and resized passes is better than any single pass; a student reaches it in one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.color.ab_bins import soft_encode
from pix2color.models.generator import Generator
from pix2color.models.heads import ClassificationHead


class Teacher(nn.Module):
    """Frozen networks; the mean of their probabilities of the 313 colors.

    A network with a class head gives its probabilities, any other the soft encoding of its ab.

    Args:
        networks: at least one.
        scales: sizes of L at which each network sees the photo, as factors of its own size.
        mirror: each network also sees the photo mirrored, which doubles the passes.
    """

    def __init__(
        self, networks: Sequence[Generator], *, scales: Sequence[float] = (1.0,), mirror: bool
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.scales = tuple(scales)
        self.mirror = mirror
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Teacher:
        """Keep evaluation mode: a teacher does not change."""
        return super().train(False)

    @torch.no_grad()
    def forward(
        self, lightness: Tensor, size: tuple[int, int], seeds: Sequence[int] = ()
    ) -> Tensor:
        """L (B,1,H,W in 0..100) -> probabilities B,313,*size, float32, sum 1 per pixel.

        `seeds`, by which a cache knows the crops, have no effect here.
        """
        total: Tensor | None = None
        views = (False, True) if self.mirror else (False,)
        for scale in self.scales:
            resized = _resize(lightness, scale)
            for mirrored in views:
                view = resized.flip(-1) if mirrored else resized
                for network in self.networks:
                    assert isinstance(network, Generator)
                    share = _probability(network, view, size)
                    share = share.flip(-1) if mirrored else share
                    total = share if total is None else total.add_(share)
        assert total is not None
        return total.div_(len(self.scales) * len(views) * len(self.networks))


def _probability(network: Generator, lightness: Tensor, size: tuple[int, int]) -> Tensor:
    """B,1,H,W -> B,313,*size float32 in one pass; hints are not given."""
    raw = network.predict_raw(lightness.contiguous(memory_format=torch.channels_last))
    if isinstance(network.head, ClassificationHead):
        return _to_size(raw.float().softmax(1), size)
    # Photo by photo: networks of ab have a stride of 1, at which 313 planes of all are gigabytes.
    ab = network.head.to_ab(raw).split(1)
    return torch.cat([_to_size(soft_encode(each).to_dense(), size) for each in ab])


def _resize(lightness: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return lightness
    rows, columns = (max(1, round(side * scale)) for side in lightness.shape[-2:])
    return F.interpolate(lightness, (rows, columns), mode="bicubic", antialias=True).clamp(0, 100)


def _to_size(probability: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(probability.shape[-2:]) == size:
        return probability
    return F.interpolate(probability, size, mode="bilinear", antialias=True)
