"""The order in which a training reads photos from shards: a function of the sample's number.

In every epoch the shards are shuffled and taken in windows of a few; the photos of a window are
shuffled together. A process thus reads from a few shards at a time, and the number of processes
changes nothing. Nothing has to be saved for resuming.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pix2color.data.crops import rng_for
from pix2color.data.source_weights import SourceWeights

_NO_PHOTO = 2**31  # as in data.loader: crops do not share the order's random numbers

Indices = npt.NDArray[np.int64]


class Draw(NamedTuple):
    """One sample."""

    epoch: int
    photo: int
    """Index of the photo."""
    repeat: int
    """Number of this draw among the photo's draws in the epoch, from 0."""


class ShardOrder:
    """Sample number -> photo.

    In each epoch every photo is drawn as often as its source's weight says, once by default.

    Args:
        shards: the shard's number of each photo, ascending.
        weights: of the same photos.
        seed: of the order.
        window: shards whose photos are shuffled together.
    """

    def __init__(
        self, shards: npt.ArrayLike, weights: SourceWeights, *, seed: int, window: int
    ) -> None:
        shards = np.asarray(shards, np.int64)
        self._starts: Indices = np.flatnonzero(np.diff(shards, prepend=-1))
        self._numbers: Indices = shards[self._starts]
        self._stops: Indices = np.append(self._starts[1:], len(shards))
        self._weights = weights
        self._seed = seed
        self._size = window
        self._epoch = -1
        self._first = 0  # sample of the epoch
        self._draws = self._order = self._ends = np.empty(0, np.int64)
        self._window = -1
        self._photos: Indices = np.empty((0, 2), np.int64)  # (photo, repeat) of each sample there

    def __getitem__(self, sample: int) -> Draw:
        """The draw of a sample, numbered from 0 over all epochs."""
        window = self._find_window(sample)
        if window != self._window:
            self._enter_window(window)
        stop = self._first + int(self._ends[window])
        photo, repeat = self._photos[sample - stop]  # from the window's end
        return Draw(self._epoch, int(photo), int(repeat))

    def window_at(self, sample: int) -> tuple[Indices, int]:
        """The shards of the window that holds a sample, and the first sample after it."""
        window = self._find_window(sample)
        return self._shards_of(window), self._first + int(self._ends[window])

    def _find_window(self, sample: int) -> int:
        """The number of a sample's window in its epoch, which is entered."""
        if not (len(self._ends) and self._first <= sample < self._first + self._ends[-1]):
            self._enter_epoch_of(sample)
        return int(np.searchsorted(self._ends, sample - self._first, side="right"))

    def _shards_of(self, window: int) -> Indices:
        return self._numbers[self._order[window * self._size : (window + 1) * self._size]]

    def _enter_epoch_of(self, sample: int) -> None:
        self._epoch, self._first = self._weights.find_epoch(sample)
        self._draws = self._weights.draws(self._epoch)
        per_shard = np.add.reduceat(self._draws, self._starts)
        self._order = self._rng(0).permutation(len(per_shard))
        totals = per_shard[self._order]
        self._ends = np.add.reduceat(totals, np.arange(0, len(totals), self._size)).cumsum()
        self._window = -1

    def _enter_window(self, window: int) -> None:
        shards = self._order[window * self._size : (window + 1) * self._size]
        spans = [np.arange(self._starts[shard], self._stops[shard]) for shard in shards]
        photos = np.concatenate(spans)
        draws = self._draws[photos]
        repeats = np.arange(draws.sum()) - np.repeat(draws.cumsum() - draws, draws)
        drawn = np.stack((np.repeat(photos, draws), repeats), axis=1)
        self._photos = drawn[self._rng(window + 1).permutation(len(drawn))]
        self._window = window

    def _rng(self, number: int) -> np.random.Generator:
        """The epoch's random numbers for the order of its shards (0) and of each window."""
        return rng_for(self._seed, self._epoch, _NO_PHOTO, number)
