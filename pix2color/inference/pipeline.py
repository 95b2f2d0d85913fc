"""A folder of photos: every one ends as done, skipped or failed, with the reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pix2color.config import Decode
from pix2color.errors import PhotoError
from pix2color.inference import bands
from pix2color.inference.plan import Job
from pix2color.photo import Limits, read, write

if TYPE_CHECKING:
    from pix2color.inference.colorizer import Colorizer


@dataclass(frozen=True)
class Options:
    """How the photos of a run are coloured."""

    decode: Decode
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Outcome:
    """How one photo ended."""

    job: Job
    status: Literal["done", "skipped", "failed"]
    reason: str = ""
    """Why it was skipped or failed, in one line."""
    notes: tuple[str, ...] = ()
    """What to know about a photo that is done."""
    seconds: float = 0.0


def run(
    jobs: Sequence[Job],
    colorizer: Callable[[], Colorizer],
    options: Options,
    *,
    workers: int | None = None,
) -> Iterator[Outcome]:
    """Colour every photo; yields each outcome as it comes, in no fixed order.

    A worker takes one photo from reading to writing, so that one photo's decoding runs beside
    another's network and a third's encoding; only the network itself is passed from one to the
    next. No more photos are in memory than there are workers.

    Args:
        colorizer: gives the Colorizer.
        workers: photos at a time; default: the processor's cores.

    Raises:
        PhotoError never: a photo's failure is its outcome. Other errors are faults and do raise.
    """
    count = workers or bands.cores()
    waiting = iter(jobs)
    with ThreadPoolExecutor(count, thread_name_prefix="photos") as pool:
        running: set[Future[Outcome]] = set()
        try:
            for job in waiting:
                running.add(pool.submit(_one, job, colorizer, options))
                if len(running) >= count:
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        yield future.result()
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:  # Ctrl-C, or the caller stops: what has not begun is not begun
            for future in running:
                future.cancel()


def _one(job: Job, colorizer: Callable[[], Colorizer], options: Options) -> Outcome:
    start = time.perf_counter()
    try:
        photo = read(job.source, limits=options.limits)
        result = colorizer().colour(photo, options.decode)
        write(result, job.target)
    except PhotoError as error:
        return Outcome(job, "failed", str(error), seconds=time.perf_counter() - start)
    return Outcome(job, "done", notes=photo.notes, seconds=time.perf_counter() - start)
