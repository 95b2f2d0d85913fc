"""Losses between predicted and true colors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.color.ab_bins import SoftLabels

AB_RANGE = 110.0
"""ab is divided by this in ab losses, so that they are near 1 at most."""


def l1(ab: Tensor, target: Tensor) -> Tensor:
    """Mean |ab - target| / 110 over B,2,h,w."""
    return F.l1_loss(ab.float() / AB_RANGE, target.float() / AB_RANGE)


def l2(ab: Tensor, target: Tensor) -> Tensor:
    """Mean squared (ab - target) / 110 over B,2,h,w."""
    return F.mse_loss(ab.float() / AB_RANGE, target.float() / AB_RANGE)


def smooth_l1(ab: Tensor, target: Tensor) -> Tensor:
    """Huber's loss on ab / 110, quadratic within 0.1 (11 Lab units)."""
    return F.smooth_l1_loss(ab.float() / AB_RANGE, target.float() / AB_RANGE, beta=0.1)


def soft_cross_entropy(
    logits: Tensor, code: SoftLabels, *, class_weight: Tensor | None = None
) -> Tensor:
    """Cross-entropy against K-neighbor soft codes, in nats a pixel.

    -sum_k t_k log p[idx_k]; with weights each pixel counts w of its own (nearest) bin, and the sum
    is divided by the number of pixels, which keeps the scale since E[w] = 1 (Zhang et al. 2016,
    equations 2 and 3).

    Args:
        logits: B,313,h,w; taken to float32 also inside autocast.
        code: of the true colors at h,w.
        class_weight: 313, or None for no weights.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        logits = logits.float()
        chosen = (logits.gather(1, code.index) * code.weight).sum(1)
        loss = logits.logsumexp(dim=1) - chosen  # B,h,w; the weights of a code sum to 1
        if class_weight is not None:
            loss = loss * class_weight[code.index[:, 0]]
        return loss.mean()


def label_entropy(code: SoftLabels) -> Tensor:
    """Mean entropy of soft codes, in nats: the least that cross-entropy can reach."""
    weight = code.weight.clamp_min(1e-12)
    return -(weight * weight.log()).sum(1).mean()
