"""Coloring many photos: each ends as done, skipped or failed, with the reason."""

from __future__ import annotations

import contextlib
import io
import itertools
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color import bands
from pix2color.config import DecodeConfig
from pix2color.errors import PhotoError, Pix2ColorError
from pix2color.guidance.guidance import NO_GUIDANCE, Guidance
from pix2color.guidance.hints import Hint
from pix2color.inference import preprocess
from pix2color.io import remove_stale_parts
from pix2color.jobs.mirror import Mirror
from pix2color.jobs.planner import Job
from pix2color.photo import (
    Limits,
    Photo,
    Provenance,
    add_provenance,
    read,
    reading,
    write,
    writing,
)
from pix2color.photo.walk import NOT_REGULAR, is_regular
from pix2color.runtime.base import out_of_memory

if TYPE_CHECKING:
    from pix2color.inference.colorizer import Colorizer

MAX_MAP_SIDE = 2048
"""Longest side of a confidence map, in pixels; the network's grid is far coarser."""


@dataclass(frozen=True)
class JobOptions:
    """How the photos of a run are colored."""

    decode: DecodeConfig
    limits: Limits = field(default_factory=Limits)
    provenance: Provenance | None = None
    """Written into the metadata; None writes nothing."""
    skip_color: bool = False
    """Skip photos that already have color."""
    srgb: bool = False
    """Write sRGB in place of another RGB profile."""
    lossless: bool = False
    """Keep the luminance coefficients of JPEGs (`lossless_jpeg.colorize`)."""
    resume: bool = False
    """Skip photos whose outputs exist and are not older."""
    guidance: Guidance = NO_GUIDANCE
    """Palette and variants, of every photo."""
    hints: Mapping[str, tuple[Hint, ...]] = field(default_factory=dict)
    """By the file name of the source."""
    confidence: bool = False
    """Also write the confidence map, the last of the job's extra outputs."""


@dataclass(frozen=True)
class Outcome:
    """The result of one photo or video."""

    job: Job
    status: Literal["done", "skipped", "failed"]
    reason: str = ""
    """Why it was skipped or failed, in one line."""
    remedy: str = ""
    """How to fix a failure: as `Pix2ColorError.remedy`."""
    is_fault: bool = False
    """Whether the failure is not of the photo but of the program or the machine."""
    notes: tuple[str, ...] = ()
    """Remarks on a photo that is done, such as dropped metadata."""
    digests: tuple[str, ...] = ()
    """Of the files of a photo that is done, in the order of `Job.targets` (`store.digest`).
    Empty where the run had no `Mirror`."""
    seconds: float = 0.0


class WorkerDiedError(Exception):
    """A process ended or was ended while it worked on a photo; says how."""


class WorkerStartError(Pix2ColorError):
    """No process can work on photos, so the run cannot go on."""


class PixelBudget:
    """A number of pixels that threads share; they wait in order while too few are free.

    A photo that is larger than the budget waits for all of it.
    """

    def __init__(self, pixels: float) -> None:
        self._total = self._free = pixels
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserve(self, pixels: float) -> Iterator[None]:
        """Wait until so many pixels are free, and reserve them for the block."""
        pixels = min(pixels, self._total)
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(lambda: self._waiting[0] is ticket and pixels <= self._free)
            self._waiting.popleft()
            self._free -= pixels
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


class Workers(Protocol):
    """What colors photos in place of the threads of this process, such as `Children`."""

    def colorize(self, job: Job, budget: PixelBudget) -> Outcome:
        """As `colorize_job`; may raise WorkerDiedError and WorkerStartError."""

    def end(self) -> None:
        """End the work under way, whose calls then raise WorkerDiedError."""


class _Threads:
    """The threads of this process."""

    def __init__(self, colorizer: Callable[[], Colorizer], options: JobOptions) -> None:
        self._colorizer, self._options = colorizer, options

    def colorize(self, job: Job, budget: PixelBudget) -> Outcome:
        return colorize_job(job, budget, colorizer=self._colorizer, options=self._options)

    def end(self) -> None:
        """Nothing: a photo under way is finished."""


def provenance_of(colorizer: Colorizer, decode: DecodeConfig) -> Provenance:
    """The metadata of photos that are colored with these weights and settings."""
    settings = decode.model_dump(exclude=set() if decode.calibration else {"calibration"})
    words = " ".join(f"{name} {value:g}" for name, value in settings.items())
    if colorizer.runtime.kind != "torch":
        words += f" runtime {colorizer.runtime.kind}"
    return Provenance(colorizer.digest, words)


def colorize_jobs(
    jobs: Sequence[Job],
    colorizer: Callable[[], Colorizer],
    options: JobOptions,
    *,
    workers: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    mirror: Mirror | None = None,
    processes: Workers | None = None,
) -> Iterator[Outcome]:
    """Color every photo; yields each outcome as it comes, in no fixed order.

    Each worker thread reads, colors and writes one photo at a time, so that photos are decoded and
    encoded while the network runs on another one. All photos in memory, variants included, have
    together no more pixels than `options.limits` allows for one photo.

    Args:
        colorizer: returns the Colorizer; called by each worker after it has read its photo.
        workers: number of threads; default: the processor's cores.
        stop: called before each photo; where it returns True, no further photo is started. The
            running ones are finished and yielded; the others have no outcome.
        mirror: copies sources and targets that lie in stores.
        processes: color the photos in place of the worker threads. Photos whose process dies are
            tried again one by one, after all others; those whose process dies again fail.

    An exception that one photo causes is its outcome and is not raised.

    Raises:
        WorkerStartError: of `processes`.
    """
    num_workers = workers or bands.cores()
    if options.resume:
        remove_parts(jobs)
    budget = PixelBudget(options.limits.megapixels * 1e6)
    work = processes or _Threads(colorizer, options)
    died: list[Job] = []
    with ThreadPoolExecutor(num_workers, thread_name_prefix="photos") as pool:
        running: dict[Future[Outcome], Job] = {}
        waiting = iter(jobs)
        try:
            while True:
                for job in itertools.islice(waiting, num_workers - len(running)):
                    if stop():
                        waiting = iter(())
                        break
                    running[pool.submit(_run_job, job, work, options, budget, mirror)] = job
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    try:
                        yield future.result()
                    except WorkerDiedError:
                        died.append(job)
        except BaseException:  # such as a second Ctrl-C: nothing further is started
            for future in running:
                future.cancel()
            work.end()
            raise
    for job in died:
        if stop():
            break
        try:
            yield _run_job(job, work, options, budget, mirror)
        except WorkerDiedError as death:
            yield Outcome(job, "failed", f"crashed the decoder: {death}")


def remove_parts(jobs: Sequence[Job]) -> None:
    """Delete the incomplete files that a killed run of these jobs left."""
    for folder in sorted({job.target.parent for job in jobs}):
        remove_stale_parts(folder)


def _pixel_count(path: Path) -> int:
    """How many pixels a photo has by its header, all pages together; 0 where this is unknown."""
    try:
        sizes = reading.page_sizes(path.read_bytes(), path.suffix)
    except PhotoError:  # `read` raises it again
        return 0
    return sum(width * height for width, height in sizes)


def _run_job(
    job: Job, work: Workers, options: JobOptions, budget: PixelBudget, mirror: Mirror | None
) -> Outcome:
    start = time.perf_counter()
    try:
        outcome = _settled_without_work(job, options)
        if outcome is None:
            with mirror.copies(job.source, job.targets) if mirror else contextlib.nullcontext():
                outcome = work.colorize(job, budget)
                if outcome.status == "done" and mirror:
                    outcome = replace(outcome, digests=mirror.publish(job.targets))
    except (WorkerDiedError, WorkerStartError):
        raise
    except Exception as error:
        outcome = failed(job, error)
    return replace(outcome, seconds=time.perf_counter() - start)


def _settled_without_work(job: Job, options: JobOptions) -> Outcome | None:
    if job.problem:
        return Outcome(job, "failed", job.problem)
    if options.resume and job.is_done():
        return Outcome(job, "skipped", "already done")
    return None


def failed(job: Job, error: Exception) -> Outcome:
    """The outcome of a photo or video that raised an error."""
    remedy = error.remedy if isinstance(error, Pix2ColorError) else ""
    is_fault = not isinstance(error, Pix2ColorError)
    return Outcome(job, "failed", _reason(error), remedy, is_fault)


def _reason(error: Exception) -> str:
    """Why a photo or video failed, in one line; for a bug of the program, also where."""
    if isinstance(error, Pix2ColorError):
        return error.message
    if out_of_memory(error):
        return "out of memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
        f" ({Path(frame.filename).name}, line {frame.lineno}; a bug of this program, not of"
        " the file)"
    )


def colorize_job(
    job: Job, budget: PixelBudget, *, colorizer: Callable[[], Colorizer], options: JobOptions
) -> Outcome:
    """Color one photo as soon as the budget has its pixels; an exception is its outcome."""
    try:
        if not is_regular(job.source):
            return Outcome(job, "failed", NOT_REGULAR)
        # A small file may hold many megapixels. The larger of file size and pixels counts, since a
        # 16-bit photo needs twice the memory per pixel.
        size = job.source.stat().st_size
        with budget.reserve(size):
            pixels = _pixel_count(job.source)
        with budget.reserve(max(size, pixels) * options.guidance.variants):
            return _colorize_photo(job, colorizer, options)
    except Exception as error:
        return failed(job, error)


def _colorize_photo(job: Job, colorizer: Callable[[], Colorizer], options: JobOptions) -> Outcome:
    photo = read(job.source, limits=options.limits)
    if options.skip_color and preprocess.is_colored(photo):
        return Outcome(job, "skipped", "it already has color")
    if options.lossless and photo.format == "JPEG":
        return _colorize_losslessly(job, photo, colorizer(), options)
    guidance = replace(options.guidance, hints=options.hints.get(job.source.name, ()))
    variants, prediction = colorizer().colorize_variants(
        photo, options.decode, srgb=options.srgb, guidance=guidance
    )
    if options.confidence:
        confidence = prediction.confidence()
        with writing.atomic_open_photo(job.extra_outputs[-1]) as file:
            file.write(confidence_map(confidence, photo.width, photo.height))
    notes: tuple[str, ...] = ()
    # The target last: where it exists, the extra outputs do.
    for variant, target in reversed([*zip(variants, job.targets, strict=False)]):
        if options.provenance:
            variant = add_provenance(variant, options.provenance)
        notes = write(variant, target)
    return Outcome(job, "done", notes=(*variants[0].notes, *notes))


def confidence_map(confidence: NDArray[np.float32], width: int, height: int) -> bytes:
    """A gray PNG: white where the network is sure, black where all colors are as likely.

    Args:
        confidence: h,w in 0..1.
        width, height: of the photo; the map has its shape, reduced to MAX_MAP_SIDE pixels.
    """
    scale = min(1.0, MAX_MAP_SIDE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(np.rint(255 * confidence).astype(np.uint8))
    file = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR).save(file, "PNG")
    return file.getvalue()


def _colorize_losslessly(
    job: Job, photo: Photo, colorizer: Colorizer, options: JobOptions
) -> Outcome:
    from pix2color.jobs import lossless_jpeg

    notes = list(photo.notes)

    def colorize_photo(gray: Photo) -> Photo:
        result = colorizer.colorize(gray, options.decode)
        notes.extend(result.notes)
        return result

    data = job.source.read_bytes()
    result = lossless_jpeg.colorize(
        data, colorize_photo, provenance=options.provenance, limits=options.limits
    )
    with writing.atomic_open_photo(job.target) as file:
        file.write(result)
    return Outcome(job, "done", notes=tuple(notes))
