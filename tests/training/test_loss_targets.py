"""Where losses are taken: on averaged or on every fourth pixel, at the output's or at full size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.build import build_head
from pix2color.color.ab_bins import soft_encode
from pix2color.color.lab import rgb_to_lab
from pix2color.config import HeadConfig
from pix2color.data.loader import Batch
from pix2color.losses import ab as ab_losses
from pix2color.training import steps


@pytest.fixture
def batch(square: Tensor, astronaut: Tensor) -> Batch:
    """Two real photos of 64 x 64."""
    lab = rgb_to_lab(torch.cat((square, astronaut)))
    return Batch(lab[:, :1], lab)


def _losses(head_type: str, raw: Tensor, batch: Batch, **options: str) -> dict[str, Tensor]:
    head = build_head(HeadConfig(type=head_type, activation="linear"), 4)  # type: ignore[arg-type]
    l2 = {"l2": ab_losses.l2} if head_type == "regression" else {}
    return steps.reconstruction_losses(
        raw, batch, head=head, ab_losses=l2, perceptual=None, **options
    )


def test_targets_are_means_of_cells_or_every_fourth_pixel(batch: Batch) -> None:
    truth = batch.target_lab[:, 1:]
    mean = steps.target_ab(batch, (16, 16), targets="average")
    fourth = steps.target_ab(batch, (16, 16), targets="subsample")
    assert torch.allclose(mean, F.avg_pool2d(truth, 4))
    assert torch.equal(fourth, truth[:, :, ::4, ::4])
    # A mean of different colors is duller than they are.
    assert fourth.square().mean() > 1.02 * mean.square().mean()
    assert torch.equal(steps.target_ab(batch, (64, 64), targets="subsample"), truth)


def test_a_squared_error_at_full_size_is_that_of_the_means_and_the_spread_within_cells(
    batch: Batch,
) -> None:
    raw = 0.1 * torch.randn(2, 2, 16, 16)
    truth = batch.target_lab[:, 1:] / 110
    spread = (truth - F.interpolate(F.avg_pool2d(truth, 4), scale_factor=4)).square().mean()
    small = _losses("regression", raw, batch)["l2"]
    full = _losses("regression", raw, batch, enlarge="nearest")["l2"]
    assert float(full) == pytest.approx(float(small + spread), rel=1e-4)


def test_a_class_loss_at_full_size_is_that_of_every_pixel_by_its_cell(batch: Batch) -> None:
    raw = torch.randn(2, 313, 16, 16)
    labels = soft_encode(batch.target_lab[:, 1:], neighbors=5).to_dense()  # B,313,64,64
    pooled = F.avg_pool2d(labels, 4)
    expected = -(pooled * raw.log_softmax(1)).sum(1).mean()
    full = _losses("classes", raw, batch, enlarge="nearest")["cross_entropy"]
    assert float(full) == pytest.approx(float(expected), rel=1e-4)
    assert full != _losses("classes", raw, batch)["cross_entropy"]


def test_smooth_colors_have_no_blocks_where_they_are_enlarged_bilinearly(batch: Batch) -> None:
    """A sky that changes slowly costs less than as cells of one color."""
    ramp = torch.linspace(-60, 60, 64).view(1, 1, 1, 64).expand(1, 2, 64, 64)
    smooth = Batch(batch.input_lightness[:1], torch.cat((batch.target_lab[:1, :1], ramp), 1))
    raw = F.avg_pool2d(ramp, 4) / 110
    nearest, bilinear = (
        float(_losses("regression", raw, smooth, enlarge=enlarge)["l2"])
        for enlarge in ("nearest", "bilinear")
    )
    assert bilinear < nearest / 5
