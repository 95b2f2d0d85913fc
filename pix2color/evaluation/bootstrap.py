"""Per-photo metrics and bootstrap confidence intervals of the metrics of a set.

A metric of a set is a function of how often each photo counts: once for its value, as often as a
resample drew it for its interval. All methods share the resamples, so intervals of gains are
paired, and metrics that pool pixels over photos (rebalanced AuC) or divide means (ratios) need no
special case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import torch

from pix2color.evaluation import cast, failure_metrics, metrics
from pix2color.evaluation.frechet import frechet_distance
from pix2color.evaluation.registry import METRICS

Array = npt.NDArray[np.float64]
CONFIDENCE = 0.95


_PERCENT = {"top1", "top5"}
_RATIOS = {
    "colorfulness_ratio": "colorfulness",
    "colorfulness_lab_ratio": "colorfulness_lab",
    "skin_chroma_ratio": "skin_chroma",
}


@dataclass(frozen=True)
class PerPhotoMetrics:
    """One method's metrics of each of N photos."""

    values: Mapping[str, Array]
    """name -> N; NaN where a photo has none (no class, too small an image)."""
    sums: Mapping[str, npt.NDArray[np.floating]] = field(default_factory=dict)
    """name -> N,K, to be pooled over photos: sums over each photo's pixels by bin (K 313) or by
    cell of `cast` (K 70), and features of FD."""

    def select(self, photos: npt.NDArray[np.intp]) -> PerPhotoMetrics:
        """The metrics of some photos, by index."""
        return PerPhotoMetrics(
            {name: v[photos] for name, v in self.values.items()},
            {name: v[photos] for name, v in self.sums.items()},
        )


@dataclass(frozen=True)
class ConfidenceInterval:
    """A value with its bootstrap interval, which contains it; NaN where there is none."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """Plain values; NaN becomes null."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {name: end if math.isfinite(end) else None for name, end in ends.items()}


def bootstrap_weights(photos: int, *, resamples: int, seed: int) -> Array:
    """How often each photo counts in each resample.

    Returns:
        1 + resamples, photos; the first row is all ones: the set itself.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(photos, np.full(photos, 1 / photos), size=resamples)
    return np.concatenate((np.ones((1, photos)), drawn)).astype(np.float64)


def resampled_metrics(
    of: PerPhotoMetrics,
    weights: Array,
    *,
    gray: PerPhotoMetrics,
    truth: PerPhotoMetrics,
    prior: Array | None = None,
) -> dict[str, Array]:
    """Every metric of a method for every resample.

    Args:
        of: the method's metrics of N photos.
        weights: D,N from `bootstrap_weights`.
        gray, truth: of the same photos; ratios and recovered gaps refer to them.
        prior: 313 probabilities for `auc_half`; None leaves it out.

    Returns:
        name -> D, in the order of METRICS. FD is of the set itself and NaN for resamples, because
        repeated photos alone change it.
    """
    means = {name: _mean(values, weights) for name, values in of.values.items()}
    out = {name: 100 * mean if name in _PERCENT else mean for name, mean in means.items()}
    out |= _auc_metrics(of, truth, weights, prior)
    for ratio, name in _RATIOS.items():
        if name in means:
            out[ratio] = _divide(means[name], _mean(truth.values[name], weights))
    out["colorfulness_difference"] = np.abs(
        means["colorfulness"] - _mean(truth.values["colorfulness"], weights)
    )
    if "lpips" in means:
        gray_mean = _mean(gray.values["lpips"], weights)
        out["lpips_change"] = 100 * (_divide(means["lpips"], gray_mean) - 1)
    if "skin_auc" in means:
        error, gray_error = (
            100 - mean for mean in (means["skin_auc"], _mean(gray.values["skin_auc"], weights))
        )
        out["skin_error_ratio"] = _divide(error, gray_error)
    for name in _PERCENT & means.keys():
        low, high = (_mean(end.values[name], weights) for end in (gray, truth))
        out[f"{name}_recovered"] = 100 * _divide(means[name] - low, high - low)
    if "chroma" in means:
        out["chroma_ratio"] = _divide(means["chroma"], means["chroma_true"])
    if "cells" in of.sums:
        out["cast"] = cast.cast(weights @ of.sums["cells"], weights @ truth.sums["cells"])
    if "features" in of.sums:
        out["fd"] = np.full(len(weights), np.nan)
        out["fd"][0] = frechet_distance(of.sums["features"], truth.sums["features"])
    if "within_20" in of.sums:
        counts = weights @ truth.sums["counts"]
        out["rare_recall"] = failure_metrics.rare_recall(weights @ of.sums["within_20"], counts)
        predicted = weights @ of.sums["predicted"]
        out["js_divergence"] = failure_metrics.js_divergence(predicted, counts)
    return {name: out[name] for name in METRICS if name in out}


def intervals(values: Mapping[str, Array]) -> dict[str, ConfidenceInterval]:
    """Value and interval of each metric of `resampled_metrics`.

    Bias-corrected percentiles (Efron 1981): a resample holds fewer different photos than the set,
    so the rebalanced AuC averages fewer bins in it, and plain percentiles would be biased.
    """
    return {name: _interval(drawn) for name, drawn in values.items()}


def num_bins(truth: PerPhotoMetrics) -> int:
    """How many bins the rebalanced AuC of these photos averages."""
    counts = torch.from_numpy(truth.sums["counts"].sum(0))
    return int(metrics.auc_rebalanced(counts, counts)[1])


def color_shares(of: PerPhotoMetrics) -> Array:
    """The shares of all pixels in the cells of `cast`: 10,7; darkest band first."""
    return cast.shares(of.sums["cells"].sum(0)).reshape(cast.BANDS, len(cast.KINDS))


def _auc_metrics(
    of: PerPhotoMetrics, truth: PerPhotoMetrics, weights: Array, prior: Array | None
) -> dict[str, Array]:
    scores = torch.from_numpy(weights @ of.sums["scores"])
    counts = torch.from_numpy(weights @ truth.sums["counts"])
    out = {"auc_rebalanced": metrics.auc_rebalanced(scores, counts)[0].numpy()}
    if prior is not None:
        mixed = torch.from_numpy(1 / (0.5 * prior + 0.5 / len(prior)))
        out["auc_half"] = metrics.auc_weighted(scores, counts, mixed).numpy()
    return out


def _mean(values: Array, weights: Array) -> Array:
    """Mean over the photos that have a value, for every resample: N and D,N -> D."""
    finite = np.isfinite(values)
    return _divide(weights[:, finite] @ values[finite], weights[:, finite].sum(1))


def _divide(numerator: Array, denominator: Array) -> Array:
    """The ratio; NaN where the denominator is 0."""
    out = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=np.abs(denominator) > 1e-12)


def _interval(drawn: Array) -> ConfidenceInterval:
    value, resampled = float(drawn[0]), drawn[1:][np.isfinite(drawn[1:])]
    if not resampled.size or not math.isfinite(value):
        return ConfidenceInterval(value, math.nan, math.nan)
    normal = NormalDist()
    below = (np.sum(resampled < value) + np.sum(resampled == value) / 2) / resampled.size
    least = 0.5 / resampled.size
    bias = normal.inv_cdf(min(max(float(below), least), 1 - least))
    tail = normal.inv_cdf((1 - CONFIDENCE) / 2)
    shares = [normal.cdf(2 * bias + z) for z in (tail, -tail)]
    low, high = (float(x) for x in np.quantile(resampled, shares))
    return ConfidenceInterval(value, min(low, value), max(high, value))
