"""Cuts: where one shot of a film ends and the next begins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_ROWS, _COLUMNS = 18, 24  # cells in which two frames are compared
_UNLIKE = 0.5  # correlation below which frames of another histogram are of another shot
_STRANGE = 0.1  # correlation below which they are whatever their histogram
_SHARED = 0.75  # share of two histograms
_STEP = 5.0  # L a class of the histogram


def is_cut(before: Floats, after: Floats) -> bool:
    """Whether a new shot begins with `after`.

    Frames of one shot look alike when they are made very small, and where something large moves
    quickly their histograms still agree. Brightness and contrast of a whole frame count for
    nothing: old films flicker.

    Args:
        before, after: H,W in L, of any small size.
    """
    one, two = (_normal(_small(frame)) for frame in (before, after))
    alike = float((one * two).mean())
    if alike < _STRANGE:
        return True
    return alike < _UNLIKE and _shared(before, after) < _SHARED


def _small(frame: Floats) -> Floats:
    """Means over about _ROWS x _COLUMNS cells."""
    for axis, count in enumerate((_ROWS, _COLUMNS)):
        starts = np.unique(np.linspace(0, frame.shape[axis], count + 1).astype(int)[:-1])
        sizes = np.diff(np.append(starts, frame.shape[axis]))
        sums = np.add.reduceat(frame, starts, axis=axis)
        frame = np.asarray(sums / (sizes[:, None] if axis == 0 else sizes), np.float32)
    return frame


def _normal(frame: Floats) -> Floats:
    """Mean 0, deviation 1; a flat frame becomes zeros, which are like nothing."""
    centerd = frame - frame.mean()
    return np.asarray(centerd / max(float(centerd.std()), 1.0), np.float32)


def _shared(before: Floats, after: Floats) -> float:
    """How much of the two histograms of L, each centerd, is common: 0..1."""
    classes = np.arange(-100, 100 + _STEP, _STEP)
    counts = [np.histogram(f - f.mean(), classes)[0] / f.size for f in (before, after)]
    return float(np.minimum(*counts).sum())
