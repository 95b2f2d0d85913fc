"""Adversarial losses: the published forms, and the right direction for both players."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pix2color.losses.adversarial import discriminator_loss, generator_loss

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
