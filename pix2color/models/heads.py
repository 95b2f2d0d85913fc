"""Heads: the network's last layer, the decoding of its output to ab, and its own loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.color import ab_bins
from pix2color.color.ab_bins_numpy import MARGINAL_BIN_WIDTH, MARGINAL_BINS, MARGINAL_MIN_AB
from pix2color.losses.ab import dense_cross_entropy, soft_cross_entropy


class Head(nn.Module):
    """A convolution whose output is decoded to ab: B,C,h,w -> raw -> ab.

    Args:
        in_channels: channels of the features.
        out_channels: channels of raw.
        kernel, bias: of the convolution.
    """

    upscale = 1
    """raw is this many times as large as the features."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, bias: bool) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """B,C,h,w -> raw: B,out_channels,h*upscale,w*upscale."""
        raw: Tensor = self.project(features)
        return raw

    def to_ab(self, raw: Tensor, *, temperature: float = 1.0, vividness: float = 0.0) -> Tensor:
        """raw -> ab: B,2,h,w in Lab units, float32."""
        raise NotImplementedError

    def loss(self, raw: Tensor, ab: Tensor) -> dict[str, Tensor]:
        """Losses of raw against the true ab (B,2,h,w), by the names of the config's loss section.

        Empty for a head that is trained by the recipe's ab losses on the result of `to_ab` alone.
        """
        return {}


class RegressionHead(Head):
    """Two channels that are ab: scale * tanh(x), or scale * x with `activation: linear`.

    Args:
        in_channels: channels of the features.
        activation: tanh | linear. tanh bounds the colors; scale 110 is about the extent of sRGB.
        scale: ab at activation 1, in Lab units.
        kernel, bias: see Head.
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
        super().__init__(in_channels, 2, kernel=kernel, bias=bias)
        self.activation = activation
        self.scale = scale
        # Small initial colors: training starts from the gray photo, not from noise.
        nn.init.normal_(self.project.weight, std=1e-3)
        if self.project.bias is not None:
            nn.init.zeros_(self.project.bias)

    def to_ab(self, raw: Tensor, *, temperature: float = 1.0, vividness: float = 0.0) -> Tensor:
        """raw -> ab: B,2,h,w in Lab units. A regression has no temperature or vividness."""
        raw = raw.float()
        return self.scale * (raw.tanh() if self.activation == "tanh" else raw)


class ClassificationHead(Head):
    """313 classes per pixel: logits, decoded by the annealed mean.

    Args:
        in_channels: channels of the features.
        prior: 313, of the training photos; a float32 buffer, saved with the weights.
        soft_encoding_k: K of the soft encoding: bins that a pixel's color is spread over.
        rebalance_lambda: lambda of the class weights (Zhang et al. 2016); None: no weights.
        logit_adjustment_tau: tau at which the loss is taken, see `loss`.
        kernel, bias: see Head.
    """

    log_prior: Tensor
    class_weight: Tensor

    def __init__(
        self,
        in_channels: int,
        prior: Tensor,
        *,
        soft_encoding_k: int = 5,
        rebalance_lambda: float | None = None,
        logit_adjustment_tau: float = 0.0,
        kernel: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, ab_bins.COUNT, kernel=kernel, bias=bias)
        self.soft_encoding_k = soft_encoding_k
        self.rebalance_lambda = rebalance_lambda
        self.logit_adjustment_tau = logit_adjustment_tau
        self.register_buffer("log_prior", torch.zeros(ab_bins.COUNT))
        self.register_buffer("class_weight", torch.ones(ab_bins.COUNT), persistent=False)
        self.set_prior(prior)
        # An untrained network predicts the prior everywhere (without a bias: all colors alike).
        nn.init.normal_(self.project.weight, std=1e-2)
        if self.project.bias is not None:
            with torch.no_grad():
                self.project.bias.copy_(self.log_prior.clamp_min(-12.0))

    def set_prior(self, prior: Tensor) -> None:
        """Replace the prior (313, sum 1) that class weights and vividness are computed from."""
        prior = prior.double()
        self.log_prior.copy_(prior.log().float())
        if self.rebalance_lambda is not None:
            weight = ab_bins.rebalancing_weights(prior, lam=self.rebalance_lambda)
            self.class_weight.copy_(weight.float())
        elif self.logit_adjustment_tau > 0:
            weight = prior**-self.logit_adjustment_tau
            self.class_weight.copy_((weight / (prior * weight).sum()).float())

    def to_ab(self, raw: Tensor, *, temperature: float = 1.0, vividness: float = 0.0) -> Tensor:
        """raw -> ab: B,2,h,w: logits less vividness * log prior, then the annealed mean."""
        logits = ab_bins.adjust_logits(raw.float(), self.log_prior, vividness)
        return ab_bins.annealed_mean(logits, temperature=temperature)

    def loss(self, raw: Tensor, ab: Tensor) -> dict[str, Tensor]:
        """Cross-entropy against soft-encoded ab (B,2,h,w), weighted by each pixel's own class.

        With `logit_adjustment_tau` the loss is taken on logits - tau log prior, with class weights
        prior^-tau (mean 1). The adjusted logits of the true distribution are those of the weighted
        photos, so the optimum is the same for every tau and vividness stays a choice at decoding;
        rare colors get a larger share of the gradient (after Menon et al. 2021, Long-tail learning
        via logit adjustment).
        """
        labels = ab_bins.soft_encode(ab, neighbors=self.soft_encoding_k)
        logits, weight = self._adjusted(raw)
        return {"cross_entropy": soft_cross_entropy(logits, labels, class_weight=weight)}

    def distillation_loss(
        self, raw: Tensor, probability: Tensor, *, temperature: float = 1.0
    ) -> Tensor:
        """Cross-entropy to a teacher's probabilities (B,313,h,w), adjusted and weighted as `loss`.

        Each class has its own weight, so that the optimum is the teacher's distribution. Both
        distributions are taken at the temperature T, and the loss times T^2 keeps the size of its
        gradient (Hinton et al. 2015).
        """
        if temperature != 1:
            probability = probability.clamp_min(1e-12).log().div(temperature).softmax(1)
        logits, weight = self._adjusted(raw.float() / temperature)
        return temperature**2 * dense_cross_entropy(logits, probability, class_weight=weight)

    def _adjusted(self, raw: Tensor) -> tuple[Tensor, Tensor | None]:
        """The logits and class weights with which losses are taken."""
        tau = self.logit_adjustment_tau
        weight = None if self.rebalance_lambda is None and tau == 0 else self.class_weight
        return ab_bins.adjust_logits(raw.float(), self.log_prior, tau), weight


class AmlClassificationHead(ClassificationHead):
    """The class head of Conti and Sterpa's code with the faults of its published loss.

    It exists to study the table that rests on them. Differences from ClassificationHead:

    - Logits are enlarged four times by repetition, and the loss is taken at the photo's full size.
    - The loss is summed over pixels and photos, not averaged: about 1.8e5 per photo of 176 x 176 at
      the start. Adam cancels the scale, but weight decay becomes negligible beside it.
    - Targets B,313,h,w are reshaped to rows of 313 without moving the classes last. A row is then a
      run of 313 pixels of mostly one class; the position of its maximum selects the weight, which
      multiplies the row. The weights are almost unrelated to the pixels' colors.

    The published code also shifted its probabilities by about 1e-5 before the logarithm; this one
    does not.
    """

    upscale = 4

    def forward(self, features: Tensor) -> Tensor:
        """B,C,h,w -> raw: B,313,4h,4w logits."""
        return F.interpolate(super().forward(features), scale_factor=float(self.upscale))

    def loss(self, raw: Tensor, ab: Tensor) -> dict[str, Tensor]:
        """The published sum with its misplaced weights; ab is B,2,4h,4w."""
        labels = ab_bins.soft_encode(ab, neighbors=self.soft_encoding_k).to_dense()
        log_probability = raw.float().log_softmax(1)
        row_loss = -(labels * log_probability).reshape(-1, ab_bins.COUNT).sum(1)
        return {"cross_entropy": (self.row_weights(labels) * row_loss).sum()}

    def row_weights(self, labels: Tensor) -> Tensor:
        """Dense labels B,313,h,w -> the weight of each of the B*h*w misplaced rows."""
        position = labels.reshape(-1, ab_bins.COUNT).argmax(1)
        return self.class_weight[position]


class MarginalClassHead(Head):
    """64 classes for a and 64 for b: bins of 4 Lab units over -128..128.

    raw is B,128,h,w: first the 64 logits of a, then those of b.

    Args:
        in_channels, kernel, bias: see Head.
        decoding: argmax (the likeliest bin) | mean (of all bins, by their probabilities).
    """

    BINS, BIN_WIDTH, MIN_AB = MARGINAL_BINS, MARGINAL_BIN_WIDTH, MARGINAL_MIN_AB

    def __init__(
        self, in_channels: int, *, kernel: int = 1, bias: bool = True, decoding: str = "argmax"
    ) -> None:
        super().__init__(in_channels, 2 * self.BINS, kernel=kernel, bias=bias)
        self.decoding = decoding

    def to_ab(self, raw: Tensor, *, temperature: float = 1.0, vividness: float = 0.0) -> Tensor:
        """raw -> ab: B,2,h,w in Lab units; the settings have no effect."""
        logits = raw.unflatten(1, (2, self.BINS))
        if self.decoding == "mean":
            bins = torch.arange(self.BINS, device=raw.device).view(1, 1, -1, 1, 1)
            index = (logits.float().softmax(2) * bins).sum(2)
        else:
            index = logits.argmax(2)
        return (index + 0.5) * self.BIN_WIDTH + self.MIN_AB

    def loss(self, raw: Tensor, ab: Tensor) -> dict[str, Tensor]:
        """Mean cross-entropy of both channels against the bins of ab (B,2,h,w)."""
        index = ((ab.float() - self.MIN_AB) / self.BIN_WIDTH).long().clamp(0, self.BINS - 1)
        logits = raw.float().unflatten(1, (2, self.BINS)).transpose(1, 2)  # B,64,2,h,w
        return {"cross_entropy": F.cross_entropy(logits, index)}
