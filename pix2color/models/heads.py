"""Heads: what the last feature map means, and how it becomes ab."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.color import ab_bins
from pix2color.losses.ab import soft_cross_entropy


class RegressionHead(nn.Module):
    """Two channels that are ab: scale * tanh(x), or scale * x with `activation: linear`.

    Args:
        in_channels: of the decoder's output.
        activation: tanh | linear. tanh bounds the colors; scale 110 is about sRGB's reach.
        scale: ab at activation 1, in Lab units.
        kernel, bias: of the convolution that makes the two channels.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        activation: str = "tanh",
        scale: float = 110.0,
        kernel: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, 2, kernel, padding=kernel // 2, bias=bias)
        self.activation = activation
        self.scale = scale
        # Small first colors: training starts from the gray photo, not from noise.
        nn.init.normal_(self.project.weight, std=1e-3)
        if self.project.bias is not None:
            nn.init.zeros_(self.project.bias)

    def forward(self, features: Tensor) -> Tensor:
        """B,C,h,w -> raw: B,2,h,w, before the activation."""
        raw: Tensor = self.project(features)
        return raw

    def to_ab(self, raw: Tensor, *, temperature: float = 1.0, vividness: float = 0.0) -> Tensor:
        """raw -> ab: B,2,h,w in Lab units. A regression has no temperature or vividness."""
        raw = raw.float()
        return self.scale * (raw.tanh() if self.activation == "tanh" else raw)

    def loss(self, raw: Tensor, ab: Tensor) -> dict[str, Tensor]:
        """A regression has no loss of its own: the ab losses of the recipe are taken on to_ab."""
        return {}


class ClassificationHead(nn.Module):
    """313 classes a pixel: logits, decoded by the annealed mean.

    Args:
        in_channels: of the decoder's output.
        prior: 313, of the training photos; a float32 buffer, saved with the weights.
        neighbors: K of the soft encoding.
        rebalance: lambda of the class weights, None for none.
        adjust: tau at which the loss is taken, see `loss`.
        kernel, bias: of the convolution that makes the logits.
    """

    log_prior: Tensor
    class_weight: Tensor

    def __init__(
        self,
        in_channels: int,
        prior: Tensor,
        *,
        neighbors: int = 5,
        rebalance: float | None = None,
        adjust: float = 0.0,
        kernel: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        count = ab_bins.COUNT
        self.project = nn.Conv2d(in_channels, count, kernel, padding=kernel // 2, bias=bias)
        self.neighbors = neighbors
        self.rebalance = rebalance
        self.adjust = adjust
        self.register_buffer("log_prior", torch.zeros(ab_bins.COUNT))
        self.register_buffer("class_weight", torch.ones(ab_bins.COUNT), persistent=False)
        self.set_prior(prior)
        # A fresh network predicts the prior everywhere (without a bias: all colors alike).
        nn.init.normal_(self.project.weight, std=1e-2)
        if self.project.bias is not None:
            with torch.no_grad():
                self.project.bias.copy_(self.log_prior.clamp_min(-12.0))

    def set_prior(self, prior: Tensor) -> None:
        """Take another prior (313, sum 1) for the class weights and the vividness."""
        self.log_prior.copy_(prior.double().log().float())
        if self.rebalance is not None:
            weight = ab_bins.rebalancing_weights(prior.double(), mix=self.rebalance)
            self.class_weight.copy_(weight.float())
        elif self.adjust > 0:
            weight = prior.double() ** -self.adjust
            self.class_weight.copy_((weight / (prior.double() * weight).sum()).float())

    def forward(self, features: Tensor) -> Tensor:
        """B,C,h,w -> raw: B,313,h,w logits."""
        raw: Tensor = self.project(features)
        return raw

    def to_ab(self, raw: Tensor, *, temperature: float = 1.0, vividness: float = 0.0) -> Tensor:
        """raw -> ab: B,2,h,w: logits less vividness * log prior, then the annealed mean."""
        logits = ab_bins.adjust_logits(raw.float(), self.log_prior, vividness)
        return ab_bins.annealed_mean(logits, temperature=temperature)

    def loss(self, raw: Tensor, ab: Tensor) -> dict[str, Tensor]:
        """Cross-entropy against soft-encoded ab (B,2,h,w), weighted by each pixel's own class.

        With `adjust` tau, that of logits - tau log prior, weights prior^-tau (mean 1): where the
        logits are the true distribution's, these are the weighted photos' own. So the best logits
        are the same for every tau and vividness stays a choice afterwards, but rare colors have
        more say in what is learned (after Menon et al. 2021, Long-tail learning via logit
        adjustment).
        """
        code = ab_bins.soft_encode(ab, neighbors=self.neighbors)
        weight = None if self.rebalance is None and self.adjust == 0 else self.class_weight
        logits = ab_bins.adjust_logits(raw.float(), self.log_prior, self.adjust)
        return {"cross_entropy": soft_cross_entropy(logits, code, class_weight=weight)}


class MarginalClassHead(nn.Module):
    """64 classes for a and 64 for b: steps of 4 Lab units over -128..128, decoded by argmax.

    Args:
        in_channels: of the decoder's output.
        kernel, bias: of the convolution that makes the logits.
    """

    STEPS = 64
    STEP = 4.0
    LEAST = -128.0

    def __init__(self, in_channels: int, *, kernel: int = 1, bias: bool = True) -> None:
        super().__init__()
        count = 2 * self.STEPS
        self.project = nn.Conv2d(in_channels, count, kernel, padding=kernel // 2, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """B,C,h,w -> raw: B,128,h,w logits, those of a first."""
        raw: Tensor = self.project(features)
        return raw

    def to_ab(self, raw: Tensor, *, temperature: float = 1.0, vividness: float = 0.0) -> Tensor:
        """raw -> ab: B,2,h,w, the middle of the likeliest step; the settings change nothing."""
        step = raw.unflatten(1, (2, self.STEPS)).argmax(2)
        return (step + 0.5) * self.STEP + self.LEAST

    def loss(self, raw: Tensor, ab: Tensor) -> dict[str, Tensor]:
        """Mean cross-entropy of both channels against the steps that ab (B,2,h,w) lie in."""
        step = ((ab.float() - self.LEAST) / self.STEP).long().clamp(0, self.STEPS - 1)
        logits = raw.float().unflatten(1, (2, self.STEPS)).transpose(1, 2)  # B,64,2,h,w
        return {"cross_entropy": F.cross_entropy(logits, step)}


Head = RegressionHead | ClassificationHead | MarginalClassHead
