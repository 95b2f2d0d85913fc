"""Every loss: one finite float32 number, least at the truth, with a gradient that points there."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from modules import in_bfloat16
from torch import Tensor

from pix2color.build import build_training
from pix2color.config import GanConfig, from_dict
from pix2color.losses.adversarial import discriminator_loss, generator_loss
from pix2color.losses.perceptual import DISTANCES, PerceptualLoss
from pix2color.models.conv_encoder import STRIDED, ConvEncoder
from pix2color.models.feature_maps import FeatureMaps

AB = ("l1", "l2", "smooth_l1")
MODES = get_args(GanConfig.model_fields["loss"].annotation)

Loss = Callable[[Tensor, Tensor], Tensor]


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def ab_losses() -> dict[str, Loss]:
    """The ab losses that a recipe can name, as a training gets them."""
    model = {
        "encoder": "zhang_cnn",
        "pretrained": "none",
        "conv_encoder": {"width": 2},
        "decoder_channels": [4],
    }
    tree = {"model": model, "loss": dict.fromkeys(AB, 1.0)}
    return dict(build_training(from_dict(tree)).ab_losses)


def perceptual(distance: str) -> Loss:
    torch.manual_seed(0)
    return PerceptualLoss(FeatureMaps(ConvEncoder(STRIDED, width=4)), distance=distance)


@pytest.fixture(params=[*AB, *DISTANCES])
def pair(request: pytest.FixtureRequest, ab_losses: dict[str, Loss]) -> tuple[Loss, Tensor, Tensor]:
    """A loss between two pictures, a truth and a picture that is off everywhere."""
    if request.param in ab_losses:
        truth = uniform(2, 2, 5, 7) * 100 - 50
        return ab_losses[request.param], truth, truth + 30 + 10 * uniform(2, 2, 5, 7, seed=1)
    truth = uniform(2, 3, 24, 40)
    return perceptual(request.param), truth, truth.flip(-1)


def test_every_ab_loss_is_here(ab_losses: dict[str, Loss]) -> None:
    assert set(ab_losses) == set(AB)


def test_a_loss_is_0_at_the_truth_and_grows_away_from_it(pair: tuple[Loss, Tensor, Tensor]) -> None:
    loss, truth, other = pair
    off = loss(other, truth)
    assert off.shape == () and off.dtype == torch.float32
    assert float(loss(truth, truth)) == 0 < float(off) < float("inf")
    nearer = loss(truth + 0.25 * (other - truth), truth)
    assert float(nearer) < float(off)


def test_a_batch_is_the_mean_of_its_images(pair: tuple[Loss, Tensor, Tensor]) -> None:
    loss, truth, other = pair
    twice = loss(torch.cat((other, other)), torch.cat((truth, truth)))
    torch.testing.assert_close(twice, loss(other, truth))


def test_gradients_are_finite_and_a_step_against_them_helps(
    pair: tuple[Loss, Tensor, Tensor],
) -> None:
    loss, truth, other = pair
    other = other.clone().requires_grad_()
    before = loss(other, truth)
    before.backward()
    assert other.grad is not None and bool(other.grad.isfinite().all())
    step = 1e-3 * float((other - truth).detach().norm() / other.grad.norm())
    with torch.no_grad():
        assert float(loss(other - step * other.grad, truth)) < float(before)
    at_truth = truth.clone().requires_grad_()
    loss(at_truth, truth).backward()
    assert at_truth.grad is not None and bool(at_truth.grad.isfinite().all())


@torch.no_grad()
def test_losses_are_float32_in_mixed_precision(pair: tuple[Loss, Tensor, Tensor]) -> None:
    loss, truth, other = pair
    expected = loss(other, truth)
    with in_bfloat16():
        actual = loss(other, truth)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=0.02, atol=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_adversarial_losses_of_any_logits(mode: str, dtype: torch.dtype, size: float) -> None:
    real, fake = (
        (size * (2 * uniform(2, 1, 3, 5, seed=seed) - 1)).to(dtype).requires_grad_()
        for seed in (0, 1)
    )
    for loss in (
        discriminator_loss(real, fake, mode=mode),
        generator_loss(fake, mode=mode),
    ):
        assert loss.shape == () and loss.dtype == torch.float32
        assert bool(loss.isfinite())
        loss.backward()
    for logits in (real, fake):
        assert logits.grad is not None and bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("mode", MODES)
def test_a_fooled_discriminator_lowers_the_generator_s_loss(mode: str) -> None:
    good, bad = torch.full((1, 1, 2, 2), 0.9), torch.full((1, 1, 2, 2), -0.9)
    assert generator_loss(good, mode=mode) < generator_loss(bad, mode=mode)
    assert discriminator_loss(good, bad, mode=mode) < discriminator_loss(bad, good, mode=mode)


def test_a_mode_that_does_not_exist_is_named() -> None:
    logits = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="wasserstein"):
        generator_loss(logits, mode="wasserstein")
    with pytest.raises(ValueError, match="wasserstein"):
        discriminator_loss(logits, logits, mode="wasserstein")
