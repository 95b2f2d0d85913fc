"""A folder of photos: every one ends as done, skipped or failed, with the reason."""

from __future__ import annotations

import contextlib
import io
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color.config import DecodeConfig
from pix2color.errors import PhotoError, Pix2ColorError
from pix2color.guidance.guidance import NO_GUIDANCE, Guidance
from pix2color.guidance.hints import Hint
from pix2color.inference import bands, preprocess
from pix2color.io import remove_stale_parts
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
"""Longest side of a map of confidence, in pixels: the network's grid is far coarser."""


@dataclass(frozen=True)
class JobOptions:
    """How the photos of a run are colored."""

    decode: DecodeConfig
    limits: Limits = field(default_factory=Limits)
    provenance: Provenance | None = None
    """What the metadata says; None says nothing."""
    skip_color: bool = False
    """Skip photos that already have color."""
    srgb: bool = False
    """Write sRGB in place of another RGB profile."""
    lossless: bool = False
    """Keep the luminance coefficients of JPEGs (`reversible.color`)."""
    resume: bool = False
    """Skip photos whose target is there and not older."""
    guidance: Guidance = NO_GUIDANCE
    """Palette and variants, of every photo."""
    hints: Mapping[str, tuple[Hint, ...]] = field(default_factory=dict)
    """By the source's name."""
    confidence: bool = False
    """Write the map of confidence, too: the last of the job's further files."""


@dataclass(frozen=True)
class Outcome:
    """How one photo ended."""

    job: Job
    status: Literal["done", "skipped", "failed"]
    reason: str = ""
    """Why it was skipped or failed, in one line."""
    remedy: str = ""
    """How to fix a failure: as `Pix2ColorError.remedy`."""
    notes: tuple[str, ...] = ()
    """What to know about a photo that is done."""
    seconds: float = 0.0


def provenance_of(colorizer: Colorizer, decode: DecodeConfig) -> Provenance:
    """What the metadata says of photos colored so."""
    words = " ".join(f"{name} {value:g}" for name, value in decode.model_dump().items())
    if colorizer.runtime.kind != "torch":
        words += f" backend {colorizer.runtime.kind}"
    return Provenance(colorizer.digest, words)


def colorize_jobs(
    jobs: Sequence[Job],
    colorizer: Callable[[], Colorizer],
    options: JobOptions,
    *,
    workers: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Color every photo; yields each outcome as it comes, in no fixed order.

    A worker takes one photo from reading to writing, so that one photo's decoding runs beside
    another's network and a third's encoding; only the network itself is passed from one to the
    next. The photos that are in memory at a time have, all versions together, no more pixels than
    the largest photo that `options.limits` allows.

    Args:
        colorizer: gives the Colorizer; called when the first photo has been read.
        workers: photos at a time; default: the processor's cores.
        stop: asked before each photo: True starts no further one. Those under way are finished
            and yielded; the others have no outcome.

    Raises:
        Nothing for a photo: whatever exception it causes is its outcome.
    """
    at_once = workers or bands.cores()
    if options.resume:
        for folder in sorted({job.target.parent for job in jobs}):
            remove_stale_parts(folder)
    room = _Room(options.limits.megapixels * 1e6)
    with ThreadPoolExecutor(at_once, thread_name_prefix="photos") as pool:
        running: set[Future[Outcome]] = set()
        try:
            for job in jobs:
                if stop():
                    break
                running.add(pool.submit(_one, job, colorizer, options, room))
                if len(running) >= at_once:
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


class _Room:
    """A number of pixels that photos share; who finds too few left waits, first come first served.

    A photo of more than all of them gets all.
    """

    def __init__(self, pixels: float) -> None:
        self._all = self._free = pixels
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def held(self, pixels: float) -> Iterator[None]:
        """Wait for so many pixels and hold them for the time of the block."""
        pixels = min(pixels, self._all)
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


def _pixels(path: Path) -> int:
    """How many pixels a photo has by its header, all pages together; 0 where this is unknown."""
    try:
        sizes = reading.page_sizes(path.read_bytes(), path.suffix)
    except PhotoError:  # `read` raises it again
        return 0
    return sum(width * height for width, height in sizes)


def _one(job: Job, colorizer: Callable[[], Colorizer], options: JobOptions, room: _Room) -> Outcome:
    start = time.perf_counter()
    try:
        outcome = _outcome(job, colorizer, options, room)
    except Exception as error:
        outcome = failed(job, error)
    return replace(outcome, seconds=time.perf_counter() - start)


def failed(job: Job, error: Exception) -> Outcome:
    """The outcome of a photo or video that raised an error."""
    remedy = error.remedy if isinstance(error, Pix2ColorError) else ""
    return Outcome(job, "failed", _reason(error), remedy)


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
        f" ({Path(frame.filename).name}, line {frame.lineno}; a fault of this program, not of the"
        " photo)"
    )


def _outcome(
    job: Job, colorizer: Callable[[], Colorizer], options: JobOptions, room: _Room
) -> Outcome:
    if job.problem:
        return Outcome(job, "failed", job.problem)
    if options.resume and _done(job):
        return Outcome(job, "skipped", "already done")
    if not is_regular(job.source):
        return Outcome(job, "failed", NOT_REGULAR)
    # A few hundred bytes may hold a photo of many megapixels. Where the bytes are more, they count:
    # 16-bit files are as large as 8-bit ones of twice the pixels.
    size = job.source.stat().st_size
    with room.held(size):
        pixels = _pixels(job.source)
    with room.held(max(size, pixels) * options.guidance.variants):
        return _colorized(job, colorizer, options)


def _colorized(job: Job, colorizer: Callable[[], Colorizer], options: JobOptions) -> Outcome:
    photo = read(job.source, limits=options.limits)
    if options.skip_color and preprocess.is_colored(photo):
        return Outcome(job, "skipped", "it already has color")
    if options.lossless and photo.format == "JPEG":
        return _reversibly(job, photo, colorizer(), options)
    guidance = replace(options.guidance, hints=options.hints.get(job.source.name, ()))
    versions, guess = colorizer().colorize_variants(
        photo, options.decode, srgb=options.srgb, guidance=guidance
    )
    if options.confidence:
        sure = guess.confidence()
        with writing.atomic_open_photo(job.extra_outputs[-1]) as file:
            file.write(confidence_map(sure, photo.width, photo.height))
    left_out: tuple[str, ...] = ()
    # The photo itself last: where it is, the others are.
    for version, target in reversed(
        [*zip(versions, (job.target, *job.extra_outputs), strict=False)]
    ):
        left_out = write(
            add_provenance(version, options.provenance) if options.provenance else version, target
        )
    return Outcome(job, "done", notes=(*versions[0].notes, *left_out))


def confidence_map(sure: NDArray[np.float32], width: int, height: int) -> bytes:
    """A gray PNG: white where the network is sure, black where any color would do.

    Args:
        sure: h,w in 0..1.
        width, height: of the photo; the map has its shape, at most MAP pixels a side.
    """
    scale = min(1.0, MAX_MAP_SIDE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(np.rint(255 * sure).astype(np.uint8))
    file = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR).save(file, "PNG")
    return file.getvalue()


def _reversibly(job: Job, photo: Photo, colorizer: Colorizer, options: JobOptions) -> Outcome:
    from pix2color.jobs import lossless_jpeg

    notes = list(photo.notes)

    def paint(gray: Photo) -> Photo:
        result = colorizer.colorize(gray, options.decode)
        notes.extend(result.notes)
        return result

    data = job.source.read_bytes()
    result = lossless_jpeg.colorize(data, paint, mark=options.provenance, limits=options.limits)
    with writing.atomic_open_photo(job.target) as file:
        file.write(result)
    return Outcome(job, "done", notes=tuple(notes))


def _done(job: Job) -> bool:
    try:
        if not all(path.exists() for path in job.extra_outputs):
            return False
        return job.target.stat().st_mtime >= job.source.stat().st_mtime
    except OSError:
        return False
