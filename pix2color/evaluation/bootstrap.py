"""What is kept of every photo, the figures that follow from it, and their intervals.

A figure is a function of how often each photo counts: once for its value, as often as a resample
drew it for its interval. Because all rows share the resamples, intervals of gains are paired, and
figures that pool pixels over photos (rebalanced AuC) or divide means (ratios) need no special case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import torch

from pix2color.evaluation import cast, metrics
from pix2color.evaluation.frechet import frechet_distance

Array = npt.NDArray[np.float64]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class MetricInfo:
    """How a figure is shown."""

    title: str
    unit: str = ""
    digits: int = 2
    better: str = ""
    """higher | lower | empty where neither is."""


METRICS: dict[str, MetricInfo] = {
    "auc": MetricInfo("AuC", "%", 2, "higher"),
    "auc_rebalanced": MetricInfo("AuC rebalanced", "%", 2, "higher"),
    "auc_half": MetricInfo("AuC, lambda 0.5", "%", 2, "higher"),
    "psnr": MetricInfo("PSNR", "dB", 2, "higher"),
    "psnr_lab": MetricInfo("PSNR of Lab", "dB", 2, "higher"),
    "ssim": MetricInfo("SSIM", "", 4, "higher"),
    "lpips": MetricInfo("LPIPS", "", 4, "lower"),
    "lpips_change": MetricInfo("LPIPS against gray", "%", 1, "lower"),
    "cast": MetricInfo("cast", "%", 2, "lower"),
    "fd": MetricInfo("FD", "", 2, "lower"),
    "colorfulness": MetricInfo("colorfulness CF", "", 2),
    "colorfulness_lab": MetricInfo("colorfulness in Lab", "", 2),
    "colorfulness_ratio": MetricInfo("CF / truth", "", 3),
    "colorfulness_lab_ratio": MetricInfo("Lab form / truth", "", 3),
    "top1": MetricInfo("top-1", "%", 1, "higher"),
    "top5": MetricInfo("top-5", "%", 1, "higher"),
    "top1_won_back": MetricInfo("top-1 gap won back", "%", 1, "higher"),
    "top5_won_back": MetricInfo("top-5 gap won back", "%", 1, "higher"),
    "larger_agrees": MetricInfo("larger of a, b agrees", "%", 2, "higher"),
    "closeness": MetricInfo("1 - mean error / 256", "%", 2, "higher"),
    "rare_recall": MetricInfo("rare colors found", "%", 2, "higher"),
    "divergence": MetricInfo("JS divergence of colors", "nats", 4, "lower"),
    "chroma_ratio": MetricInfo("chroma / truth", "", 3),
    "spread_ratio": MetricInfo("spread / truth", "", 3),
    "patchiness": MetricInfo("patchiness in segments", "ab", 2, "lower"),
    "flip_difference": MetricInfo("change when mirrored", "ab", 2, "lower"),
    "border": MetricInfo("error at the border - inside", "ab", 2, "lower"),
    "contour": MetricInfo("error at contours - elsewhere", "ab", 2, "lower"),
    "bleeding": MetricInfo("contrast leaked at edges", "%", 1, "lower"),
    "edge_f1": MetricInfo("F1 of color edges", "%", 1, "higher"),
}
"""Every figure that can occur, in the order of the tables."""
FAILURES = tuple(METRICS)[tuple(METRICS).index("rare_recall") :]
"""The measures of the five failures, which stand in a table of their own."""
READINGS = ("larger_agrees", "auc", "closeness")
"""What an accuracy of colors that is reported without a definition may mean."""

_PERCENT = {"top1", "top5"}
_RATIOS = {
    "colorfulness_ratio": "colorfulness",
    "colorfulness_lab_ratio": "colorfulness_lab",
}
_POOLED = {"chroma_ratio": ("chroma", "chroma_true")}


def lower_is_better(name: str) -> bool:
    """Whether less of a figure is better; `score`, which only a validation has, is not in FIGURES
    and higher is better."""
    return name in METRICS and METRICS[name].better == "lower"


@dataclass(frozen=True)
class PerPhotoMetrics:
    """One row's figures of every photo; N photos."""

    values: dict[str, Array]
    """name -> N; NaN where a photo has none (no class, too small a picture)."""
    sums: dict[str, npt.NDArray[np.floating]] = field(default_factory=dict)
    """name -> N,K: what is pooled over photos before there is a figure: sums over each photo's
    pixels by bin (K 313) or by cell of `cast` (K 70), and features of FD."""

    def select(self, photos: npt.NDArray[np.intp]) -> PerPhotoMetrics:
        """The same of some photos, by index."""
        return PerPhotoMetrics(
            {name: v[photos] for name, v in self.values.items()},
            {name: v[photos] for name, v in self.sums.items()},
        )


@dataclass(frozen=True)
class ConfidenceInterval:
    """A figure with its bootstrap interval, which contains it; NaN where there is none."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """Plain values; what is not a number becomes null."""
        names = ("value", "low", "high")
        return {n: _finite(getattr(self, n)) for n in names}


def bootstrap_weights(photos: int, *, resamples: int, seed: int) -> Array:
    """How often each photo counts: 1 + resamples, photos; the first row is all ones."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(photos, np.full(photos, 1 / photos), size=resamples)
    return np.concatenate((np.ones((1, photos)), drawn)).astype(np.float64)


def figures(
    row: PerPhotoMetrics,
    weights: Array,
    *,
    gray: PerPhotoMetrics,
    truth: PerPhotoMetrics,
    prior: Array | None = None,
) -> dict[str, Array]:
    """Every figure of a row for every drawing.

    Args:
        row: of what is measured.
        weights: D,N as `draws` gives them.
        gray, truth: of the same photos; ratios and shares refer to them.
        prior: 313 probabilities for `auc_half`; None leaves it out.

    Returns:
        name -> D, in the order of FIGURES. FD is of the set itself and NaN for resamples:
        photos that repeat change it by themselves.
    """
    means = {name: _mean(v, weights) for name, v in row.values.items()}
    out = {name: 100 * v if name in _PERCENT else v for name, v in means.items()}
    out |= _auc_figures(row, truth, weights, prior)
    for name, of in _RATIOS.items():
        out[name] = _divide(means[of], _mean(truth.values[of], weights))
    if "lpips" in means:
        of_gray = _mean(gray.values["lpips"], weights)
        out["lpips_change"] = 100 * (_divide(means["lpips"], of_gray) - 1)
    for name in _PERCENT & means.keys():
        floor, ceiling = (_mean(other.values[name], weights) for other in (gray, truth))
        out[f"{name}_won_back"] = 100 * _divide(means[name] - floor, ceiling - floor)
    for name, (part, whole) in _POOLED.items():
        if part in means:
            out[name] = _divide(means[part], means[whole])
    if "cells" in row.sums:
        out["cast"] = cast.cast(weights @ row.sums["cells"], weights @ truth.sums["cells"])
    if "features" in row.sums:
        out["fd"] = _of_the_set(
            frechet_distance(row.sums["features"], truth.sums["features"]), len(weights)
        )
    if "near" in row.sums:
        out |= _failure_figures(row, truth, weights)
    return {name: out[name] for name in METRICS if name in out}


def intervals(values: Mapping[str, Array]) -> dict[str, ConfidenceInterval]:
    """Value and interval of each figure: `figures` -> name -> Interval.

    Bias-corrected percentiles (Efron 1981): a resample holds fewer different photos than the set,
    so that the rebalanced AuC averages fewer bins in it; plain percentiles would lie to one side.
    """
    return {name: _interval(drawn) for name, drawn in values.items()}


def bins(truth: PerPhotoMetrics) -> int:
    """How many bins the rebalanced AuC of these photos averages."""
    counts = torch.from_numpy(truth.sums["counts"].sum(0))
    return int(metrics.auc_rebalanced(counts, counts)[1])


def color_shares(row: PerPhotoMetrics) -> Array:
    """The shares of all pixels in the cells of `cast`: 10,7; darkest band first."""
    return cast.shares(row.sums["cells"].sum(0)).reshape(cast.BANDS, len(cast.KINDS))


def _auc_figures(
    row: PerPhotoMetrics, truth: PerPhotoMetrics, weights: Array, prior: Array | None
) -> dict[str, Array]:
    scores = torch.from_numpy(weights @ row.sums["scores"])
    counts = torch.from_numpy(weights @ truth.sums["counts"])
    out = {"auc_rebalanced": metrics.auc_rebalanced(scores, counts)[0].numpy()}
    if prior is not None:
        mixed = torch.from_numpy(1 / (0.5 * prior + 0.5 / len(prior)))
        out["auc_half"] = metrics.auc_weighted(scores, counts, mixed).numpy()
    return out


def _failure_figures(
    row: PerPhotoMetrics, truth: PerPhotoMetrics, weights: Array
) -> dict[str, Array]:
    from pix2color.evaluation import failure_metrics

    counts = weights @ truth.sums["counts"]
    return {
        "rare_recall": failure_metrics.rare_recall(weights @ row.sums["near"], counts),
        "divergence": failure_metrics.js_divergence(weights @ row.sums["predicted"], counts),
    }


def _of_the_set(value: float, drawings: int) -> Array:
    """The value for the first drawing, which is the set itself; NaN for the others."""
    out = np.full(drawings, np.nan)
    out[0] = value
    return out


def _mean(values: Array, weights: Array) -> Array:
    """Mean over the photos that have the figure, for every drawing: N and D,N -> D."""
    has = np.isfinite(values)
    return _divide(weights[:, has] @ values[has], weights[:, has].sum(1))


def _divide(above: Array, below: Array) -> Array:
    """above / below, NaN where there is nothing to divide by."""
    out = np.full(np.broadcast(above, below).shape, np.nan)
    return np.divide(above, below, out=out, where=np.abs(below) > 1e-12)


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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
