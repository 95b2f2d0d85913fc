"""The five failures, each on a picture that has it and on one that has not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pix2color.color import ab_bins
from pix2color.evaluation import failure_metrics, metrics

SIDE = 64


def _halves(left: tuple[float, float], right: tuple[float, float]) -> np.ndarray:
    ab = np.empty((SIDE, SIDE, 2))
    ab[:, : SIDE // 2], ab[:, SIDE // 2 :] = left, right
    return ab


@pytest.fixture(scope="module")
def true_ab() -> np.ndarray:
    return _halves((40.0, 20.0), (-20.0, -10.0))


@pytest.fixture(scope="module")
def lightness() -> np.ndarray:
    plane = np.full((SIDE, SIDE), 40.0)
    plane[:, SIDE // 2 :] = 70.0
    return plane


@pytest.fixture(scope="module")
def guide(lightness: np.ndarray, true_ab: np.ndarray) -> failure_metrics.TruthFeatures:
    return failure_metrics.truth_features(lightness, true_ab)


def test_rare_recall_looks_at_the_rarest_tenth() -> None:
    counts = np.zeros(ab_bins.COUNT)
    counts[[5, 120]] = 8, 92
    near = np.zeros(ab_bins.COUNT)
    near[120] = 92
    assert failure_metrics.rare_recall(near, counts) == 0
    near[5] = 2
    assert failure_metrics.rare_recall(near, counts) == pytest.approx(25)


def test_rare_recall_without_rare_pixels_is_no_number() -> None:
    counts = np.zeros(ab_bins.COUNT)
    counts[120] = 10
    assert np.isnan(failure_metrics.rare_recall(counts, counts))


def test_divergence_is_0_for_equals_and_log_2_for_strangers() -> None:
    one, other = np.zeros((2, ab_bins.COUNT))
    one[3], other[4] = 7, 9
    assert failure_metrics.js_divergence(one, 5 * one) == pytest.approx(0)
    assert failure_metrics.js_divergence(one, other) == pytest.approx(np.log(2))


def test_spread_of_half_the_colors_is_a_half(true_ab: np.ndarray) -> None:
    planes = torch.from_numpy(true_ab).permute(2, 0, 1).unsqueeze(0)
    center = planes.mean((2, 3), keepdim=True)
    assert float(failure_metrics.spread_ratio(planes / 2, planes)) == pytest.approx(0.5)
    assert float(failure_metrics.spread_ratio(center.expand_as(planes), planes)) == 0
    flat = torch.ones(1, 2, 4, 4)
    assert failure_metrics.spread_ratio(flat, flat).isnan()


def test_patches_inside_a_thing_are_seen(
    guide: failure_metrics.TruthFeatures, true_ab: np.ndarray
) -> None:
    assert failure_metrics.intra_segment_excess_std(guide.segments, true_ab, true_ab) == 0
    assert failure_metrics.intra_segment_excess_std(guide.segments, 0.5 * true_ab, true_ab) == 0
    stripes = true_ab.copy()
    stripes[::2] += 30
    assert failure_metrics.intra_segment_excess_std(guide.segments, stripes, true_ab) > 10


def test_colors_that_follow_their_photo_do_not_change_when_mirrored() -> None:
    ab = torch.randn(2, 2, 8, 8)
    assert not failure_metrics.flip_difference(ab, ab.flip(-1)).any()
    shifted = ab.flip(-1) + torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    assert failure_metrics.flip_difference(ab, shifted).tolist() == pytest.approx([5, 5], abs=1e-5)


def test_a_colored_rim_is_pollution(
    guide: failure_metrics.TruthFeatures, true_ab: np.ndarray
) -> None:
    rim = true_ab.copy()
    rim[guide.border] += (30, 0)
    assert failure_metrics.region_error_excess(guide.border, rim, true_ab) == pytest.approx(30)
    assert failure_metrics.region_error_excess(guide.border, true_ab + 5, true_ab) == pytest.approx(
        0
    )
    assert guide.border.mean() == pytest.approx(1 - (58 / 64) ** 2)


def test_color_round_a_contour_is_pollution(
    guide: failure_metrics.TruthFeatures, true_ab: np.ndarray
) -> None:
    assert guide.contour[:, SIDE // 2 - 1].all() and not guide.contour[:, 4].any()
    halo = true_ab.copy()
    halo[guide.contour] += (0, 12)
    assert failure_metrics.region_error_excess(guide.contour, halo, true_ab) == pytest.approx(12)


def test_bleeding_is_the_contrast_lost_across_edges(
    guide: failure_metrics.TruthFeatures, true_ab: np.ndarray
) -> None:
    middle = true_ab.mean((0, 1))
    for kept in (1.0, 0.5, 0.0):
        found = failure_metrics.bleeding(guide.edges, middle + kept * (true_ab - middle))
        assert found == pytest.approx(100 * (1 - kept), abs=1e-6)
    swapped = true_ab[:, ::-1]
    assert failure_metrics.bleeding(guide.edges, swapped) == pytest.approx(100)


def test_edges_of_color_are_matched_within_two_pixels(
    guide: failure_metrics.TruthFeatures, true_ab: np.ndarray
) -> None:
    assert failure_metrics.edge_f1(guide.edges, true_ab) == pytest.approx(100)
    moved = np.empty_like(true_ab)
    moved[:, : SIDE // 2 + 2], moved[:, SIDE // 2 + 2 :] = true_ab[0, 0], true_ab[0, -1]
    assert failure_metrics.edge_f1(guide.edges, moved) == pytest.approx(100)
    assert failure_metrics.edge_f1(guide.edges, np.zeros_like(true_ab)) == 0
    far = np.empty_like(true_ab)
    far[:, :10], far[:, 10:] = true_ab[0, 0], true_ab[0, -1]
    assert failure_metrics.edge_f1(guide.edges, far) == 0


def test_a_photo_without_edges_says_nothing_of_them() -> None:
    flat = np.zeros((SIDE, SIDE, 2))
    edges = failure_metrics.color_edges(flat)
    assert np.isnan(failure_metrics.bleeding(edges, flat))
    assert np.isnan(failure_metrics.edge_f1(edges, flat))


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (12, 12)])
def test_small_photos_are_measured_where_they_can_be(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    lightness = 100 * torch.rand(2, 1, *shape, generator=generator)
    ab = 40 * torch.randn(2, 2, *shape, generator=generator)
    guides = failure_metrics.truth_features_of(lightness, ab)
    found = failure_metrics.measure(guides, ab, ab, metrics.nearest_bin(ab))
    assert found["within_20"].sum() == ab[:, 0].numel()
    assert found["patchiness"].tolist() == [0, 0]
    assert all(len(values) == 2 for values in found.values())
