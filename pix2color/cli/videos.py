"""The videos of infer.py: colorized one after the other, after the photos."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pix2color.cli.common import ProgressBar, stop_requested
from pix2color.errors import Pix2ColorError, describe

if TYPE_CHECKING:
    from pix2color.inference.colorizer import Colorizer
    from pix2color.jobs import pipeline
    from pix2color.jobs.pipeline import Outcome
    from pix2color.jobs.planner import Job
    from pix2color.video.pipeline import VideoProgress, VideoResult

_PHOTOS_ONLY = ("hints", "reference", "confidence", "skip_color", "srgb", "lossless_jpeg")


def check(options: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """Refuse options for photos where there is a video; raises Pix2ColorError."""
    names = [name for name in _PHOTOS_ONLY if getattr(options, name)]
    if options.variants > 1:
        names.append("variants")
    if jobs and names:
        raise Pix2ColorError(
            f"--{names[0].replace('_', '-')} is for photos, and {jobs[0].source} is a video: leave"
            " it out, or colorize videos in a run of their own"
        )


def colorize_videos(
    jobs: Sequence[Job], colorizer: Colorizer, settings: pipeline.JobOptions, *, quiet: bool
) -> Iterator[Outcome]:
    """Colorize videos; yields each outcome.

    Ctrl-C (or SIGTERM) writes the finished part of the current video as a playable one of another
    name, and then raises KeyboardInterrupt; a second one raises it at once.
    """
    for job in jobs:
        with stop_requested(lambda: None) as stop:
            outcome, stopped = _colorize(job, colorizer, settings, stop, quiet=quiet)
        yield outcome
        if stopped:
            raise KeyboardInterrupt


def _colorize(
    job: Job, colorizer: Colorizer, settings: pipeline.JobOptions, stop: Callable[[], bool], *,
    quiet: bool,
) -> tuple[Outcome, bool]:  # fmt: skip
    """The outcome of one video, and whether it was stopped."""
    from pix2color.jobs.pipeline import Outcome, failed
    from pix2color.video import pipeline

    start = time.perf_counter()
    if job.problem:
        return Outcome(job, "failed", job.problem), False
    if settings.resume and job.is_done(extra=False):
        return Outcome(job, "skipped", "already done"), False
    options = pipeline.VideoOptions(settings.decode, settings.provenance, resume=settings.resume)
    stopped = False
    with _VideoBar(job.source.name, quiet=quiet) as bar:
        try:
            result = pipeline.colorize_video(
                job.source, job.target, colorizer, options, progress=bar.update, stop=stop
            )
        except Exception as error:
            outcome = failed(job, error)
        else:
            for note in result.notes:
                bar.write(f"{job.source}: {note}")
            stopped = result.status == "stopped"
            outcome = Outcome(job, "done", notes=result.notes)
            if stopped:  # the command ends without a summary
                outcome = _stopped(job, result)
                bar.write(describe(outcome.reason, outcome.remedy, "--{}".format))
    return replace(outcome, seconds=time.perf_counter() - start), stopped


def _stopped(job: Job, result: VideoResult) -> Outcome:
    from pix2color.jobs.pipeline import Outcome

    if result.path is None:
        return Outcome(job, "failed", "stopped before the first frame")
    reason = f"stopped after {result.frames} frames, {result.path}"
    return Outcome(job, "failed", reason, "{resume} continues")


class _VideoBar(contextlib.ExitStack):
    """Progress of one video; its remaining time counts the frames of this run only."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        super().__init__()
        self._name, self._quiet = name, quiet
        self._bar: ProgressBar | None = None
        self._done = 0

    def update(self, progress: VideoProgress) -> None:
        """Show the progress; the first call starts the bar."""
        if self._bar is None:
            self._start(progress)
        elif progress.done > self._done:
            self._bar.update(progress.done - self._done)
        self._done = progress.done

    def write(self, line: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(line)

    def _start(self, progress: VideoProgress) -> None:
        expected = progress.expected
        left = None if expected is None else max(0, expected - progress.done)
        self._bar = self.enter_context(
            ProgressBar(left, unit="frames", description=self._name, quiet=self._quiet)
        )
        if progress.done:
            self.write(f"{self._name}: {progress.done} frames are done already")
