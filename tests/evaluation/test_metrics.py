"""Figures against scikit-image, brute force, slow references and fixed points."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from scipy.integrate import trapezoid
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from pix2color.color import ab_bins
from pix2color.color.lab import (
    lightness_to_gray,
    rgb_to_lightness,
)
from pix2color.evaluation import metrics


@pytest.fixture(scope="module")
def noisy(rgb: Tensor) -> Tensor:
    noise = torch.randn(rgb.shape, generator=torch.Generator().manual_seed(0))
    return (rgb + 0.1 * noise).clamp(0, 1)


@pytest.fixture(scope="module")
def wrong_ab(lab: Tensor) -> Tensor:
    noise = torch.randn(4, 2, 64, 64, generator=torch.Generator().manual_seed(1))
    return lab[:, 1:] * 0.5 + 20 * noise


def test_psnr_is_scikit_images(rgb: Tensor, noisy: Tensor) -> None:
    expected = [
        peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=1)
        for a, b in zip(rgb, noisy, strict=True)
    ]
    assert metrics.psnr(noisy, rgb).tolist() == pytest.approx(expected, abs=1e-4)


def test_ssim_is_scikit_images(rgb: Tensor, noisy: Tensor) -> None:
    expected = [
        structural_similarity(
            a.numpy(),
            b.numpy(),
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(rgb, noisy, strict=True)
    ]
    assert metrics.ssim(noisy, rgb).tolist() == pytest.approx(expected, abs=1e-4)


def test_ssim_with_the_truths_half_at_hand_is_the_same(rgb: Tensor, noisy: Tensor) -> None:
    reference = metrics.ssim_reference(rgb)
    assert torch.equal(metrics.ssim(noisy, rgb, reference), metrics.ssim(noisy, rgb))


def test_ssim_of_a_picture_smaller_than_its_window_is_no_number(rgb: Tensor) -> None:
    assert metrics.ssim(rgb[..., :10, :10], rgb[..., :10, :10]).isnan().all()


def test_gray_has_the_known_psnr() -> None:
    """facts: three photographs of scikit-image, L kept, ab 0."""
    for name, expected in (("astronaut", 17.80), ("chelsea", 19.40), ("coffee", 14.12)):
        photo = getattr(skimage.data, name)()
        truth = torch.from_numpy(photo).permute(2, 0, 1).unsqueeze(0) / 255
        gray = lightness_to_gray(rgb_to_lightness(truth)).expand_as(truth)
        assert float(metrics.psnr(gray, truth)) == pytest.approx(expected, abs=0.02), name


def test_identical_pictures_are_capped(rgb: Tensor, lab: Tensor) -> None:
    assert metrics.psnr(rgb, rgb).tolist() == [metrics.PSNR_CAP] * 4
    assert metrics.psnr_lab(lab[:, 1:], lab[:, 1:]).tolist() == [metrics.PSNR_CAP] * 4
    assert metrics.ssim(rgb, rgb).tolist() == pytest.approx([1.0] * 4, abs=1e-6)


def test_psnr_of_lab_counts_the_exact_lightness() -> None:
    truth = torch.zeros(1, 2, 8, 8)
    error = torch.full((1, 2, 8, 8), 25.5)  # 0.1 of the scale in two of three channels
    expected = -10 * np.log10(2 / 3 * 0.01)
    assert float(metrics.psnr_lab(error, truth)) == pytest.approx(expected, abs=1e-4)


def test_auc_is_the_integral_over_thresholds(lab: Tensor, wrong_ab: Tensor) -> None:
    error = metrics.ab_error(3 * wrong_ab, lab[:, 1:])
    assert float(error.max()) > metrics.AUC_LIMIT  # so that the limit is tried
    thresholds = np.linspace(0, 150, 3001)
    for one, photo in zip(metrics.auc(error), error, strict=True):
        shares = [(photo.numpy() <= t).mean() for t in thresholds]
        assert float(one) == pytest.approx(100 * trapezoid(shares, thresholds) / 150, abs=0.02)


def test_nearest_bin_is_that_of_ab_bins() -> None:
    generator = torch.Generator().manual_seed(2)
    ab = 260 * torch.rand(2, 2, 100, 100, generator=generator) - 130
    assert torch.equal(metrics.nearest_bin(ab), ab_bins.nearest_bin(ab))


def test_rebalanced_auc_is_the_mean_over_bins(lab: Tensor, wrong_ab: Tensor) -> None:
    """A slow reference: every pixel in a list of its bin, over all photos."""
    true_ab = lab[:, 1:]
    error = metrics.ab_error(wrong_ab, true_ab)
    scores, counts = metrics.per_bin_auc_sums(error, metrics.nearest_bin(true_ab))
    found, bins = metrics.auc_rebalanced(scores.sum(0), counts.sum(0))

    lists: dict[int, list[float]] = {}
    centers = ab_bins.bin_centers().numpy()
    for pixel, d in zip(true_ab.permute(0, 2, 3, 1).reshape(-1, 2), error.flatten(), strict=True):
        nearest = int(np.square(centers - pixel.numpy()).sum(1).argmin())
        lists.setdefault(nearest, []).append(max(0.0, 1 - float(d) / 150))
    pixels = error.numel()
    own = [np.mean(values) for values in lists.values() if len(values) >= 1e-5 * pixels]
    assert int(bins) == len(own)
    assert float(found) == pytest.approx(100 * np.mean(own), abs=1e-4)


def test_a_rare_bin_takes_no_part() -> None:
    counts = torch.zeros(ab_bins.COUNT, dtype=torch.float64)
    scores = counts.clone()
    counts[120], scores[120] = 1e6, 5e5
    counts[7] = 9  # fewer than 1e-5 of the pixels, all wrong
    value, bins = metrics.auc_rebalanced(scores, counts)
    assert (float(value), int(bins)) == (50.0, 1)


def test_weighted_auc_with_equal_weights_is_the_plain_one(lab: Tensor, wrong_ab: Tensor) -> None:
    error = metrics.ab_error(wrong_ab, lab[:, 1:])
    scores, counts = metrics.per_bin_auc_sums(error, metrics.nearest_bin(lab[:, 1:]))
    found = metrics.auc_weighted(scores, counts, torch.full((ab_bins.COUNT,), 3.0))
    assert found.tolist() == pytest.approx(metrics.auc(error).tolist(), abs=1e-3)


def test_colorfulness_by_its_formula(rgb: Tensor, lab: Tensor) -> None:
    r, g, b = 255 * rgb[0].numpy()
    rg, yb = r - g, (r + g) / 2 - b
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert float(metrics.colorfulness(rgb)[0]) == pytest.approx(expected, rel=1e-4)
    a, b = lab[0, 1:].numpy()
    expected = np.hypot(a.std(), b.std()) + 0.37 * np.hypot(a.mean(), b.mean())
    assert float(metrics.colorfulness_lab(lab[:, 1:])[0]) == pytest.approx(expected, rel=1e-4)
