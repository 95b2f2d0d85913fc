"""How often the photos of each source are drawn per epoch (`data.source_weights`).

The weight of a photo is that of the longest prefix of its name. A photo of weight w is drawn
floor((e + 1) w + u) - floor(e w + u) times in epoch e, where u in 0..1 follows from its name: w
times per epoch exactly where w is an integer, w times on average elsewhere. Every draw is thus a
function of name and epoch, and nothing has to be saved for resuming.
"""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from pix2color.errors import DataError


class SourceWeights:
    """Draws per epoch of photos that are known by their names.

    Args:
        weights: prefix of a name, such as `wide-00.tar/ade20k/` -> draws per epoch. Names without
            a prefix here have weight 1.
        names: of the photos, as `data.discovery` gives them.
    """

    def __init__(self, weights: Mapping[str, float], names: Sequence[str]) -> None:
        self._weights = np.array([_weight(weights, name) for name in names])
        self._phases = np.array([zlib.crc32(name.encode()) / 2**32 for name in names])

    def find_epoch(self, sample: int) -> tuple[int, int]:
        """The epoch of a sample, and the number of the epoch's first sample."""
        epoch = int(sample / self._weights.sum())  # off by rounding only
        while self._drawn_before(epoch).sum() > sample:
            epoch -= 1
        while self._drawn_before(epoch + 1).sum() <= sample:
            epoch += 1
        return epoch, int(self._drawn_before(epoch).sum())

    def draws(self, epoch: int) -> np.ndarray:
        """How often each photo is drawn in an epoch: integers, one per name."""
        return self._drawn_before(epoch + 1) - self._drawn_before(epoch)

    def _drawn_before(self, epoch: int) -> np.ndarray:
        return np.floor(epoch * self._weights + self._phases).astype(np.int64)


def check_prefixes(
    prefixes: Iterable[str], names: Sequence[str], *, key: str = "data.source_weights"
) -> None:
    """Raise DataError for a prefix that no name begins with; it names the nearest folder."""
    for prefix in prefixes:
        if any(name.startswith(prefix) for name in names):
            continue
        folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
        nearest = difflib.get_close_matches(prefix, sorted(folders - {"."}), 1, 0.0)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise DataError(f"{key}: no photo's name begins with {prefix!r}{hint}")


def _weight(weights: Mapping[str, float], name: str) -> float:
    matching = [prefix for prefix in weights if name.startswith(prefix)]
    return weights[max(matching, key=len)] if matching else 1.0
