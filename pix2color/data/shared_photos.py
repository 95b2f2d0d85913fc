"""One copy of the photos in RAM for all processes of a machine (`data.cache: ram`).

One process reads the photos into anonymous shared memory (memfd_create(2), Linux), the others map
it by the number of that process and of its descriptor. The memory has no name, so nothing can be
left behind: the kernel frees it with the last process, however that ends.
"""

from __future__ import annotations

import json
import mmap
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from pix2color.data.dataset import Counts, PhotoSet
from pix2color.data.decode import Pixels
from pix2color.errors import DataError

_POLL_SECONDS = 0.1


class Address(NamedTuple):
    """Where other processes of the machine find what a `SharedLoad` publishes."""

    process: int
    descriptor: int

    @property
    def path(self) -> str:
        return f"/proc/{self.process}/fd/{self.descriptor}"


def can_share() -> bool:
    """Whether this system has the memory for it."""
    return hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")  # noqa: PTH112


class SharedLoad:
    """Loads photos for the other processes of this machine, which may wait for them already."""

    def __init__(self) -> None:
        # Open until this process ends: others may come late.
        self._status = os.memfd_create("pix2color-status")
        self.address = Address(os.getpid(), self._status)

    def run(self, load: Callable[[], PhotoSet]) -> PhotoSet:
        """Call `load`, move the pixels to shared memory and publish them, or publish the failure.

        Raises:
            DataError: that of `load`, or too little memory.
        """
        try:
            photos = load()
            published = self._move(photos)
        except BaseException as error:
            reason, remedy = str(error) or type(error).__name__, ""
            if isinstance(error, DataError):
                reason, remedy = error.message, error.remedy
            self._publish({"error": reason, "remedy": remedy})
            raise
        self._publish(published)
        return photos

    def _move(self, photos: PhotoSet) -> dict[str, Any]:
        """Replace the pixels by views of shared memory; returns where they are."""
        nbytes, shapes = photos.nbytes, [photo.shape[:2] for photo in photos.photos]
        facts = json.dumps(
            {
                "shapes": shapes,
                "names": photos.names,
                "digests": photos.digests,
                "counts": asdict(photos.counts),
                "bundled": photos.bundled,
                "unsplit": photos.unsplit,
            }
        ).encode()
        descriptor = os.memfd_create("pix2color-photos")
        try:
            os.truncate(descriptor, nbytes + len(facts))
            with mmap.mmap(descriptor, nbytes + len(facts)) as memory:
                start = 0
                for i, photo in enumerate(photos.photos):
                    memory[start : start + photo.nbytes] = photo.tobytes()
                    start += photo.nbytes
                    photos.photos[i] = photo[:0]  # frees it, so that all are never there twice
                memory[start:] = facts
        except OSError as error:
            raise DataError(f"no memory to share {nbytes:,} bytes of photos: {error}") from None
        photos.photos[:] = _views(descriptor, shapes)
        return {"descriptor": descriptor, "pixels": nbytes, "facts": len(facts)}

    def _publish(self, status: dict[str, Any]) -> None:
        os.pwrite(self._status, json.dumps(status).encode(), 0)


def receive(address: Address) -> PhotoSet:
    """The photos of another process's `SharedLoad`, once it has read them.

    Raises:
        DataError: it could not read them, it ended, or its memory cannot be opened.
    """
    try:
        found = _wait_for_status(address)
        if "error" in found:
            raise DataError(found["error"], remedy=found["remedy"])
        descriptor = os.open(Address(address.process, found["descriptor"]).path, os.O_RDWR)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"process {address.process}, which reads the photos for this one, ended or does not"
            f" share its memory: {reason}",
            remedy="start again; data.cache: none shares no memory",
        ) from None
    facts = json.loads(os.pread(descriptor, found["facts"], found["pixels"]))
    counts = facts.pop("counts")
    counts["corrupt"] = tuple((name, reason) for name, reason in counts["corrupt"])
    photos = _views(descriptor, facts.pop("shapes"))
    os.close(descriptor)
    return PhotoSet(photos=photos, counts=Counts(**counts), **facts)


def _wait_for_status(address: Address) -> dict[str, Any]:
    """Raises OSError where the process ended."""
    descriptor = os.open(address.path, os.O_RDONLY)
    try:
        while not (size := os.fstat(descriptor).st_size):
            os.stat(address.path)  # noqa: PTH116
            time.sleep(_POLL_SECONDS)
        status: dict[str, Any] = json.loads(os.pread(descriptor, size, 0))
        return status
    finally:
        os.close(descriptor)


def _views(descriptor: int, shapes: Sequence[Sequence[int]]) -> list[Pixels]:
    """Photos that lie one after the other in shared memory.

    They may be written to, which copies the page concerned for this process alone.
    """
    nbytes = sum(3 * height * width for height, width in shapes)
    memory = mmap.mmap(descriptor, nbytes, access=mmap.ACCESS_COPY)
    pixels = np.frombuffer(memory, np.uint8)
    ends = np.cumsum([3 * height * width for height, width in shapes])
    return [
        pixels[end - 3 * height * width : end].reshape(height, width, 3)
        for end, (height, width) in zip(ends.tolist(), shapes, strict=True)
    ]
