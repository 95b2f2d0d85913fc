"""Histograms of each method's errors and colors over all pixels of a set."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pix2color.evaluation import metrics
from pix2color.evaluation.methods import Batch, Method

Array = npt.NDArray[np.float64]
LIMIT = int(metrics.AUC_LIMIT)
"""Distances are counted in classes of one ab unit up to this."""
REACH = 112
"""ab is counted within -REACH .. REACH."""
CELL = 4
"""Side of a cell of the ab histogram, ab units."""
_CELLS = 2 * REACH // CELL


@dataclass
class Histograms:
    """Counts of pixels per method; `add` is a hook of `evaluate_methods`."""

    errors: dict[str, Array] = field(default_factory=dict)
    """Method -> LIMIT + 1 counts of pixels; class t holds distances of t to t + 1."""
    colors: dict[str, Array] = field(default_factory=dict)
    """Method -> cells, cells: counts of pixels by b (rows, from -REACH) and a."""

    def add(self, method: Method, batch: Batch, rgb: Tensor, ab: Tensor) -> None:
        """Count a method's pixels of a batch."""
        error = metrics.ab_error(ab, batch.ab).flatten().long().clamp_(0, LIMIT)
        cells = ((ab + REACH) / CELL).long().clamp_(0, _CELLS - 1)
        index = (cells[:, 1] * _CELLS + cells[:, 0]).flatten()
        self._count(self.errors, method.name, torch.bincount(error, minlength=LIMIT + 1))
        counts = torch.bincount(index, minlength=_CELLS * _CELLS)
        self._count(self.colors, method.name, counts.view(_CELLS, _CELLS))

    def _count(self, histograms: dict[str, Array], name: str, counts: Tensor) -> None:
        histograms[name] = histograms.get(name, 0) + counts.cpu().double().numpy()
