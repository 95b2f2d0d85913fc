"""A discriminator on the features of a frozen, pretrained encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from pix2color.color.lab import lab_to_rgb_in_gamut
from pix2color.models.encoders import Encoder

FINEST_REDUCTION = 4
"""Finer levels of the encoder are not looked at: their maps are large and hold little more."""


class ProjectedDiscriminator(nn.Module):
    """Small heads on several levels of a frozen encoder, each with a map of logits.

    After Sauer et al., Projected GANs Converge Faster (2021): every head ends at the grid of the
    coarsest level, so that the levels have equal shares in the mean over the logits. Their random
    mixing of the features is left out: a head begins with a 1x1 convolution, which can undo it.
    The heads have spectral norm and no batch norm.

    The encoder sees the photo as it is shown (reduced to sRGB at constant L), so lightness and
    color are judged together. It stays in evaluation mode. Its weights are buffers that are not
    saved: no optimizer, gradient clipping or state of a training has them.

    Args:
        encoder: as pretrained on photos; it is taken over and frozen.
        width: channels of the heads.

    Raises:
        ValueError: the encoder has no level of FINEST_REDUCTION or coarser.
    """

    def __init__(self, encoder: Encoder, *, width: int = 64) -> None:
        super().__init__()
        self.encoder = encoder.to(memory_format=torch.channels_last)
        _freeze(self.encoder)
        self.levels = [i for i, r in enumerate(encoder.reduction) if r >= FINEST_REDUCTION]
        if not self.levels:
            raise ValueError(f"the encoder has no level of reduction {FINEST_REDUCTION} or more")
        channels = [encoder.channels[i] for i in self.levels]
        reductions = [encoder.reduction[i] for i in self.levels]
        self.heads = nn.ModuleList(
            _head(count, width, halvings=(max(reductions) // reduction).bit_length() - 1)
            for count, reduction in zip(channels, reductions, strict=True)
        )
        self.train(self.training)

    def train(self, mode: bool = True) -> ProjectedDiscriminator:
        """Set the training mode of the heads; the encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, lab: Tensor) -> Tensor:
        """Lab B,3,H,W (L 0..100) -> logits B,levels,h,w, where h, w are of the coarsest level."""
        rgb = lab_to_rgb_in_gamut(lab).contiguous(memory_format=torch.channels_last)
        features = self.encoder.features(rgb)
        rows, columns = features[self.levels[-1]].shape[-2:]
        maps = [
            # Sizes that are no multiple of the encoder's reduction may be rounded differently.
            F.adaptive_avg_pool2d(head(features[level]), (rows, columns))
            for level, head in zip(self.levels, self.heads, strict=True)
        ]
        return torch.cat(maps, dim=1)


def _head(in_channels: int, width: int, *, halvings: int) -> nn.Sequential:
    """B,in,h,w -> logits B,1,h/2^halvings,w/2^halvings."""
    layers: list[nn.Module] = [*_layer(in_channels, width)]
    for _ in range(halvings):
        layers += _layer(width, width, kernel=3, stride=2)
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(width, 1, 1)))


def _layer(
    in_channels: int, out_channels: int, *, kernel: int = 1, stride: int = 1
) -> Sequence[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2)
    return spectral_norm(conv), nn.LeakyReLU(0.2)


def _freeze(encoder: Encoder) -> None:
    """Turn all weights and statistics into buffers that are not saved."""
    encoder.eval()
    for part in encoder.modules():
        local = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
        for name, value in local:
            delattr(part, name)
            part.register_buffer(name, value.detach(), persistent=False)
        if isinstance(part, nn.BatchNorm2d):
            # Loading a state would add the counters of batches. Only training needs the flag.
            part.track_running_stats = False
