"""Borders of scans: the paper or the black around a photo, which stays neutral."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_SHARE = 0.2  # of a side
_MAX_STD = 3.0  # standard deviation of L along a line of border
_BRIGHT, _DARK = 80.0, 15.0  # L above and below which a flat line may be border
_MIN_STEP = 8.0  # change of mean L at the border's inner end; a plain sky fades instead
_EDGE_LINES = 3  # over which that change may be spread


def content_slices(lightness: NDArray[np.float32]) -> tuple[slice, slice]:
    """Rows and columns of H,W lightness that lie inside the border; all where there is none."""
    rows = _content(lightness)
    columns = _content(lightness[rows].T)
    return rows, columns


def _content(lightness: NDArray[np.float32]) -> slice:
    first = _border_lines(lightness)
    last = len(lightness) - _border_lines(lightness[::-1])
    return slice(first, last) if last - first > len(lightness) // 2 else slice(0, len(lightness))


def _border_lines(lightness: NDArray[np.float32]) -> int:
    """Number of border lines, from the first on."""
    limit = int(len(lightness) * _MAX_SHARE)
    near = lightness[: limit + _EDGE_LINES + 1]
    mean, spread = near.mean(axis=1), near.std(axis=1)
    flat = (spread < _MAX_STD) & ((mean > _BRIGHT) | (mean < _DARK))
    flat &= np.abs(mean - mean[0]) < _MAX_STD
    count = int(np.argmin(flat)) if not flat.all() else len(flat)
    if not 0 < count <= limit:
        return 0
    after = float(near[count : count + _EDGE_LINES].mean(axis=1)[-1])
    inner = min(count + _EDGE_LINES - 1, len(near) - 1)
    # Lines that hold both border and photo stay neutral too.
    return inner if abs(after - float(mean[0])) > _MIN_STEP else 0
