"""Batches of crops, addressed by the number of the sample: nothing to save, nothing to lose.

Sample n of a training is photo `order(epoch)[n mod N]` of epoch n // N. A batch is a function of
its first sample's number, so resuming is knowing one number, and processes share the work by taking
neighbouring slices.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pix2color.color import rgb_to_lab
from pix2color.config import Data
from pix2color.data.augment import age
from pix2color.data.crops import CropPlan, cut_crops, generator_for, plan_crops, stack_photos


@dataclass(frozen=True)
class Batch:
    """Crops, ready for a step."""

    seen: Tensor
    """L as the network sees it, aged or not: B,1,H,W."""
    lab: Tensor
    """The true photo: B,3,H,W."""


class Batches(Protocol):
    """Where the trainer takes its batches from."""

    waited: float
    """Seconds spent waiting for data so far."""

    def take(self, first: int, size: int) -> Batch:
        """The samples first, first + 1, ..., first + size - 1."""
        ...


class CachedBatches:
    """Crops of photos that lie in RAM.

    The next batch is put together in a thread while the device computes; which one that is, is
    guessed from the last two calls and thrown away if the guess was wrong.

    Args:
        photos: H,W,3 uint8, of any sizes.
        data: crop, scale, aspect, flip, augment.
        seed: of order and crops.
        device: where crops are cut.
    """

    def __init__(
        self, photos: Sequence[np.ndarray], data: Data, *, seed: int, device: torch.device
    ) -> None:
        self.photos = photos
        self.data = data
        self.seed = seed
        self.device = device
        self.waited = 0.0
        self._order: tuple[int, np.ndarray] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[tuple[int, int], Future[tuple[Tensor, CropPlan]]] | None = None
        self._last = 0

    def take(self, first: int, size: int) -> Batch:
        """The samples from number `first` on, as a batch on the device."""
        started = time.perf_counter()
        if self._next and self._next[0] == (first, size):
            stacked, plan = self._next[1].result()
        else:
            if self._next:
                self._next[1].cancel()
            stacked, plan = self._pool.submit(self._gather, first, size).result()
        stride = max(first - self._last, size)
        self._last = first
        ahead = (first + stride, size)
        self._next = (ahead, self._pool.submit(self._gather, *ahead))
        stacked = stacked.to(self.device, non_blocking=True)
        self.waited += time.perf_counter() - started
        rgb = cut_crops(stacked, plan, self.data.crop)
        return make_batch(rgb, plan.seeds, self.data)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(cancel_futures=True)

    def _gather(self, first: int, size: int) -> tuple[Tensor, CropPlan]:
        count = len(self.photos)
        photos, draws = [], []
        for sample in range(first, first + size):
            epoch, position = divmod(sample, count)
            index = int(self._epoch_order(epoch)[position])
            photos.append(self.photos[index])
            draws.append(generator_for(self.seed, epoch, index))
        plan = plan_crops([p.shape[:2] for p in photos], draws, self.data)
        stacked = stack_photos(photos)
        if self.device.type == "cuda":
            stacked = stacked.pin_memory()
        return stacked, plan

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            # 2**31 is no photo's index, so the order's numbers are no crop's.
            draw = generator_for(self.seed, epoch, 2**31)
            self._order = (epoch, draw.permutation(len(self.photos)))
        return self._order[1]


def make_batch(rgb: Tensor, seeds: Sequence[int], data: Data) -> Batch:
    """Crops B,3,H,W in 0..1 -> a batch: Lab, and L with the look of old photos on some."""
    lab = rgb_to_lab(rgb)
    lightness = lab[:, :1]
    seen = age(lightness, data.augment, seeds) if data.augment.probability > 0 else lightness
    return Batch(seen, lab)
