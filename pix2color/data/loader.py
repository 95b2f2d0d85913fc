"""Batches of crops, addressed by the number of the sample: nothing to save, nothing to lose.

Sample n of a training is photo `order(epoch)[n mod N]` of epoch n // N. A batch is a function of
its first sample's number, so resuming is knowing one number, and processes share the work by taking
neighboring slices.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pix2color.color.lab import rgb_to_lab
from pix2color.config import DataConfig
from pix2color.data.augment import degrade
from pix2color.data.crops import CropParams, extract_crops, rng_for, sample_crops, stack_photos
from pix2color.data.streaming import stream_photos


@dataclass(frozen=True)
class Batch:
    """Crops, ready for a step."""

    input_lightness: Tensor
    """L as the network sees it, aged or not: B,1,H,W."""
    target_lab: Tensor
    """The true photo: B,3,H,W."""
    seeds: tuple[int, ...] = ()
    """Of whatever else is drawn for each crop."""


class BatchSource(Protocol):
    """Where the trainer takes its batches from."""

    wait_seconds: float
    """Seconds spent waiting for data so far."""

    def get(self, first: int, size: int) -> Batch:
        """The samples first, first + 1, ..., first + size - 1."""
        ...

    def close(self) -> None:
        """Let go of what was read ahead; `take` works as before."""
        ...


class PhotoSource(Protocol):
    """Where photos come from: by sample number, on the host."""

    def load(self, first: int, size: int) -> tuple[Tensor, CropParams]:
        """Photos stacked (B,H,W,3 uint8) and where their crops lie."""
        ...


class InMemorySource:
    """Photos that lie in RAM.

    Args:
        photos: H,W,3 uint8, of any sizes.
        data: scale, aspect, flip.
        seed: of order and crops.
    """

    def __init__(self, photos: Sequence[np.ndarray], data: DataConfig, *, seed: int) -> None:
        self.photos = photos
        self.data = data
        self.seed = seed
        self._order: tuple[int, np.ndarray] | None = None

    def load(self, first: int, size: int) -> tuple[Tensor, CropParams]:
        """As Source's."""
        photos, draws = [], []
        for sample in range(first, first + size):
            epoch, position = divmod(sample, len(self.photos))
            index = int(self._epoch_order(epoch)[position])
            photos.append(self.photos[index])
            draws.append(rng_for(self.seed, epoch, index))
        sizes = [(p.shape[0], p.shape[1]) for p in photos]
        return stack_photos(photos), sample_crops(sizes, draws, self.data)

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            # 2**31 is no photo's index, so the order's numbers are no crop's.
            draw = rng_for(self.seed, epoch, 2**31)
            self._order = (epoch, draw.permutation(len(self.photos)))
        return self._order[1]


class StreamingSource:
    """Photos that are read while they are used (`data.cache: none`).

    Every process reads its own share of each epoch; all number the epochs from 0. Consecutive calls
    go on where the last one ended. A stream has no index: any other call, such as the first one
    after resuming, reads again up to that sample, so that resuming changes no photo.

    Args:
        data: as `stream_photos` reads them.
        seed: of order and crops.
        rank, world: this process's number and how many there are.
    """

    def __init__(self, data: DataConfig, *, seed: int, rank: int = 0, world: int = 1) -> None:
        self.data = data
        self.seed = seed
        self.rank = rank
        self.world = world
        self._expected = -1
        self._epoch = -1
        self._photos: Iterator[tuple[str, np.ndarray]] = iter(())

    def load(self, first: int, size: int) -> tuple[Tensor, CropParams]:
        """As Source's."""
        per_batch = size * self.world
        if first != self._expected:
            self._rewind()
            for _ in range(first // per_batch * size):
                self._next_photo()
        self._expected = first + per_batch
        photos: list[np.ndarray] = []
        draws: list[np.random.Generator] = []
        for _ in range(size):
            digest, photo = self._next_photo()
            photos.append(photo)
            draws.append(rng_for(self.seed, self._epoch, int(digest[:7], 16)))
        sizes = [(p.shape[0], p.shape[1]) for p in photos]
        return stack_photos(photos), sample_crops(sizes, draws, self.data)

    def _rewind(self) -> None:
        self._epoch, self._photos = -1, iter(())

    def _next_photo(self) -> tuple[str, np.ndarray]:
        while True:
            for found in self._photos:
                return found
            self._epoch += 1
            self._photos = stream_photos(
                self.data,
                parts=["train"],
                rank=self.rank,
                world=self.world,
                seed=self.seed,
                epoch=self._epoch,
            )


class DeviceLoader:
    """Batches of a source, cut on the device.

    The next batch is put together in a thread while the device computes.

    Args:
        source: of photos and places.
        data: crop and augment.
        device: where crops are cut.
        world: processes that share the samples: this one's next batch lies so many batches on.
    """

    def __init__(
        self, source: PhotoSource, data: DataConfig, *, device: torch.device, world: int = 1
    ) -> None:
        self.source = source
        self.data = data
        self.device = device
        self.world = world
        self.wait_seconds = 0.0
        self._pool = _new_pool()
        self._next: tuple[tuple[int, int], Future[tuple[Tensor, CropParams]]] | None = None

    def get(self, first: int, size: int) -> Batch:
        """The samples from number `first` on, as a batch on the device."""
        started = time.perf_counter()
        if self._next is None or self._next[0] != (first, size):
            self._ask(first, size)
        assert self._next is not None
        stacked, plan = self._next[1].result()
        self._ask(first + size * self.world, size)
        stacked = stacked.to(self.device, non_blocking=True)
        self.wait_seconds += time.perf_counter() - started
        rgb = extract_crops(stacked, plan, self.data.crop)
        return make_batch(rgb, plan.seeds, self.data)

    def close(self) -> None:
        """End the thread and let go of what it read ahead; another `take` starts one again."""
        self._pool.shutdown(cancel_futures=True)
        self._pool, self._next = _new_pool(), None

    def _ask(self, first: int, size: int) -> None:
        if self._next is not None:
            self._next[1].cancel()
        self._next = ((first, size), self._pool.submit(self._gather, first, size))

    def _gather(self, first: int, size: int) -> tuple[Tensor, CropParams]:
        stacked, plan = self.source.load(first, size)
        return (stacked.pin_memory() if self.device.type == "cuda" else stacked), plan


def _new_pool() -> ThreadPoolExecutor:
    """One thread, which starts with the first work for it."""
    return ThreadPoolExecutor(1, thread_name_prefix="batches")


def make_batch(rgb: Tensor, seeds: Sequence[int], data: DataConfig) -> Batch:
    """Crops B,3,H,W in 0..1 -> a batch: Lab, and L with the look of old photos on some."""
    lab = rgb_to_lab(rgb)
    lightness = lab[:, :1]
    seen = degrade(lightness, data.augment, seeds) if data.augment.p > 0 else lightness
    return Batch(seen, lab, tuple(seeds))
