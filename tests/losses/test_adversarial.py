"""Adversarial losses: the published forms, and the right direction for both players."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pix2color.losses.adversarial import (
    accuracy,
    discriminator_loss,
    generator_loss,
    r1_penalty,
)

MODES = ("vanilla", "lsgan", "hinge")


def constant(value: float) -> Tensor:
    return torch.full((2, 1, 3, 3), value)


@pytest.mark.parametrize(
    ("mode", "undecided", "right"),
    [("vanilla", math.log(2), 0.0067153), ("lsgan", 0.5, 20.5), ("hinge", 1.0, 0.0)],
)
def test_the_discriminator_s_loss(mode: str, undecided: float, right: float) -> None:
    """At logits 0 and 0, and at 5 (true) and -5 (colored)."""
    actual = discriminator_loss(constant(0), constant(0), mode=mode)
    assert float(actual) == pytest.approx(undecided, rel=1e-5)
    actual = discriminator_loss(constant(5), constant(-5), mode=mode)
    assert float(actual) == pytest.approx(right, rel=1e-4)


@pytest.mark.parametrize(
    ("mode", "at_zero", "at_one"),
    [("vanilla", math.log(2), 0.313262), ("lsgan", 1.0, 0.0), ("hinge", 0.0, -1.0)],
)
def test_the_generator_s_loss(mode: str, at_zero: float, at_one: float) -> None:
    assert float(generator_loss(constant(0), mode=mode)) == pytest.approx(at_zero, rel=1e-5)
    assert float(generator_loss(constant(1), mode=mode)) == pytest.approx(at_one, rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_the_players_pull_in_opposite_directions(mode: str) -> None:
    real, fake = constant(0.1).requires_grad_(), constant(-0.1).requires_grad_()
    discriminator_loss(real, fake, mode=mode).backward()
    assert real.grad is not None and fake.grad is not None
    if mode == "lsgan":  # whose aim for colored photos is 0, from either side
        assert float(real.grad.mean()) < 0
    else:
        assert float(real.grad.mean()) < 0 < float(fake.grad.mean())
    fake.grad = None
    generator_loss(fake, mode=mode).backward()
    assert float(fake.grad.mean()) < 0


@pytest.mark.parametrize("mode", MODES)
def test_accuracy_is_1_where_the_aims_are_met_and_half_where_all_logits_are_alike(
    mode: str,
) -> None:
    aim = 0.0 if mode == "lsgan" else -1.0
    assert float(accuracy(constant(1), constant(aim), mode=mode)) == 1
    assert float(accuracy(constant(aim), constant(1), mode=mode)) == 0
    assert float(accuracy(constant(0.9), constant(0.9), mode=mode)) == 0.5


@pytest.mark.parametrize("side", [4, 12])
def test_r1_is_the_squared_gradient_of_a_logit_at_any_size_of_the_photo(side: int) -> None:
    """Of patches that do not overlap: exactly that of one patch's logit."""
    weight = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    photos = torch.randn(2, 3, side, side).requires_grad_()
    penalty = r1_penalty(torch.nn.functional.conv2d(photos, weight, stride=4), photos)
    torch.testing.assert_close(penalty, weight.square().sum())
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, 2 * weight)
