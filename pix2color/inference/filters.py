"""Small filters in numpy: importing scipy takes longer than a photo."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def box_mean(planes: NDArray[Any], window: int, *, outside: Literal["edge", "zero"]) -> Floats:
    """The mean of the window around each pixel: ...,H,W; the sum is that of float64.

    Args:
        planes: ...,H,W.
        window: its side in pixels, odd.
        outside: pixels beyond the border are those at the edge, or zero.
    """
    for axis in (-2, -1):
        padded = _padded(planes, axis, window // 2, outside)
        total = np.cumsum(padded, axis=axis, dtype=np.float64)
        size = planes.shape[axis]
        sums = _part(total, axis, window - 1, size).copy()
        later = _part(sums, axis, 1, size - 1)
        later -= _part(total, axis, 0, size - 1)
        planes = (sums / window).astype(np.float32)
    return planes


def median3(plane: Floats) -> Floats:
    """The median of the 3 x 3 pixels around each pixel: H,W; the border is mirrored."""
    height, width = plane.shape
    padded = np.pad(plane, 1, mode="symmetric")
    nine = np.stack(
        [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=-1
    )
    middle: Floats = np.partition(nine, 4, axis=-1)[..., 4]
    return middle


def gaussian(plane: Floats, sigma: float) -> Floats:
    """A Gaussian filter, cut off at four standard deviations: H,W; the border is mirrored."""
    radius = round(4 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        padded = _padded(plane, axis, radius, "symmetric")
        size = plane.shape[axis]
        terms = (w * _part(padded, axis, i, size) for i, w in enumerate(weights))
        plane = sum(terms, np.zeros(plane.shape)).astype(np.float32)
    return plane


def _padded(planes: NDArray[Any], axis: int, width: int, outside: str) -> NDArray[Any]:
    widths = [(0, 0)] * planes.ndim
    widths[axis] = (width, width)
    mode: Any = "constant" if outside == "zero" else outside
    return np.pad(planes, widths, mode=mode)


def _part(planes: NDArray[Any], axis: int, start: int, size: int) -> NDArray[Any]:
    """A view of `size` pixels along an axis of two-dimensional planes."""
    index: list[Any] = [slice(None)] * planes.ndim
    index[axis] = slice(start, start + size)
    return planes[tuple(index)]
