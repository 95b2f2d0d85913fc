"""infer.py's films: colored one after the other, after the photos."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pix2color.cli.common import ProgressBar, stop_requested

if TYPE_CHECKING:
    from pix2color.inference.colorizer import Colorizer
    from pix2color.jobs import pipeline
    from pix2color.jobs.pipeline import Outcome
    from pix2color.jobs.planner import Job
    from pix2color.video.pipeline import VideoProgress

_PHOTOS_ONLY = ("hints", "reference", "confidence", "skip_color", "srgb", "lossless_jpeg")


def check(options: argparse.Namespace, films: Sequence[Job]) -> None:
    """Refuse the options that are for photos where there is a film."""
    from pix2color.errors import Pix2ColorError

    asked = [name for name in _PHOTOS_ONLY if getattr(options, name)]
    if options.variants > 1:
        asked.append("variants")
    if films and asked:
        raise Pix2ColorError(
            f"--{asked[0].replace('_', '-')} is for photos, and {films[0].source} is a film: leave"
            " it out, or color films in a run of their own"
        )


def colorize_videos(
    films: Sequence[Job], colorizer: Colorizer, settings: pipeline.JobOptions, *, quiet: bool
) -> Iterator[Outcome]:
    """Color films; yields each outcome.

    Ctrl-C (or SIGTERM) ends the film at hand as a playable one of another name, and then raises
    KeyboardInterrupt; a second one does so at once.
    """
    for job in films:
        with stop_requested(lambda: None) as stop:
            outcome, stopped = _one(job, colorizer, settings, stop, quiet=quiet)
        yield outcome
        if stopped:
            raise KeyboardInterrupt


def _one(
    job: Job, colorizer: Colorizer, settings: pipeline.JobOptions, stop: Callable[[], bool], *,
    quiet: bool,
) -> tuple[Outcome, bool]:  # fmt: skip
    from pix2color.jobs.pipeline import Outcome, failed
    from pix2color.video import pipeline

    start = time.perf_counter()
    if job.problem:
        return Outcome(job, "failed", job.problem), False
    if settings.resume and _done(job):
        return Outcome(job, "skipped", "already done"), False
    options = pipeline.VideoOptions(settings.decode, settings.provenance, resume=settings.resume)
    with _Bar(job.source, quiet=quiet) as bar:
        try:
            result = pipeline.colorize_video(
                job.source, job.target, colorizer, options, progress=bar, stop=stop
            )
        except Exception as error:
            return replace(failed(job, error), seconds=time.perf_counter() - start), False
        for note in result.notes:
            bar.say(f"{job.source}: {note}")
        if result.status == "stopped":
            reason = "stopped before the first frame"
            if result.path is not None:
                reason = f"stopped after {result.frames} frames, {result.path}"
            outcome = Outcome(job, "failed", reason, "{resume} continues")
            return replace(outcome, seconds=time.perf_counter() - start), True
    seconds = time.perf_counter() - start
    return Outcome(job, "done", notes=result.notes, seconds=seconds), False


def _done(job: Job) -> bool:
    try:
        return job.target.stat().st_mtime >= job.source.stat().st_mtime
    except OSError:
        return False


class _Bar:
    """Progress of one film; its remaining time counts this run's frames only."""

    def __init__(self, source: Path, *, quiet: bool) -> None:
        self._name, self._quiet = source.name, quiet
        self._progress: ProgressBar | None = None
        self._done = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __call__(self, stage: VideoProgress) -> None:
        if self._progress is None:
            self._start(stage)
        elif stage.done > self._done:
            self._progress.update(stage.done - self._done)
        self._done = stage.done

    def say(self, line: str) -> None:
        """A line that does not break the bar."""
        if self._progress is not None:
            self._progress.write(line)

    def _start(self, stage: VideoProgress) -> None:
        left = None if stage.expected is None else max(0, stage.expected - stage.done)
        self._progress = self._stack.enter_context(
            ProgressBar(left, unit="frame", description=self._name, quiet=self._quiet)
        )
        if stage.done:
            self.say(f"{self._name}: {stage.done} frames are done already")
