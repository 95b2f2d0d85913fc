"""Colours from the network's grid to a finer one, along the edges of the photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

REACH = 1.25
"""Radius of the tent around a pixel within which cells count, in cells."""
SPREAD = 5.0
"""Difference of L at which a cell's weight falls to 0.61."""
_FLOOR = 1e-3  # weight of a cell whose lightness is nothing like the pixel's


def edge_aware(ab: Floats, cells: Floats, guide: Floats) -> Floats:
    """Joint bilateral upsampling: each pixel takes the colours of near cells of like lightness.

    Kopf et al., Joint Bilateral Upsampling (SIGGRAPH 2007), with a tent in place of the spatial
    Gaussian: on photos whose true colours were reduced and enlarged again it leaves a seventh less
    error at colour edges than bilinear enlargement (docs/colouring.md).

    Args:
        ab: 2,h,w, one colour a cell.
        cells: h,w mean L of each cell.
        guide: H,W the L to follow, at the size wanted.

    Returns:
        2,H,W.
    """
    height, width = guide.shape
    rows = _taps(height, ab.shape[1])
    columns = _taps(width, ab.shape[2])
    total = np.zeros((2, height, width), np.float32)
    weights = np.zeros((height, width), np.float32)
    for row, row_weight in rows:
        for column, column_weight in columns:
            near = cells[row][:, column]
            weight = np.square(guide - near)
            weight *= np.float32(-0.5 / SPREAD**2)
            np.exp(weight, out=weight)
            weight += np.float32(_FLOOR)
            weight *= row_weight[:, None] * column_weight
            weights += weight
            for channel in range(2):
                total[channel] += ab[channel][row][:, column] * weight
    total /= weights
    return total


def _taps(size: int, cells: int) -> list[tuple[NDArray[np.intp], Floats]]:
    """Along one axis: for every tap, the cell it takes at each pixel and its weight there."""
    place = (np.arange(size) + 0.5) * cells / size - 0.5
    first = np.floor(place - REACH).astype(np.intp) + 1
    taps = []
    for step in range(int(np.ceil(2 * REACH))):
        cell = first + step
        weight = np.maximum(0.0, 1.0 - np.abs(cell - place) / REACH).astype(np.float32)
        taps.append((np.clip(cell, 0, cells - 1), weight))
    return taps
