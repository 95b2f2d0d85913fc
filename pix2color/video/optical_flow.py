"""Optical flow between two small frames: pyramidal Lucas-Kanade over windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]

_RADIUS = 4  # of the window that moves as one
_STEPS = 3  # a level
_SMALLEST = 14  # side of the coarsest level
_FLAT = 2.0  # squared gradient (L a pixel) below which a place does not tell its motion
_WORTH = 1.2  # squared difference without motion, over that with it, from which it is believed
_LONGEST = 1.5  # pixels a step


def flow(before: Floats, after: Floats) -> Floats:
    """2,H,W: where each pixel of `after` was in `before`, as rows and columns to add.

    Lucas and Kanade (IJCAI 1981), coarse to fine as in Bouguet's notes, with a median filter a
    level. A change of brightness of the whole frame is taken out first.

    Args:
        before, after: H,W in L; 80 to 200 pixels high are enough for colors.
    """
    levels = [(before, after + (before.mean() - after.mean()))]
    while min(levels[-1][0].shape) // 2 >= _SMALLEST:
        old, new = levels[-1]
        levels.append((_halved(old), _halved(new)))
    moved = np.zeros((2, *levels[-1][0].shape), np.float32)
    for old, new in reversed(levels):
        moved = _upsample_flow(moved, new.shape)
        for _ in range(_STEPS):
            moved += _step(warp(old[None], moved)[0], new)
        moved = np.stack([ndimage.median_filter(one, 3) for one in moved])
    return _suppress_static(*levels[0], moved)


def _suppress_static(old: Floats, new: Floats, moved: Floats) -> Floats:
    """No motion where motion explains hardly more: what moved there was grain."""
    apart = [
        ndimage.uniform_filter(np.square(one - new), 2 * _RADIUS + 1, mode="nearest")
        for one in (old, warp(old[None], moved)[0])
    ]
    still = apart[0] < _WORTH * apart[1]
    return np.where(still, np.float32(0), moved)


def warp(planes: Floats, moved: Floats) -> Floats:
    """C,H,W taken from where `moved` (2,H,W) points, bilinearly; edges go on outwards."""
    height, width = moved.shape[1:]
    rows = (moved[0] + np.arange(height, dtype=np.float32)[:, None]) * np.float32(2 / height)
    columns = (moved[1] + np.arange(width, dtype=np.float32)) * np.float32(2 / width)
    # torch's -1 and 1 are the outer edges of the outermost pixels
    places = np.stack((columns + np.float32(1 / width - 1), rows + np.float32(1 / height - 1)), -1)
    taken = torch.nn.functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(planes))[None],
        torch.from_numpy(places)[None],
        padding_mode="border",
        align_corners=False,
    )
    return np.asarray(taken[0].numpy())


def inside(moved: Floats) -> NDArray[np.bool_]:
    """H,W: whether `moved` points into the picture."""
    height, width = moved.shape[1:]
    rows, columns = np.mgrid[:height, :width] + moved
    there: NDArray[np.bool_] = (rows > -1) & (rows < height) & (columns > -1) & (columns < width)
    return there


def _step(warped: Floats, new: Floats) -> Floats:
    """2,H,W: the least-squares motion of each window that is still missing."""
    slopes: Any = np.gradient((warped + new) / 2)
    down, across = slopes
    change = warped - new

    def window(product: NDArray[Any]) -> Floats:
        mean: Floats = ndimage.uniform_filter(product, 2 * _RADIUS + 1, mode="nearest")
        return mean

    dd, aa = window(down * down) + _FLAT, window(across * across) + _FLAT
    da, dc, ac = window(down * across), window(down * change), window(across * change)
    size = dd * aa - da * da
    step = np.stack(((da * ac - aa * dc) / size, (da * dc - dd * ac) / size))
    return step.clip(-_LONGEST, _LONGEST).astype(np.float32)


def _upsample_flow(moved: Floats, shape: tuple[int, ...]) -> Floats:
    """The same motion at a level's size."""
    if moved.shape[1:] == shape:
        return moved
    twice = 2 * moved.repeat(2, axis=1).repeat(2, axis=2)
    missing = [(0, 0), *((0, max(0, w - h)) for w, h in zip(shape, twice.shape[1:], strict=True))]
    return np.pad(twice, missing, mode="edge")[:, : shape[0], : shape[1]]


def _halved(plane: Floats) -> Floats:
    return np.asarray(ndimage.gaussian_filter(plane, 0.8)[::2, ::2], np.float32)
