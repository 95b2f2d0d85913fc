"""Colors from the network's grid to a finer one, along the edges of the photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pix2color.inference import bands

Floats = NDArray[np.float32]

RADIUS = 1.25
"""Radius of the tent around a pixel within which cells count, in cells."""
RANGE_SIGMA = 5.0
"""Difference of L at which a cell's weight falls to 0.61."""
_BAND = 2**16  # pixels: the half dozen arrays of a band stay in a core's cache
_FLOOR = 1e-3  # weight of a cell whose lightness is nothing like the pixel's


def joint_bilateral_upsample(ab: Floats, cells: Floats, guide: Floats) -> Floats:
    """Joint bilateral upsampling: each pixel takes the colors of near cells of like lightness.

    Kopf et al., Joint Bilateral Upsampling (SIGGRAPH 2007), with a tent in place of the spatial
    Gaussian: on photos whose true colors were reduced and enlarged again it leaves a seventh less
    error at color edges than bilinear enlargement (docs/inference.md).

    Args:
        ab: 2,h,w, one color a cell.
        cells: h,w mean L of each cell.
        guide: H,W the L to follow, at the size wanted.

    Returns:
        2,H,W.
    """
    height, width = guide.shape
    rows = _taps(height, ab.shape[1])
    # Along the columns first, which costs little on so small a grid: rows are then copied whole.
    columns = [
        (cells[:, column], ab[:, :, column], weight) for column, weight in _taps(width, ab.shape[2])
    ]
    out = np.empty((2, height, width), np.float32)

    def band(part: slice) -> None:
        total = np.zeros((2, part.stop - part.start, width), np.float32)
        weights = np.zeros(total.shape[1:], np.float32)
        seen = guide[part]
        for row, row_weight in rows:
            row, across = row[part], row_weight[part, None]
            for near, colors, column_weight in columns:
                weight = near[row]
                np.subtract(seen, weight, out=weight)
                np.square(weight, out=weight)
                weight *= np.float32(-0.5 / RANGE_SIGMA**2)
                np.exp(weight, out=weight)
                weight += np.float32(_FLOOR)
                weight *= across * column_weight
                weights += weight
                for channel in range(2):
                    color = colors[channel, row]
                    color *= weight
                    total[channel] += color
        np.divide(total, weights, out=out[:, part])

    bands.for_each_band(band, height, width, pixels=_BAND)
    return out


def _taps(size: int, cells: int) -> list[tuple[NDArray[np.intp], Floats]]:
    """Along one axis: for every tap, the cell it takes at each pixel and its weight there."""
    place = (np.arange(size) + 0.5) * cells / size - 0.5
    first = np.floor(place - RADIUS).astype(np.intp) + 1
    taps = []
    for step in range(int(np.ceil(2 * RADIUS))):
        cell = first + step
        weight = np.maximum(0.0, 1.0 - np.abs(cell - place) / RADIUS).astype(np.float32)
        taps.append((np.clip(cell, 0, cells - 1), weight))
    return taps
