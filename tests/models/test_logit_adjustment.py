"""The class loss at adjusted logits: the same best logits, more say for rare colors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pix2color.color import ab_bins
from pix2color.config import HeadConfig
from pix2color.models.heads import ClassificationHead

PIXELS = 200


@pytest.fixture
def colors() -> Tensor:
    """1,2,1,PIXELS: two common bins, two rare ones, each at its own center."""
    bins = torch.tensor([150] * 120 + [160] * 60 + [20] * 15 + [300] * 5)
    return ab_bins.bin_centers()[bins].T[None, :, None]


def head(adjust: float) -> ClassificationHead:
    """Its prior is not the photo's own distribution."""
    prior = torch.full((ab_bins.COUNT,), 1e-4)
    prior[150], prior[160], prior[20] = 0.5, 0.4, 0.02
    return ClassificationHead(
        4, prior / prior.sum(), soft_encoding_k=1, logit_adjustment_tau=adjust
    )


def gradient(colors: Tensor, logits: Tensor, adjust: float) -> Tensor:
    """313: of the loss by one distribution for all the pixels."""
    shared = logits.clone().requires_grad_()
    raw = shared.view(1, -1, 1, 1).expand(-1, -1, 1, PIXELS)
    head(adjust).loss(raw, colors)["cross_entropy"].backward()
    assert shared.grad is not None
    return shared.grad


@pytest.mark.parametrize("adjust", [0.0, 0.3, 0.5, 1.0])
def test_the_true_distribution_is_the_best_at_every_tau(colors: Tensor, adjust: float) -> None:
    share = torch.zeros(ab_bins.COUNT)
    share[torch.tensor((150, 160, 20, 300))] = torch.tensor((0.6, 0.3, 0.075, 0.025))
    true = share.clamp_min(1e-12).log()
    assert float(gradient(colors, true, adjust).abs().max()) < 1e-5
    assert float(gradient(colors, torch.zeros(ab_bins.COUNT), adjust).abs().max()) > 1e-2


def test_rare_colors_get_a_larger_share_of_the_gradient(colors: Tensor) -> None:
    """The share of the pull that comes from the rarest color grows with tau."""
    start = torch.zeros(ab_bins.COUNT)
    pulls = [-gradient(colors, start, tau) for tau in (0.0, 0.5, 1.0)]
    shares = [float(pull[300] / pull.clamp_min(0).sum()) for pull in pulls]
    assert shares[0] < shares[1] < shares[2]


def test_vividness_stays_a_choice_afterwards() -> None:
    plain, adjusted = head(0.0), head(0.5)
    raw = torch.randn(1, ab_bins.COUNT, 2, 2, generator=torch.manual_seed(0))
    for vividness in (0.0, 0.5):
        a, b = (one.to_ab(raw, temperature=0.8, vividness=vividness) for one in (plain, adjusted))
        assert torch.equal(a, b)


def test_tau_excludes_class_weights_and_regression() -> None:
    for other in ({"rebalance_lambda": 0.5}, {"type": "regression"}, {"compat": "aml"}):
        with pytest.raises(ValueError, match="needs type: classes"):
            HeadConfig.model_validate({"logit_adjustment_tau": 0.5, **other})
