"""Hints spread over the parts of a photo that are alike.

The change of color is solved for, not color itself: where no hint applies, the network's prediction
stays. The change is pinned at the hints, smooth between cells that look alike (Levin, Lischinski
and Weiss 2004, with the network's features beside L), repeated weakly where the features are those
of a hint, and drawn to zero everywhere else, so that it fades: a screened Poisson equation, solved
by conjugate gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pix2color.inference.prediction import Floats, Prediction
from pix2color.inference.upsample import joint_bilateral_upsample


@dataclass(frozen=True)
class PropagationParams:
    """How far hints reach; chosen on validation photos (docs/inference.md)."""

    lightness_sigma: float = 8.0
    """Difference of L between neighbors at which their tie falls to 0.61."""
    feature_sigma: float = 0.35
    """Distance of features (of length 1) at which it does."""
    regularization: float = 0.001
    """Pull of every cell towards no change; ties are at most 1."""
    recall_weight: float = 0.1
    """Pull of a cell that looks like a hint towards the hint's change."""
    recall_sigma: float = 0.25
    """Distance of features at which that pull falls to 0.61."""
    spatial_sigma: float = 0.2
    """Distance at which it does, as a share of the photo's longer side."""


_MOST_CELLS = 20_000  # of a grid on which hints are spread; finer ones are joined first
_HINT_WEIGHT = 100.0  # pull of a hint
_MAX_STEPS = 600
_RTOL = 1e-4


def propagate_hints(
    prediction: Prediction,
    ab: Floats,
    coverage: Floats,
    hint_ab: Floats,
    params: PropagationParams | None = None,
) -> Floats:
    """The prediction's colors with hints spread over them.

    Args:
        prediction: with features.
        ab: 2,h,w, its colors as decoded.
        coverage: h,w in 0..1, the part of each cell that is hinted (`hints.rasterize`).
        hint_ab: 2,h,w, the hints' colors there.
        params: None: the defaults.

    Returns:
        ab: 2,h,w.
    """
    params = params or PropagationParams()
    if prediction.features is None:
        raise ValueError("hints need the prediction's features")
    if not coverage.any():
        return ab
    factor = _coarsening(coverage.shape)
    if factor > 1:
        cells = (prediction, prediction.features, ab, coverage, hint_ab)
        return ab + _coarse_change(*cells, params, factor)
    features = _normalized(prediction.features)
    change = (hint_ab - ab) * (coverage > 0)
    recall, recalled = _recall(features, coverage, change, params)
    pull = _HINT_WEIGHT * coverage + recall + params.regularization
    ties = _ties(features, prediction.cell_lightness(), params)
    result = np.empty_like(ab)
    for channel in range(2):
        right = _HINT_WEIGHT * coverage * change[channel] + recall * recalled[channel]
        result[channel] = ab[channel] + _solve(ties, pull.astype(np.float64), right)
    return result


def _coarsening(grid: tuple[int, ...]) -> int:
    """How many cells of a fine grid are joined to one along each axis: a power of 2."""
    factor = 1
    while math.prod(grid) > _MOST_CELLS * factor**2 and not any(n % (2 * factor) for n in grid):
        factor *= 2
    return factor


def _coarse_change(
    prediction: Prediction,
    features: Floats,
    ab: Floats,
    coverage: Floats,
    hint_ab: Floats,
    params: PropagationParams,
    factor: int,
) -> Floats:
    """The change of color by `propagate_hints` on joined cells, enlarged along edges: 2,h,w."""
    covered = _pooled(coverage, factor)
    hinted: Floats = _pooled(hint_ab * coverage, factor)
    hinted /= np.maximum(covered, 1e-6)
    blocks = coverage.reshape(covered.shape[0], factor, covered.shape[1], factor)
    small = _pooled(ab, factor)
    coarse = replace(prediction, values=small, features=_pooled(features, factor))
    change = propagate_hints(coarse, small, blocks.max(axis=(1, 3)), hinted, params) - small
    return joint_bilateral_upsample(change, coarse.cell_lightness(), prediction.cell_lightness())


def _pooled(planes: Floats, factor: int) -> Floats:
    """The mean of each factor x factor cells: ...,h,w -> ...,h/factor,w/factor."""
    *others, rows, columns = planes.shape
    blocks = planes.reshape(*others, rows // factor, factor, columns // factor, factor)
    return blocks.mean(axis=(-3, -1))


def _normalized(features: Floats) -> Floats:
    """F,h,w features -> h,w,F: standardized over the photo, then of length 1."""
    features = np.moveaxis(features, 0, -1)
    features = features - features.mean(axis=(0, 1))
    features = features / np.maximum(features.std(axis=(0, 1)), 1e-6)
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.maximum(length, 1e-6)


Slices = tuple[slice, slice]
Ties = list[tuple[Slices, Slices, NDArray[np.float64]]]


def _ties(features: Floats, lightness: Floats, params: PropagationParams) -> Ties:
    """How alike neighboring cells are: for four of eight directions, two sets of cells and 0..1.

    The first set's neighbors in that direction are the second, in the same order.
    """
    rows, columns = lightness.shape
    ties = []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, rows - dy), slice(max(0, -dx), columns - max(0, dx)))
        there = (slice(dy, rows), slice(max(0, dx), columns + min(0, dx)))
        light = (lightness[here] - lightness[there]) / params.lightness_sigma
        look = np.linalg.norm(features[here] - features[there], axis=-1) / params.feature_sigma
        weight = np.exp(-0.5 * (light**2 + look**2)) / (2**0.5 if dx and dy else 1)
        ties.append((here, there, weight.astype(np.float64)))
    return ties


def _solve(ties: Ties, pull: NDArray[np.float64], right: NDArray[Any]) -> NDArray[np.float64]:
    """x with (the Laplacian of the ties + the diagonal of `pull`) x = right: h,w each.

    Conjugate gradients with the diagonal as preconditioner.
    """
    diagonal = pull.copy()
    for here, there, weight in ties:
        diagonal[here] += weight
        diagonal[there] += weight

    def apply(x: NDArray[np.float64]) -> NDArray[np.float64]:
        out = diagonal * x
        for here, there, weight in ties:
            out[here] -= weight * x[there]
            out[there] -= weight * x[here]
        return out

    x = np.zeros_like(diagonal)
    residual = right.astype(np.float64)
    least = _RTOL * np.linalg.norm(residual)
    direction, before = x, 1.0
    for _ in range(_MAX_STEPS):
        if np.linalg.norm(residual) <= least:
            break
        scaled = residual / diagonal
        now = float((residual * scaled).sum())
        direction = scaled + now / before * direction
        product = apply(direction)
        step = now / float((direction * product).sum())
        x += step * direction
        residual -= step * product
        before = now
    return x


def _recall(
    features: Floats, coverage: Floats, change: Floats, params: PropagationParams
) -> tuple[Floats, Floats]:
    """For every cell: its pull towards hints elsewhere (h,w), and their change (2,h,w)."""
    rows, columns = coverage.shape
    ys, xs = np.nonzero(coverage > 0)
    hinted = features[ys, xs]  # m,F
    squared = np.maximum(2 - 2 * features.reshape(-1, features.shape[-1]) @ hinted.T, 0)  # n,m
    y, x = np.divmod(np.arange(rows * columns), columns)
    apart = (y[:, None] - ys) ** 2 + (x[:, None] - xs) ** 2
    reach = (params.spatial_sigma * max(rows, columns)) ** 2
    tie = np.exp(-0.5 * (squared / params.recall_sigma**2 + apart / reach)) * coverage[ys, xs]
    recalled = tie @ change[:, ys, xs].T / np.maximum(tie.sum(1, keepdims=True), 1e-9)
    strength = params.recall_weight * tie.max(axis=1)
    return strength.reshape(rows, columns).astype(np.float32), recalled.T.reshape(2, rows, columns)
