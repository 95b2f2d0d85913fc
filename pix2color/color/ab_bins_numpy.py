"""The 313 color bins in numpy: their centers, soft encoding and decoding.

Bins are the points of a grid of step 10 in (a, b) that Zhang, Isola and Efros (Colorful Image
Colorization, ECCV 2016) found in ImageNet, in their published order: a ascending, then b. Colors
are in Lab units. `ab_bins` has the same for torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pix2color import bands

Floats = NDArray[np.float32]

STEP = 10
SIGMA = 5.0
"""Standard deviation of the soft encoding's Gaussian, in Lab units."""
_FIRST_A = -90
_B_RANGES = (
    (50, 90), (20, 90), (0, 90), (-20, 90), (-30, 100), (-40, 100), (-50, 100), (-50, 100),
    (-60, 100), (-70, 100), (-80, 90), (-80, 90), (-90, 90), (-100, 90), (-100, 80), (-110, 80),
    (-110, 80), (-110, 70), (-110, 70), (-90, 0),
)  # fmt: skip
"""First and last b of the rows a = -90, -80, ..., 100."""
BIN_CENTERS = np.array(
    [
        (_FIRST_A + STEP * row, b)
        for row, (first, last) in enumerate(_B_RANGES)
        for b in range(first, last + 1, STEP)
    ],
    np.float32,
)
"""313,2 (a, b). Shared: read-only."""
BIN_CENTERS.flags.writeable = False
COUNT = len(BIN_CENTERS)
_BAND_CELLS = 512  # decoded at a time: their 313 values each fit a core's cache
MARGINAL_BINS, MARGINAL_BIN_WIDTH, MARGINAL_MIN_AB = 64, 4.0, -128.0
"""Classes of `MarginalClassHead` for a and for b each, their width, and the first one's edge."""


def soft_encode(ab: Floats, *, neighbors: int = 5) -> tuple[NDArray[np.intp], Floats]:
    """Spread colors over their nearest bins, weight exp(-d^2 / (2 SIGMA^2)), sum 1.

    Zhang et al. 2016, section 2.2. All 313 distances are computed: this is for thousands of
    colors; `ab_bins.soft_encode` is for millions.

    Args:
        ab: N,2.
        neighbors: K, at most 313.

    Returns:
        Bins N,K, nearest first, ties in the published order; and their weights N,K.
    """
    squared = np.square(ab[:, None] - BIN_CENTERS).sum(-1)
    index = np.argsort(squared, axis=1, kind="stable")[:, :neighbors]
    near = np.take_along_axis(squared, index, 1)
    weight = softmax(near * np.float32(-0.5 / SIGMA**2), axis=1)
    return index, weight


def nearest_bin(ab: Floats) -> NDArray[np.intp]:
    """The index of each color's nearest bin: N,2 -> N; ties go to the first."""
    return np.square(ab[:, None] - BIN_CENTERS).sum(-1).argmin(1)


def annealed_mean(
    logits: Floats, *, temperature: float, log_prior: Floats | None = None, vividness: float = 0.0
) -> Floats:
    """The mean color of softmax((logits - vividness * log p) / T): 313,h,w -> 2,h,w.

    Zhang et al. 2016, equation 5; T = 1 is the expectation, T -> 0 the mode. Post-hoc logit
    adjustment: Menon et al. 2021 (Long-tail learning via logit adjustment), equation 9; a
    share of the prior is taken away, which favors rare, vivid colors.

    Args:
        log_prior: 313, the logarithm of p; needed where vividness is not 0.
    """
    removed: Floats = np.zeros((1, 1, 1), np.float32)
    if vividness:
        if log_prior is None:
            raise ValueError("vividness needs the log prior")
        removed = (np.float32(vividness) * log_prior)[:, None, None]
    out = np.empty((2, *logits.shape[1:]), np.float32)

    def band(rows: slice) -> None:
        adjusted = logits[:, rows] - removed
        # The maximum is taken away first: what decides is then near 0 and rounded least.
        adjusted -= adjusted.max(axis=0)
        adjusted *= np.float32(1 / temperature)
        share = np.exp(adjusted, out=adjusted)
        # einsum and not matmul: BLAS would add in an order that depends on the number of threads.
        total = np.einsum("khw,kc->chw", share, BIN_CENTERS, dtype=np.float64, casting="same_kind")
        out[:, rows] = total / share.sum(axis=0, dtype=np.float64)

    bands.for_each_band(band, *logits.shape[1:], pixels=_BAND_CELLS)
    return out


def softmax(values: Floats, *, axis: int) -> Floats:
    """exp(values) / their sum along an axis."""
    exponent = np.exp(values - values.max(axis=axis, keepdims=True))
    exponent /= exponent.sum(axis=axis, keepdims=True)
    return exponent


def log_softmax(values: Floats, *, axis: int) -> Floats:
    """The logarithm of `softmax`."""
    shifted = values - values.max(axis=axis, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return shifted
