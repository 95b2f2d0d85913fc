"""Frames of scans: the paper or the black around a photo, which must stay neutral."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LARGEST = 0.2  # of a side
_FLAT = 3.0  # standard deviation of L along a line of border
_BRIGHT, _DARK = 80.0, 15.0  # L above and below which a flat line may be border
_STEP = 8.0  # change of mean L at the border's inner end; a plain sky fades instead
_EDGE = 3  # lines over which that change may be spread


def content_slices(lightness: NDArray[np.float32]) -> tuple[slice, slice]:
    """Rows and columns of H,W lightness that lie inside the border; all where there is none."""
    rows = _inside(lightness)
    columns = _inside(lightness[rows].T)
    return rows, columns


def _inside(lightness: NDArray[np.float32]) -> slice:
    first = _border(lightness)
    last = len(lightness) - _border(lightness[::-1])
    return slice(first, last) if last - first > len(lightness) // 2 else slice(0, len(lightness))


def _border(lightness: NDArray[np.float32]) -> int:
    """How many lines from the first on are border."""
    most = int(len(lightness) * _LARGEST)
    near = lightness[: most + _EDGE + 1]
    mean, spread = near.mean(axis=1), near.std(axis=1)
    flat = (spread < _FLAT) & ((mean > _BRIGHT) | (mean < _DARK))
    flat &= np.abs(mean - mean[0]) < _FLAT
    count = int(np.argmin(flat)) if not flat.all() else len(flat)
    if not 0 < count <= most:
        return 0
    after = float(near[count : count + _EDGE].mean(axis=1)[-1])
    inner = min(count + _EDGE - 1, len(near) - 1)
    # The lines that hold both border and photo belong to neither's flat part: left neutral too.
    return inner if abs(after - float(mean[0])) > _STEP else 0
