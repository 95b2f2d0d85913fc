"""Perceptual loss: distance of photos in the features of a frozen pretrained network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.models.encoders import Encoder


class PerceptualLoss(nn.Module):
    """L1 between channel-normalised features, mean over levels (after Johnson et al. 2016).

    Args:
        encoder: pretrained; taken over, frozen, and never saved with a run.
        levels: which of its levels are compared, finest is 0; its early ones see colour best.
    """

    def __init__(self, encoder: Encoder, *, levels: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.used = tuple(i for i in levels if i < len(encoder.channels))

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Stays in evaluation mode: the network is a measure, and its statistics are part of it."""
        return super().train(False)

    def forward(self, rgb: Tensor, target: Tensor) -> Tensor:
        """B,3,H,W each, in 0..1 (values outside are allowed: unclipped colours keep a gradient)."""
        with torch.no_grad():
            wanted = self.encoder.features(target)
        found = self.encoder.features(rgb)
        total = rgb.new_zeros(())
        for i in self.used:
            # Scaled by the target's mean size, so that no level rules by its units.
            scale = wanted[i].abs().mean().clamp_min(1e-6)
            total = total + F.l1_loss(found[i], wanted[i]) / scale
        return total / len(self.used)
