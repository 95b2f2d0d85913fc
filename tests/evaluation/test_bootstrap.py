"""Figures of sets of photos and their intervals, against scipy's bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from pix2color.color import ab_bins
from pix2color.evaluation import bootstrap, cast, metrics
from pix2color.evaluation.bootstrap import PerPhotoMetrics
from pix2color.evaluation.frechet import frechet_distance
from pix2color.evaluation.registry import METRICS

PHOTOS = 60


def _made(seed: int, *, quality: float) -> PerPhotoMetrics:
    """Photos whose figures spread, and whose pixels fall into few bins."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((PHOTOS, ab_bins.COUNT))
    counts[:, :8] = rng.integers(1, 200, (PHOTOS, 8))
    shares = np.clip(quality + 0.1 * rng.standard_normal(counts.shape), 0, 1)
    values = {
        "auc": 100 * quality + rng.gamma(2.0, 2.0, PHOTOS),
        "colorfulness": rng.gamma(4.0, 10.0 * quality, PHOTOS),
        "colorfulness_lab": rng.gamma(4.0, 5.0 * quality, PHOTOS),
        "lpips": rng.gamma(4.0, 0.05 * (1.1 - quality), PHOTOS),
        "top1": (rng.random(PHOTOS) < quality).astype(float),
    }
    cells = rng.integers(1, 100, (PHOTOS, cast.CELLS)) * rng.gamma(1.0, 1.0, (1, cast.CELLS))
    features = rng.standard_normal((PHOTOS, 5)) + quality
    sums = {"scores": counts * shares, "counts": counts, "cells": cells, "features": features}
    return PerPhotoMetrics(values, sums)


@pytest.fixture(scope="module")
def truth() -> PerPhotoMetrics:
    return _made(0, quality=1.0)


@pytest.fixture(scope="module")
def gray() -> PerPhotoMetrics:
    return _made(1, quality=0.4)


@pytest.fixture(scope="module")
def row(truth: PerPhotoMetrics) -> PerPhotoMetrics:
    made = _made(2, quality=0.7)
    return PerPhotoMetrics(made.values, {**made.sums, "scores": 0.7 * truth.sums["counts"]})


def test_the_first_drawing_is_the_set_itself(
    row: PerPhotoMetrics, truth: PerPhotoMetrics, gray: PerPhotoMetrics
) -> None:
    weights = bootstrap.bootstrap_weights(PHOTOS, resamples=3, seed=0)
    found = bootstrap.resampled_metrics(row, weights, gray=gray, truth=truth)
    assert found["auc"][0] == pytest.approx(row.values["auc"].mean())
    assert found["top1"][0] == pytest.approx(100 * row.values["top1"].mean())
    assert found["colorfulness_ratio"][0] == pytest.approx(
        row.values["colorfulness"].mean() / truth.values["colorfulness"].mean()
    )
    assert found["auc_rebalanced"][0] == pytest.approx(70.0)
    change = row.values["lpips"].mean() / gray.values["lpips"].mean() - 1
    assert found["lpips_change"][0] == pytest.approx(100 * change)
    won = [x.values["top1"].mean() for x in (row, gray, truth)]
    assert found["top1_recovered"][0] == pytest.approx(100 * (won[0] - won[1]) / (won[2] - won[1]))
    assert list(found) == [name for name in METRICS if name in found]


def test_draws_are_resamples_with_replacement() -> None:
    weights = bootstrap.bootstrap_weights(PHOTOS, resamples=50, seed=1)
    assert weights.shape == (51, PHOTOS)
    assert (weights.sum(1) == PHOTOS).all()
    assert np.array_equal(weights, bootstrap.bootstrap_weights(PHOTOS, resamples=50, seed=1))


def test_an_interval_of_a_mean_is_scipys(
    row: PerPhotoMetrics, truth: PerPhotoMetrics, gray: PerPhotoMetrics
) -> None:
    weights = bootstrap.bootstrap_weights(PHOTOS, resamples=4000, seed=0)
    for name in ("auc", "colorfulness", "lpips"):
        found = bootstrap.intervals(
            bootstrap.resampled_metrics(row, weights, gray=gray, truth=truth)
        )[name]
        expected = stats.bootstrap((row.values[name],), np.mean, n_resamples=4000)
        width = expected.confidence_interval.high - expected.confidence_interval.low
        assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.15 * width)
        assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.15 * width)


def test_an_interval_of_the_rebalanced_auc_is_scipys(
    truth: PerPhotoMetrics, gray: PerPhotoMetrics
) -> None:
    weights = bootstrap.bootstrap_weights(PHOTOS, resamples=2000, seed=0)
    one = PerPhotoMetrics(gray.values, {"scores": gray.sums["scores"]})
    counts = gray.sums["counts"]
    found = bootstrap.intervals(
        bootstrap.resampled_metrics(
            one, weights, gray=gray, truth=PerPhotoMetrics(truth.values, {"counts": counts})
        )
    )["auc_rebalanced"]

    def statistic(chosen: np.ndarray) -> float:
        scores = torch.from_numpy(gray.sums["scores"][chosen.astype(int)].sum(0))
        pixels = torch.from_numpy(counts[chosen.astype(int)].sum(0))
        return float(metrics.auc_rebalanced(scores, pixels)[0])

    expected = stats.bootstrap(
        (np.arange(PHOTOS),), statistic, n_resamples=1000, vectorized=False
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.2 * width)
    assert found.high == pytest.approx(expected.high, abs=0.2 * width)


def test_cast_is_of_the_pooled_pixels_and_its_interval_is_scipys(
    row: PerPhotoMetrics, truth: PerPhotoMetrics, gray: PerPhotoMetrics
) -> None:
    weights = bootstrap.bootstrap_weights(PHOTOS, resamples=2000, seed=0)
    found = bootstrap.intervals(bootstrap.resampled_metrics(row, weights, gray=gray, truth=truth))[
        "cast"
    ]

    def statistic(chosen: np.ndarray) -> float:
        index = chosen.astype(int)
        return float(cast.cast(row.sums["cells"][index].sum(0), truth.sums["cells"][index].sum(0)))

    assert found.value == pytest.approx(statistic(np.arange(PHOTOS)))
    expected = stats.bootstrap(
        (np.arange(PHOTOS),), statistic, n_resamples=1000, vectorized=False
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.2 * width)
    assert found.high == pytest.approx(expected.high, abs=0.2 * width)


def test_fd_is_of_the_set_and_has_no_interval(
    row: PerPhotoMetrics, truth: PerPhotoMetrics, gray: PerPhotoMetrics
) -> None:
    weights = bootstrap.bootstrap_weights(PHOTOS, resamples=20, seed=0)
    found = bootstrap.intervals(bootstrap.resampled_metrics(row, weights, gray=gray, truth=truth))[
        "fd"
    ]
    expected = frechet_distance(row.sums["features"], truth.sums["features"])
    assert found.value == pytest.approx(expected)
    assert np.isnan([found.low, found.high]).all()


def test_photos_without_a_figure_do_not_count(
    truth: PerPhotoMetrics, gray: PerPhotoMetrics
) -> None:
    values = {name: v.copy() for name, v in gray.values.items()}
    values["top1"][:] = np.nan
    values["top1"][:4] = (1, 0, 0, 1)
    weights = bootstrap.bootstrap_weights(PHOTOS, resamples=200, seed=0)
    found = bootstrap.resampled_metrics(
        PerPhotoMetrics(values, gray.sums), weights, gray=gray, truth=truth
    )
    assert found["top1"][0] == 50


def test_one_photo_has_a_value_and_no_width() -> None:
    found = bootstrap.intervals({"auc": np.full(11, 88.0)})["auc"]
    assert (found.value, found.low, found.high) == (88.0, 88.0, 88.0)


def test_what_is_no_number_becomes_null() -> None:
    found = bootstrap.intervals({"auc": np.full(11, np.nan)})["auc"]
    assert found.as_json() == {"value": None, "low": None, "high": None}


def test_an_interval_contains_its_figure_even_where_every_resample_lies_above() -> None:
    found = bootstrap.intervals({"js_divergence": np.array([0.0, *np.linspace(0.1, 0.2, 100)])})
    assert found["js_divergence"].low == 0.0
