"""Color cast of a set of photos: the distance of its distribution of colors from the truth's.

Pixels are sorted by their true lightness into BANDS bands and, within each, into neutral (chroma
below NEUTRAL_CHROMA) or one of six hue sectors. The cast is the total variation distance between
the shares of prediction and truth over all CELLS cells: the percentage of pixels that would have to
move to another cell for the colors to be distributed as the truth's. Photos are pooled by pixels.
A pixel's lightness is the same in both, so no pixel can move to another band.

It is a metric of a set: errors of single photos that cancel out do not count, and averaging over
the plausible colors of a photo does not lower it.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pix2color.evaluation.metrics import chroma

BANDS = 10
"""Bands of equal width over L 0..100, lower edges included; 100 belongs to the last."""
NEUTRAL_CHROMA = 8.0
"""Colors of less chroma are neutral and have no hue, Lab units."""
SECTOR_EDGES = (0, 60, 110, 170, 230, 300)
"""Where each hue sector begins, degrees of atan2(b, a); the last ends at 360."""
SECTORS = ("red", "yellow", "green", "cyan", "blue", "magenta")
KINDS = ("neutral", *SECTORS)
"""The parts of each band, in the order of the cells."""
CELLS = BANDS * len(KINDS)

Numbers = TypeVar("Numbers", Tensor, npt.NDArray[np.float64])


def cells(lightness: Tensor, ab: Tensor) -> Tensor:
    """The cell of each pixel: B,H,W int64, 7 * band + kind; band 0 is the darkest.

    Args:
        lightness: B,1,H,W, the true L in 0..100.
        ab: B,2,H,W in Lab units.
    """
    band = (lightness[:, 0] * (BANDS / 100.0)).long().clamp(0, BANDS - 1)
    a, b = ab.float().unbind(1)
    hue = torch.rad2deg(torch.atan2(b, a)) % 360.0
    edges = torch.tensor(SECTOR_EDGES[1:], dtype=hue.dtype, device=hue.device)
    sector = torch.bucketize(hue, edges, right=True) + 1
    kind = torch.where(chroma(ab) < NEUTRAL_CHROMA, 0, sector)
    return len(KINDS) * band + kind


def cell_counts(lightness: Tensor, ab: Tensor) -> Tensor:
    """The pixels of each cell in each photo: B,70 float64 on the CPU, as not every device has
    float64. Arguments as for `cells`."""
    index = cells(lightness, ab).flatten(1).cpu()
    zeros = torch.zeros(len(index), CELLS, dtype=torch.float64)
    return zeros.scatter_add(1, index, torch.ones_like(index, dtype=torch.float64))


def shares(counts: Numbers) -> Numbers:
    """Counts ...,70 -> shares of all pixels, which sum to 1."""
    return counts / counts.sum(-1)[..., None]


def cast(counts: Numbers, true_counts: Numbers) -> Numbers:
    """Half the sum of absolute differences of the shares, in percent.

    Args:
        counts: ...,70 of the prediction, summed over the photos of the set.
        true_counts: ...,70 of the truth, likewise.

    Returns:
        ... in 0..100; 0 for equal distributions.
    """
    difference: Numbers = abs(shares(counts) - shares(true_counts))
    return 50.0 * difference.sum(-1)
