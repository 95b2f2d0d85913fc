"""Losses on ab and on logits: the plain formulas over all 313 planes are the reference."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.color import ab_bins
from pix2color.color.ab_bins import Prior, soft_encode
from pix2color.color.lab import rgb_to_lab
from pix2color.losses import ab as losses
from pix2color.models.heads import ClassificationHead


@pytest.fixture
def ab(square: Tensor) -> Tensor:
    """True colors at stride 4: 2,2,16,16."""
    true = F.avg_pool2d(rgb_to_lab(square)[:, 1:], 4)
    return torch.cat((true, -true))


def logits(seed: int = 0, *, batch: int = 2) -> Tensor:
    return 3 * torch.randn(batch, 313, 16, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("neighbors", [1, 5, 10])
def test_cross_entropy_equals_the_dense_form(neighbors: int, ab: Tensor) -> None:
    code = soft_encode(ab, neighbors=neighbors)
    dense = -(code.to_dense() * logits().log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(losses.soft_cross_entropy(logits(), code), dense)


def test_its_gradient_is_probability_minus_target(ab: Tensor) -> None:
    code = soft_encode(ab)
    raw = logits().requires_grad_()
    losses.soft_cross_entropy(raw, code).backward()
    assert raw.grad is not None
    expected = (raw.detach().softmax(1) - code.to_dense()) / (2 * 16 * 16)
    torch.testing.assert_close(raw.grad, expected, rtol=1e-4, atol=1e-8)


def test_each_pixel_weighs_what_its_own_bin_weighs(ab: Tensor) -> None:
    """Not the mean weight of its neighbors, and not that of another pixel."""
    code = soft_encode(ab)
    weight = ab_bins.rebalancing_weights(Prior.load().probability).float()
    own = weight[ab_bins.nearest_bin(ab)]
    assert float(own.std()) > 0.01
    each = -(code.to_dense() * logits().log_softmax(1)).sum(1)
    actual = losses.soft_cross_entropy(logits(), code, class_weight=weight)
    torch.testing.assert_close(actual, (own * each).mean())


def test_weights_of_one_change_nothing(ab: Tensor) -> None:
    code = soft_encode(ab)
    plain = losses.soft_cross_entropy(logits(), code)
    ones = losses.soft_cross_entropy(logits(), code, class_weight=torch.ones(313))
    torch.testing.assert_close(ones, plain)


def test_the_entropy_of_the_labels_is_the_lower_bound(ab: Tensor) -> None:
    code = soft_encode(ab)
    best = code.to_dense().clamp_min(1e-12).log()
    floor = losses.label_entropy(code)
    torch.testing.assert_close(losses.soft_cross_entropy(best, code), floor, rtol=0, atol=1e-4)
    assert float(losses.soft_cross_entropy(logits(), code)) > float(floor)


@pytest.mark.parametrize(("neighbors", "nats"), [(1, 0.0), (5, 1.135), (10, 1.333)])
def test_the_entropy_on_a_bin_s_center(neighbors: int, nats: float) -> None:
    code = soft_encode(torch.zeros(1, 2, 1, 1), neighbors=neighbors)
    assert float(losses.label_entropy(code)) == pytest.approx(nats, abs=2e-3)


def test_cross_entropy_is_float32_inside_autocast(ab: Tensor) -> None:
    code = soft_encode(ab)
    plain = losses.soft_cross_entropy(logits(), code)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = losses.soft_cross_entropy(logits(), code)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, plain)


@pytest.mark.parametrize("rebalance", [None, 0.5])
def test_the_class_head_s_loss_is_this_one(rebalance: float | None, ab: Tensor) -> None:
    prior = Prior.load().probability
    head = ClassificationHead(8, prior, soft_encoding_k=10, rebalance_lambda=rebalance)
    code = soft_encode(ab, neighbors=10)
    weight = None
    if rebalance is not None:
        weight = ab_bins.rebalancing_weights(prior, lam=rebalance).float()
    expected = losses.soft_cross_entropy(logits(), code, class_weight=weight)
    assert head.loss(logits(), ab).keys() == {"cross_entropy"}
    torch.testing.assert_close(head.loss(logits(), ab)["cross_entropy"], expected)


AB_LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float]] = {
    # name: the loss, and its value where ab is 55 off everywhere
    "l1": (losses.l1, 0.5),
    "l2": (losses.l2, 0.25),
    "smooth_l1": (losses.smooth_l1, 0.45),
}


@pytest.mark.parametrize("name", AB_LOSSES)
def test_ab_losses_are_zero_at_the_truth_and_known_beside_it(name: str, ab: Tensor) -> None:
    loss, half = AB_LOSSES[name]
    assert float(loss(ab, ab)) == 0
    assert float(loss(ab + 55, ab)) == pytest.approx(half, rel=1e-4)
    actual = (ab + 1).requires_grad_()
    loss(actual, ab).backward()
    assert actual.grad is not None and bool((actual.grad > 0).all())
    assert float(loss(ab, ab + 1)) == pytest.approx(float(loss(ab + 1, ab)), rel=1e-4)


def test_smooth_l1_is_quadratic_within_eleven_units() -> None:
    zero = torch.zeros(1, 2, 1, 1)
    near = [float(losses.smooth_l1(zero + d, zero)) for d in (2.0, 4.0, 8.0)]
    assert near[1] / near[0] == pytest.approx(4, rel=1e-3)
    assert near[2] / near[1] == pytest.approx(4, rel=1e-3)
    far = [float(losses.smooth_l1(zero + d, zero)) for d in (30.0, 40.0, 50.0)]
    assert far[2] - far[1] == pytest.approx(far[1] - far[0], rel=1e-3)
