"""Hints spread to what belongs together.

What is solved for is the change of color that the hints ask for, not color itself: where nothing
asks, the network's guess stays. The change is pinned at the hints, smooth between cells that look
alike (Levin, Lischinski and Weiss 2004, with the network's features beside L), repeated weakly
where the features are those of a hint, and drawn to zero everywhere else, so that it fades: a
screened Poisson equation, solved by conjugate gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pix2color.inference.prediction import Prediction

Floats = NDArray[np.float32]


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


_HINT_WEIGHT = 100.0  # pull of a hint
_STEPS = 600
_ACCURACY = 1e-4


def propagate_hints(
    guess: Prediction,
    ab: Tensor,
    share: Floats,
    wanted: Floats,
    how: PropagationParams | None = None,
) -> Floats:
    """The guess's colors with hints spread over them.

    Args:
        guess: with features.
        ab: 2,h,w, the colors as decoded.
        share: h,w in 0..1, the part of each cell that is hinted.
        wanted: 2,h,w, the hints' colors there.
        how: None: as chosen.

    Returns:
        ab: 2,h,w.
    """
    from scipy.sparse.linalg import cg

    how = how or PropagationParams()
    if guess.features is None:
        raise ValueError("hints need the guess's features")
    own = ab.numpy()
    if not share.any():
        return own
    looks = _looks(guess.features)  # h,w,F
    change = (wanted - own) * (share > 0)
    echo, echoed = _recall(looks, share, change, how)
    pull = _HINT_WEIGHT * share + echo + how.regularization
    matrix = _laplacian(looks, guess.cell_lightness(), how)
    matrix = matrix + _diagonal(pull.ravel())
    inverse = _diagonal(1 / matrix.diagonal())
    found = np.empty_like(own)
    for channel in range(2):
        right = (_HINT_WEIGHT * share * change[channel] + echo * echoed[channel]).ravel()
        solved, _ = cg(matrix, right, rtol=_ACCURACY, maxiter=_STEPS, M=inverse)
        found[channel] = solved.reshape(share.shape)
    return (own + found).astype(np.float32)


def _looks(features: Tensor) -> Floats:
    """Features centerd over the photo, of length 1: h,w,F."""
    looks = features.permute(1, 2, 0).numpy()
    looks = looks - looks.mean(axis=(0, 1))
    looks = looks / np.maximum(looks.std(axis=(0, 1)), 1e-6)
    length = np.linalg.norm(looks, axis=-1, keepdims=True)
    return (looks / np.maximum(length, 1e-6)).astype(np.float32)


def _diagonal(values: NDArray[Any]) -> Any:
    from scipy.sparse import diags

    return diags(values.astype(np.float64)).tocsr()


def _laplacian(looks: Floats, cells: Floats, how: PropagationParams) -> Any:
    """The Laplacian of the graph of cells and their eight neighbors."""
    from scipy.sparse import coo_matrix

    rows, columns = cells.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    ones, others, weights = [], [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, rows - dy), slice(max(0, -dx), columns - max(0, dx)))
        there = (slice(dy, rows), slice(max(0, dx), columns + min(0, dx)))
        light = (cells[here] - cells[there]) / how.lightness_sigma
        look = np.linalg.norm(looks[here] - looks[there], axis=-1) / how.feature_sigma
        weight = np.exp(-0.5 * (light**2 + look**2)) / (2**0.5 if dx and dy else 1)
        ones.append(index[here].ravel())
        others.append(index[there].ravel())
        weights.append(weight.ravel())
    i, j, w = (np.concatenate(parts) for parts in (ones, others, weights))
    shape = (index.size, index.size)
    both = (np.concatenate((i, j)), np.concatenate((j, i)))
    tied = coo_matrix((np.concatenate((w, w)).astype(np.float64), both), shape=shape).tocsr()
    return _diagonal(np.asarray(tied.sum(axis=1)).ravel()) - tied


def _recall(
    looks: Floats, share: Floats, change: Floats, how: PropagationParams
) -> tuple[Floats, Floats]:
    """For every cell: how strongly hints elsewhere speak for it, and what they say (h,w; 2,h,w)."""
    rows, columns = share.shape
    ys, xs = np.nonzero(share > 0)
    pinned = looks[ys, xs]  # m,F
    squared = np.maximum(2 - 2 * looks.reshape(-1, looks.shape[-1]) @ pinned.T, 0)  # n,m
    y, x = np.divmod(np.arange(rows * columns), columns)
    apart = (y[:, None] - ys) ** 2 + (x[:, None] - xs) ** 2
    reach = (how.spatial_sigma * max(rows, columns)) ** 2
    tie = np.exp(-0.5 * (squared / how.recall_sigma**2 + apart / reach)) * share[ys, xs]
    said = tie @ change[:, ys, xs].T / np.maximum(tie.sum(1, keepdims=True), 1e-9)
    strength = how.recall_weight * tie.max(axis=1)
    return strength.reshape(rows, columns).astype(np.float32), said.T.reshape(2, rows, columns)
