"""Losses between predicted and true colors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.color.ab_bins import SoftLabels
from pix2color.color.constants import AB_RANGE


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
    logits: Tensor, labels: SoftLabels, *, class_weight: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy against K-neighbor soft labels, in nats per pixel.

    -sum_k t_k log p[idx_k]. With class weights each pixel is weighted by that of its nearest bin;
    the sum is divided by the number of pixels, which keeps the scale since E[w] = 1 (Zhang et al.
    2016, equations 2 and 3).

    Args:
        logits: B,313,h,w; converted to float32 also inside autocast.
        labels: of the true colors at h,w.
        class_weight: 313, or None for no weights.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        logits = logits.float()
        target_logit = (logits.gather(1, labels.index) * labels.weight).sum(1)  # weights sum to 1
        loss = logits.logsumexp(dim=1) - target_logit  # B,h,w
        if class_weight is not None:
            loss = loss * class_weight[labels.index[:, 0]]
        return loss.mean()


def dense_cross_entropy(
    logits: Tensor, probability: Tensor, *, class_weight: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy against a distribution per pixel, in nats: -sum_k w_k p_k log q_k.

    Args:
        logits: B,313,h,w of q; converted to float32 also inside autocast.
        probability: B,313,h,w, sum 1.
        class_weight: 313, or None for no weights.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        target = probability.float()
        if class_weight is not None:
            target = target * class_weight.view(1, -1, 1, 1)
        return -(target * logits.float().log_softmax(1)).sum(1).mean()


def label_entropy(labels: SoftLabels) -> Tensor:
    """Mean entropy of soft labels, in nats: the lower bound of their cross-entropy."""
    weight = labels.weight.clamp_min(1e-12)
    return -(weight * weight.log()).sum(1).mean()
