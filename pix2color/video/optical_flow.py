"""Optical flow between two small frames: pyramidal Lucas-Kanade over windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pix2color import bands
from pix2color.inference import filters

Floats = NDArray[np.float32]

_WINDOW = 9  # side of the window that moves as one, pixels
_STEPS = 3  # per level
_MIN_SIDE = 14  # of the coarsest level
_MIN_GRADIENT = 2.0  # added to squared gradients (L per pixel): flat areas do not move
_MIN_GAIN = 1.2  # by which motion must reduce the squared difference to be accepted
_MAX_STEP = 1.5  # pixels


def flow(before: Floats, after: Floats) -> Floats:
    """2,H,W: rows and columns to add to each pixel of `after` for its place in `before`.

    Lucas and Kanade (IJCAI 1981), coarse to fine as in Bouguet's notes, with a median filter per
    level. A change of brightness of the whole frame is removed first.

    Args:
        before, after: H,W in L; 80 to 200 pixels high are enough for colors.
    """
    levels = [(before, after + (before.mean() - after.mean()))]
    while min(levels[-1][0].shape) // 2 >= _MIN_SIDE:
        old, new = levels[-1]
        levels.append((_halve(old), _halve(new)))
    displacement = np.zeros((2, *levels[-1][0].shape), np.float32)
    for old, new in reversed(levels):
        displacement = _upsample_flow(displacement, new.shape)
        for _ in range(_STEPS):
            displacement += _step(warp(old[None], displacement)[0], new)
        displacement = np.stack([filters.median3(plane) for plane in displacement])
    return _suppress_static(*levels[0], displacement)


def warp(planes: Floats, displacement: Floats) -> Floats:
    """C,H,W read bilinearly where `displacement` (2,H,W) points; edge pixels extend outwards."""
    count, height, width = planes.shape
    flat = planes.reshape(count, -1)
    out = np.empty_like(planes)

    def band(rows: slice) -> None:
        row_numbers = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
        y = (displacement[0, rows] + row_numbers).clip(0, height - 1)
        x = (displacement[1, rows] + np.arange(width, dtype=np.float32)).clip(0, width - 1)
        top, left = y.astype(np.intp), x.astype(np.intp)
        y -= top
        x -= left
        right = np.minimum(left + 1, width - 1)
        bottom = np.minimum(top + 1, height - 1) * width
        top *= width
        for plane, target in zip(flat, out[:, rows], strict=True):
            upper = _lerp(plane.take(top + left), plane.take(top + right), x)
            lower = _lerp(plane.take(bottom + left), plane.take(bottom + right), x)
            target[...] = _lerp(upper, lower, y)

    bands.for_each_band(band, height, width)
    return out


def _lerp(start: Floats, end: Floats, share: Floats) -> Floats:
    """Linear interpolation; uses up `start` and `end`."""
    end -= start
    end *= share
    start += end
    return start


def inside(displacement: Floats) -> NDArray[np.bool_]:
    """H,W: whether `displacement` points into the frame."""
    height, width = displacement.shape[1:]
    rows, columns = np.mgrid[:height, :width] + displacement
    result: NDArray[np.bool_] = (rows > -1) & (rows < height) & (columns > -1) & (columns < width)
    return result


def _suppress_static(old: Floats, new: Floats, displacement: Floats) -> Floats:
    """No motion where it reduces the difference by little: what moved there was grain."""
    without, with_motion = (
        _window_mean(np.square(plane - new)) for plane in (old, warp(old[None], displacement)[0])
    )
    return np.where(without < _MIN_GAIN * with_motion, np.float32(0), displacement)


def _step(warped: Floats, new: Floats) -> Floats:
    """2,H,W: the least-squares motion of each window that remains."""
    gradients: Any = np.gradient((warped + new) / 2)
    dy, dx = gradients
    change = warped - new
    yy, xx = (_window_mean(square) + _MIN_GRADIENT for square in (dy * dy, dx * dx))
    xy, yc, xc = (_window_mean(product) for product in (dy * dx, dy * change, dx * change))
    step = np.stack((xy * xc - xx * yc, xy * yc - yy * xc)) / (yy * xx - xy * xy)
    return step.clip(-_MAX_STEP, _MAX_STEP).astype(np.float32)


def _window_mean(plane: NDArray[Any]) -> Floats:
    return filters.box_mean(plane, _WINDOW, outside="edge")


def _upsample_flow(displacement: Floats, shape: tuple[int, ...]) -> Floats:
    """The same motion at the size of the next finer level."""
    if displacement.shape[1:] == shape:
        return displacement
    twice = 2 * displacement.repeat(2, axis=1).repeat(2, axis=2)
    missing = [(0, 0), *((0, max(0, w - h)) for w, h in zip(shape, twice.shape[1:], strict=True))]
    return np.pad(twice, missing, mode="edge")[:, : shape[0], : shape[1]]


def _halve(plane: Floats) -> Floats:
    return filters.gaussian(plane, 0.8)[::2, ::2]
