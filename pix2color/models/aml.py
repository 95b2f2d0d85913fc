"""Faults of published code, kept apart, so that the tables that rest on them can be studied."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pix2color.color import ab_bins
from pix2color.models.heads import ClassificationHead


class AmlClassHead(ClassificationHead):
    """The class head of Conti and Sterpa's code, with its loss as it is.

    Differences from ClassHead, each one as published:

    - Logits are enlarged four times by repetition, and the loss is taken at the photo's full size.
    - The loss is summed over pixels and photos, not averaged: about 1.8e5 a photo of 176 x 176 at
      the start. Adam hides the scale, but weight decay becomes negligible beside it.
    - Targets B,313,h,w are reshaped to rows of 313 without moving the classes last. A row is then a
      run of 313 pixels of mostly one class; the position of its maximum picks the weight, which
      multiplies the whole row. The weights have next to nothing to do with the pixels' colors.

    Its probabilities were shifted and floored at about 1e-5 before the logarithm; that is not
    repeated here.
    """

    ENLARGE = 4

    def forward(self, features: Tensor) -> Tensor:
        """B,C,h,w -> raw: B,313,4h,4w logits."""
        return F.interpolate(super().forward(features), scale_factor=float(self.ENLARGE))

    def loss(self, raw: Tensor, ab: Tensor) -> dict[str, Tensor]:
        """The published sum, misplaced weights included; ab is B,2,4h,4w."""
        code = ab_bins.soft_encode(ab, neighbors=self.neighbors).to_dense()
        log_share = raw.float().log_softmax(1)
        of_row = -(code * log_share).reshape(-1, ab_bins.COUNT).sum(1)
        return {"cross_entropy": (self.row_weights(code) * of_row).sum()}

    def row_weights(self, code: Tensor) -> Tensor:
        """Targets B,313,h,w -> the weight of each of the B*h*w misplaced rows."""
        position = code.reshape(-1, ab_bins.COUNT).argmax(1)
        return self.class_weight[position]
