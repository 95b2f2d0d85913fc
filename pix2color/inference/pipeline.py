"""A folder of photos: every one ends as done, skipped or failed, with the reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from pix2color.config import Decode
from pix2color.errors import PhotoError, Pix2ColorError
from pix2color.inference import bands, lightness
from pix2color.inference.hints import Hint
from pix2color.inference.plan import Job
from pix2color.inference.wishes import PLAIN, Wishes
from pix2color.photo import Limits, Mark, Photo, files, marked, read, write

if TYPE_CHECKING:
    from torch import Tensor

    from pix2color.inference.colorizer import Colorizer

MAP = 2048
"""Longest side of a map of confidence, in pixels: the network's grid is far coarser."""
_LARGE = 24e6  # bytes of a file above which photos are worked on one at a time


@dataclass(frozen=True)
class Options:
    """How the photos of a run are coloured."""

    decode: Decode
    limits: Limits = field(default_factory=Limits)
    mark: Mark | None = None
    """What the metadata says; None says nothing."""
    keep_color: bool = False
    """Skip photos that already have colour."""
    srgb: bool = False
    """Write sRGB in place of another RGB profile."""
    reversible: bool = False
    """Keep the luminance coefficients of JPEGs (`reversible.colour`)."""
    resume: bool = False
    """Skip photos whose target is there and not older."""
    wishes: Wishes = PLAIN
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
    notes: tuple[str, ...] = ()
    """What to know about a photo that is done."""
    seconds: float = 0.0


def mark_of(colorizer: Colorizer, decode: Decode) -> Mark:
    """What the metadata says of photos coloured so."""
    words = " ".join(f"{name} {value:g}" for name, value in decode.model_dump().items())
    if colorizer.backend.kind != "torch":
        words += f" backend {colorizer.backend.kind}"
    return Mark(colorizer.digest, words)


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
    next. No more photos are in memory than there are workers, of very large ones a single one.

    Args:
        colorizer: gives the Colorizer; called when the first photo has been read.
        workers: photos at a time; default: the processor's cores.

    Raises:
        Nothing for a photo: its failure is its outcome. Errors that are faults do raise.
    """
    count = workers or bands.cores()
    if options.resume:
        for folder in sorted({job.target.parent for job in jobs}):
            files.remove_stale(folder)
    alone = threading.Lock()
    with ThreadPoolExecutor(count, thread_name_prefix="photos") as pool:
        running: set[Future[Outcome]] = set()
        try:
            for job in jobs:
                running.add(pool.submit(_one, job, colorizer, options, alone))
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


def _one(
    job: Job, colorizer: Callable[[], Colorizer], options: Options, alone: threading.Lock
) -> Outcome:
    start = time.perf_counter()
    try:
        if options.resume and _done(job):
            return Outcome(job, "skipped", "already done")
        if job.source.is_file() and job.source.stat().st_size > _LARGE:
            with alone:
                outcome = _coloured(job, colorizer, options)
        else:
            outcome = _coloured(job, colorizer, options)
    except PhotoError as error:
        outcome = Outcome(job, "failed", str(error))
    except MemoryError:
        outcome = Outcome(job, "failed", "out of memory")
    except OSError as error:
        outcome = Outcome(job, "failed", error.strerror or str(error))
    seconds = time.perf_counter() - start
    return Outcome(job, outcome.status, outcome.reason, outcome.notes, seconds)


def _coloured(job: Job, colorizer: Callable[[], Colorizer], options: Options) -> Outcome:
    photo = read(job.source, limits=options.limits)
    if options.keep_color and lightness.coloured(photo):
        return Outcome(job, "skipped", "it already has colour")
    if options.reversible and photo.format == "JPEG":
        return _reversibly(job, photo, colorizer(), options)
    wishes = replace(options.wishes, hints=options.hints.get(job.source.name, ()))
    try:
        versions, guess = colorizer().versions(
            photo, options.decode, srgb=options.srgb, wishes=wishes
        )
        sure = guess.confidence() if options.confidence else None
    except Pix2ColorError as error:  # a hint outside this photo
        raise PhotoError(str(error)) from None
    if sure is not None:
        with files.whole(job.also[-1]) as file:
            file.write(confidence_map(sure, photo.width, photo.height))
    left_out: tuple[str, ...] = ()
    # The photo itself last: where it is, the others are.
    for version, target in reversed([*zip(versions, (job.target, *job.also), strict=False)]):
        left_out = write(marked(version, options.mark) if options.mark else version, target)
    return Outcome(job, "done", notes=(*versions[0].notes, *left_out))


def confidence_map(sure: Tensor, width: int, height: int) -> bytes:
    """A gray PNG: white where the network is sure, black where any colour would do.

    Args:
        sure: h,w in 0..1.
        width, height: of the photo; the map has its shape, at most MAP pixels a side.
    """
    import io

    import numpy as np
    from PIL import Image

    scale = min(1.0, MAP / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(np.rint(255 * sure.numpy()).astype(np.uint8))
    file = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR).save(file, "PNG")
    return file.getvalue()


def _reversibly(job: Job, photo: Photo, colorizer: Colorizer, options: Options) -> Outcome:
    from pix2color.inference import reversible

    notes = list(photo.notes)

    def paint(gray: Photo) -> Photo:
        result = colorizer.colour(gray, options.decode)
        notes.extend(result.notes)
        return result

    data = job.source.read_bytes()
    result = reversible.colour(data, paint, mark=options.mark, limits=options.limits)
    with files.whole(job.target) as file:
        file.write(result)
    return Outcome(job, "done", notes=tuple(notes))


def _done(job: Job) -> bool:
    try:
        if not all(path.exists() for path in job.also):
            return False
        return job.target.stat().st_mtime >= job.source.stat().st_mtime
    except OSError:
        return False
