"""Scene cuts: where one shot of a video ends and the next begins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_ROWS, _COLUMNS = 18, 24  # cells whose means are compared
_MIN_CORRELATION = 0.1  # below it, there is a cut whatever the histograms
_SAFE_CORRELATION = 0.5  # from it on, there is none
_MIN_OVERLAP = 0.75  # of the histograms; below it, correlations between the two are a cut
_BIN_WIDTH = 5.0  # of the histogram, in L


def is_cut(before: Floats, after: Floats) -> bool:
    """Whether a new shot begins with `after`.

    Frames of one shot correlate when they are reduced to a few cells, and where something large
    moves quickly their histograms still overlap. The brightness and contrast of a whole frame are
    ignored, because old films flicker.

    Args:
        before, after: H,W in L, of any small size.
    """
    one, two = (_standardize(_cell_means(frame)) for frame in (before, after))
    correlation = float((one * two).mean())
    if correlation < _MIN_CORRELATION:
        return True
    return correlation < _SAFE_CORRELATION and _histogram_overlap(before, after) < _MIN_OVERLAP


def _cell_means(frame: Floats) -> Floats:
    """Means over about _ROWS x _COLUMNS cells."""
    for axis, count in enumerate((_ROWS, _COLUMNS)):
        starts = np.unique(np.linspace(0, frame.shape[axis], count + 1).astype(int)[:-1])
        sizes = np.diff(np.append(starts, frame.shape[axis]))
        sums = np.add.reduceat(frame, starts, axis=axis)
        frame = np.asarray(sums / (sizes[:, None] if axis == 0 else sizes), np.float32)
    return frame


def _standardize(frame: Floats) -> Floats:
    """Mean 0, standard deviation 1; a flat frame becomes zeros, which correlate with nothing."""
    centered = frame - frame.mean()
    return np.asarray(centered / max(float(centered.std()), 1.0), np.float32)


def _histogram_overlap(before: Floats, after: Floats) -> float:
    """The common share of the two histograms of L around its mean: 0..1."""
    edges = np.arange(-100, 100 + _BIN_WIDTH, _BIN_WIDTH)
    counts = [np.histogram(f - f.mean(), edges)[0] / f.size for f in (before, after)]
    return float(np.minimum(*counts).sum())
