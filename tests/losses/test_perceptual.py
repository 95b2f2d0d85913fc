"""The perceptual loss: nothing at the truth, a gradient that reaches ab, a network that stays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pix2color.color import lab_to_rgb, rgb_to_lab
from pix2color.losses.perceptual import PerceptualLoss
from pix2color.models.encoders import build_encoder


@pytest.fixture(scope="module")
def perceptual() -> PerceptualLoss:
    torch.manual_seed(0)
    return PerceptualLoss(build_encoder("mobilenet_v2"))


def test_zero_at_the_truth_and_more_the_farther(perceptual: PerceptualLoss, square: Tensor) -> None:
    assert float(perceptual(square, square)) == 0
    lab = rgb_to_lab(square)
    gray = lab * torch.tensor((1.0, 0.0, 0.0)).view(1, 3, 1, 1)
    half = lab * torch.tensor((1.0, 0.5, 0.5)).view(1, 3, 1, 1)
    near, far = (float(perceptual(lab_to_rgb(one), square)) for one in (half, gray))
    assert 0 < near < far


def test_its_gradient_reaches_every_colour(perceptual: PerceptualLoss, square: Tensor) -> None:
    """Also where the prediction lies outside sRGB, near black and white."""
    lab = rgb_to_lab(square)
    ab = (2.5 * lab[:, 1:] + 30).requires_grad_()
    rgb = lab_to_rgb(torch.cat((lab[:, :1], ab), dim=1), clip=False)
    assert bool((rgb < 0).any()) and bool((rgb > 1).any())
    perceptual(rgb, square).backward()
    assert ab.grad is not None
    assert bool(ab.grad.isfinite().all())
    assert float((ab.grad.abs().sum(1) > 0).float().mean()) > 0.99


def test_the_network_is_frozen_and_keeps_its_statistics(square: Tensor) -> None:
    perceptual = PerceptualLoss(build_encoder("mobilenet_v2"))
    before = {key: value.clone() for key, value in perceptual.state_dict().items()}
    perceptual.train()
    photo = square.clone().requires_grad_()
    perceptual(photo, square.flip(-1)).backward()
    assert photo.grad is not None
    assert all(parameter.grad is None for parameter in perceptual.parameters())
    after = perceptual.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_levels_that_an_encoder_does_not_have_are_left_out(square: Tensor) -> None:
    encoder = build_encoder("convnext_tiny")
    assert PerceptualLoss(encoder, levels=(0, 3, 4)).used == (0, 3)
