"""Photos worked on in child processes: what ends or blocks one costs its photo and nothing else."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pix2color.errors import Pix2ColorError, WeightsError
from pix2color.io import remove_stale_parts
from pix2color.jobs.pipeline import (
    JobOptions,
    Outcome,
    PixelBudget,
    WorkerDiedError,
    WorkerStartError,
    colorize_job,
)
from pix2color.jobs.planner import Job

if TYPE_CHECKING:
    from pix2color.inference.colorizer import Colorizer

_START_SECONDS = 300.0
"""For importing torch and loading a network, also on a busy machine."""
_STARTS = 3
_PROCESSES = threading.Lock()
"""Starting processes and waiting for them is not safe in several threads."""


@dataclass(frozen=True)
class Network:
    """What a process needs to load the network: arguments of `Colorizer.from_pretrained`."""

    checkpoint: str | None = None
    device: str | None = None
    runtime: str | None = None
    digest: str = ""
    """That it must have; empty: any."""

    def load(self) -> Colorizer:
        """Load it. Raises as `Colorizer.from_pretrained`, and WeightsError for another digest."""
        from pix2color.inference.colorizer import Colorizer

        colorizer = Colorizer.from_pretrained(self.checkpoint, self.device, runtime=self.runtime)
        if self.digest not in ("", colorizer.digest):
            raise WeightsError(
                f"the weights have the digest {colorizer.digest} on {platform.node()}, and"
                f" {self.digest} where the run was started",
                remedy="the same {checkpoint} must be on all machines",
            )
        return colorizer


@dataclass(frozen=True)
class ChildLimits:
    """What one photo may take in a child process."""

    seconds_per_megapixel: float = 30.0
    """One megapixel is added to those of the photo. The larger of pixels and bytes counts."""
    memory: int = 2**30
    """Bytes for any photo, beside what the network takes. Enforced on Linux only."""
    memory_per_pixel: int = 64
    """Further bytes per pixel of the photo; 16-bit RGB takes about half."""

    def seconds(self, pixels: float) -> float:
        """Time for a photo of so many pixels."""
        return self.seconds_per_megapixel * (1 + pixels / 1e6)

    def bytes(self, pixels: float) -> int:
        """Memory for a photo of so many pixels."""
        return self.memory + int(self.memory_per_pixel * pixels)


@dataclass(frozen=True)
class _Child:
    process: BaseProcess
    pipe: connection.Connection


class Children:
    """Child processes with a network each, started when they are needed; ended by the context.

    Safe to call from several threads: each call takes a child that is idle, or a new one.
    """

    def __init__(
        self, network: Network, options: JobOptions, limits: ChildLimits | None = None
    ) -> None:
        self._network, self._options = network, options
        self._limits = limits or ChildLimits()
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._all: list[_Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """End all processes; calls under way raise WorkerDiedError."""
        with self._lock:
            idle, self._idle = self._idle, []
            busy = [child for child in self._all if child not in idle]
        for child in busy:  # the call that waits for it does the rest
            child.process.kill()
        for child in idle:
            self._end(child)

    def prepare(self) -> None:
        """Start one process, so that errors show. Raises WorkerStartError."""
        child = self._start()
        with self._lock:
            self._idle.append(child)

    def colorize(self, job: Job, budget: PixelBudget) -> Outcome:
        """Color one photo; waits until the budget has its pixels.

        Raises:
            WorkerDiedError: its process ended, or was ended because it took too long.
            WorkerStartError: a process could not load the network.
        """
        with self._lock:
            child = self._idle.pop() if self._idle else None
        child = child or self._start()
        try:
            outcome = self._converse(child, job, budget)
        except BaseException:
            self._end(child)
            # Of the process that is gone; after it was waited for, so that it counts as ended.
            for folder in {path.parent for path in job.targets}:
                remove_stale_parts(folder)
            raise
        with self._lock:
            self._idle.append(child)
        return outcome

    def _converse(self, child: _Child, job: Job, budget: PixelBudget) -> Outcome:
        """Answer the child's requests for pixels until it has the outcome."""
        with contextlib.ExitStack() as reserved:
            answer: Job | None = job
            pixels = 0.0
            while True:
                with _death_named(child):
                    child.pipe.send(answer)
                limit = self._limits.seconds(pixels)
                message = _receive(child, limit)
                if isinstance(message, Outcome):
                    return message
                answer, pixels = None, message
                reserved.close()
                reserved.enter_context(budget.reserve(pixels))

    def _start(self) -> _Child:
        """A new process, tried again where something ends it while it starts."""
        for _ in range(_STARTS - 1):
            with contextlib.suppress(WorkerDiedError):
                return self._start_once()
        try:
            return self._start_once()
        except WorkerDiedError as death:
            raise WorkerStartError(
                f"no worker process starts: {death}",
                remedy="fewer {workers} may fit into the memory",
            ) from None

    def _start_once(self) -> _Child:
        context = get_context("spawn")
        ours, its = context.Pipe()
        arguments = (its, self._network, self._options, self._limits)
        process = context.Process(target=_serve, args=arguments, daemon=True)
        with _PROCESSES:
            process.start()
        child = _Child(process, ours)
        with self._lock:
            self._all.append(child)
        its.close()
        try:
            problem = _receive(child, _START_SECONDS)
        except WorkerDiedError:
            self._end(child)
            raise
        if problem is not None:
            self._end(child)
            raise WorkerStartError(problem.message, remedy=problem.remedy)
        return child

    def _end(self, child: _Child) -> None:
        with _PROCESSES:
            child.process.kill()
            child.process.join()
        child.pipe.close()
        with self._lock:
            if child in self._all:
                self._all.remove(child)


def _receive(child: _Child, seconds: float) -> Any:
    """What a child sends. Raises WorkerDiedError where it ends, or sends nothing in time."""
    with _death_named(child):
        if child.pipe.poll(seconds):
            return child.pipe.recv()
    raise WorkerDiedError(f"not done within {seconds:.0f} s")


@contextlib.contextmanager
def _death_named(child: _Child) -> Iterator[None]:
    """Turn what a broken pipe raises into a WorkerDiedError that says how the process ended."""
    try:
        yield
    except (EOFError, OSError):
        with _PROCESSES:
            child.process.join(5)
        code = child.process.exitcode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                raise WorkerDiedError(f"ended by {signal.Signals(-code).name}") from None
        raise WorkerDiedError(f"ended with exit code {code}") from None


class _AskingBudget(PixelBudget):
    """The budget as a child sees it: the parent answers when the pixels are free."""

    def __init__(self, pipe: connection.Connection, limits: ChildLimits) -> None:
        self._pipe, self._limits = pipe, limits

    @contextlib.contextmanager
    def reserve(self, pixels: float) -> Iterator[None]:
        """As `PixelBudget.reserve`; also sets the memory limit of a photo of so many pixels."""
        self._pipe.send(float(pixels))
        self._pipe.recv()
        _limit_memory(self._limits.bytes(pixels))
        yield


def _serve(
    pipe: connection.Connection, network: Network, options: JobOptions, limits: ChildLimits
) -> None:
    """The life of a child: load the network, then color photos until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent lets the photos under way finish
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        colorizer = network.load()
    except Pix2ColorError as error:
        pipe.send(error)
        return
    pipe.send(None)
    budget = _AskingBudget(pipe, limits)
    with contextlib.suppress(EOFError, OSError):  # the parent ended
        while True:
            job = pipe.recv()
            pipe.send(colorize_job(job, budget, colorizer=lambda: colorizer, options=options))


def _end_with_parent() -> None:
    """A photo that blocks would keep this process after a parent that was killed."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _limit_memory(more: int) -> None:
    """Let this process have so many bytes beside those that it has; Linux only."""
    if sys.platform != "linux":
        return
    import resource

    # Unlike RLIMIT_AS, it does not count what GPU drivers and allocators only reserve.
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limit, hard = pages * resource.getpagesize() + more, resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
