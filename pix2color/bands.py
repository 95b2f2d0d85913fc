"""Full-size work in bands of rows: memory stays bounded and all cores are used."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

BAND_PIXELS = 2**17
"""Pixels of a band: its arrays of float32 fit a core's cache."""

Part = TypeVar("Part")
Result = TypeVar("Result")


def cores() -> int:
    """Number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="bands")


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def for_each_band(
    function: Callable[[slice], None], height: int, width: int, *, pixels: int | None = None
) -> None:
    """Call `function` with the rows of every band of an image; bands are independent.

    Python threads are used, not OpenMP: numpy and Pillow release the interpreter's lock, and
    threads without barriers do not stall when another process uses a core.

    Args:
        pixels: of a band; None: BAND_PIXELS.
    """
    rows = max(1, (pixels or BAND_PIXELS) // max(1, width))
    in_parallel(function, [slice(top, min(top + rows, height)) for top in range(0, height, rows)])


def in_parallel(function: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """`function` of each part, in their order; on all cores at once."""
    if len(parts) == 1 or cores() == 1:
        return [function(part) for part in parts]
    return list(_pool().map(function, parts))


def start(function: Callable[[], Result]) -> Future[Result]:
    """Begin `function` on another core while the caller goes on; it must not use `in_parallel`."""
    return _pool().submit(function)
