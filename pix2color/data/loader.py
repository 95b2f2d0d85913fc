"""Batches of crops, addressed by the number of the sample: nothing to save, nothing to lose.

An epoch draws each photo once, or as `data.source_weights` has it, in an order that follows from
(seed, epoch). A batch is a function of its first sample's number: resuming needs this one number,
and processes share the work by taking neighboring slices.
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
from pix2color.data.discovery import list_photos
from pix2color.data.source_weights import SourceWeights, check_prefixes
from pix2color.data.streaming import StreamedPhoto, stream_photos

_NEUTRAL = 0.5  # ab of rounded gray values stays far below


@dataclass(frozen=True)
class Batch:
    """Crops, ready for a step."""

    input_lightness: Tensor
    """L as the network sees it, degraded or not: B,1,H,W."""
    target_lab: Tensor
    """The true photo: B,3,H,W."""
    seeds: tuple[int, ...] = ()
    """One per crop, for further random numbers such as those of hints."""

    def labeled(self) -> Tensor:
        """Which crops have true colors, B bool: those of `data.unlabeled` are gray everywhere."""
        return self.target_lab[:, 1:].abs().amax((1, 2, 3)) > _NEUTRAL


class BatchSource(Protocol):
    """The trainer's source of batches."""

    wait_seconds: float
    """Seconds spent waiting for data so far."""

    def get(self, first: int, size: int) -> Batch:
        """The samples first, first + 1, ..., first + size - 1."""
        ...

    def close(self) -> None:
        """Discard what was read ahead; `get` works as before."""
        ...


class PhotoSource(Protocol):
    """Photos by sample number, on the host."""

    def load(self, first: int, size: int) -> tuple[Tensor, CropParams]:
        """Photos stacked (B,H,W,3 uint8) and the places of their crops."""
        ...

    def close(self) -> None:
        """Discard what was read ahead; `load` works as before."""
        ...


class InMemorySource:
    """Photos in RAM.

    Args:
        photos: H,W,3 uint8, of any sizes.
        data: crop scale and aspect, flip, source weights.
        seed: of order and crops.
        names: of the photos; only `data.source_weights` needs them.

    Raises:
        DataError: a prefix of `data.source_weights` that no name begins with.
    """

    def __init__(
        self,
        photos: Sequence[np.ndarray],
        data: DataConfig,
        *,
        seed: int,
        names: Sequence[str] | None = None,
    ) -> None:
        self.photos = photos
        self.data = data
        self.seed = seed
        names = [""] * len(photos) if names is None else names
        check_prefixes(data.source_weights, names)
        check_prefixes(data.unlabeled, names, key="data.unlabeled")
        self._weights = SourceWeights(data.source_weights, names)
        self._epoch = -1
        self._first = 0  # sample of the epoch
        self._order = np.empty((0, 2), np.int64)  # (index, repeat) of each of the epoch's samples

    def load(self, first: int, size: int) -> tuple[Tensor, CropParams]:
        """The photos of the samples first, ..., first + size - 1, stacked, and their crops."""
        photos, rngs = [], []
        for sample in range(first, first + size):
            if not self._first <= sample < self._first + len(self._order):
                self._enter_epoch_of(sample)
            index, repeat = map(int, self._order[sample - self._first])
            photos.append(self.photos[index])
            rngs.append(rng_for(self.seed, self._epoch, index, repeat))
        return stack_and_sample(photos, rngs, self.data)

    def close(self) -> None:
        """Nothing is read ahead."""

    def _enter_epoch_of(self, sample: int) -> None:
        self._epoch, self._first = self._weights.find_epoch(sample)
        draws = self._weights.draws(self._epoch)
        indices = np.repeat(np.arange(len(draws)), draws)
        repeats = np.arange(len(indices)) - np.repeat(draws.cumsum() - draws, draws)
        # No photo has the index 2**31: crops do not share the order's random numbers.
        rng = rng_for(self.seed, self._epoch, 2**31)
        self._order = np.stack((indices, repeats), axis=1)[rng.permutation(len(indices))]


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
        self._photos: Iterator[StreamedPhoto] = iter(())
        if data.source_weights:
            check_prefixes(data.source_weights, [file.name for file in list_photos(data.roots)])

    def load(self, first: int, size: int) -> tuple[Tensor, CropParams]:
        """The photos of the samples first, ..., first + size - 1, stacked, and their crops."""
        per_batch = size * self.world
        if first != self._expected:
            self._rewind()
            for _ in range(first // per_batch * size):
                self._next_photo()
        self._expected = first + per_batch
        photos: list[np.ndarray] = []
        rngs: list[np.random.Generator] = []
        for _ in range(size):
            photo = self._next_photo()
            photos.append(photo.pixels)
            index = int(photo.digest[:7], 16)
            rngs.append(rng_for(self.seed, self._epoch, index, photo.repeat))
        return stack_and_sample(photos, rngs, self.data)

    def close(self) -> None:
        """The next call reads the stream from its start."""
        self._expected = -1
        self._rewind()

    def _rewind(self) -> None:
        self._epoch, self._photos = -1, iter(())

    def _next_photo(self) -> StreamedPhoto:
        while True:
            for photo in self._photos:
                return photo
            self._epoch += 1
            self._photos = stream_photos(
                self.data,
                splits=["train"],
                rank=self.rank,
                world=self.world,
                seed=self.seed,
                epoch=self._epoch,
            )


def stack_and_sample(
    photos: Sequence[np.ndarray], rngs: Sequence[np.random.Generator], data: DataConfig
) -> tuple[Tensor, CropParams]:
    """What `PhotoSource.load` returns, from photos and the random numbers of their crops."""
    sizes = [(photo.shape[0], photo.shape[1]) for photo in photos]
    return stack_photos(photos), sample_crops(sizes, rngs, data)


class DeviceLoader:
    """Batches of a source, cut on the device.

    A thread prepares the next batch while the device computes.

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
        """End the thread and discard what it read ahead; the next `get` starts another thread."""
        self._pool.shutdown(cancel_futures=True)
        self._pool, self._next = _new_pool(), None
        self.source.close()

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
