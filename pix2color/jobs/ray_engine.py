"""Coloring on a Ray cluster: this process plans and records, actors on the machines do the work.

Only names go through Ray: an actor reads and writes photos itself. Actors are Ray's plain ones: Ray
Data restarts its actors without limit (ray issue 51946) and has no outcome per photo.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import re
import shutil
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pix2color._version import __version__
from pix2color.errors import Pix2ColorError
from pix2color.jobs import pipeline
from pix2color.jobs.mirror import Mirror
from pix2color.jobs.pipeline import JobOptions, Outcome, WorkerStartError
from pix2color.jobs.planner import Job
from pix2color.jobs.processes import ChildLimits, Children, Network

_CHUNK = 16
"""Most photos of one call of an actor: what is done again where it dies."""
_CALLS = 2
"""Calls of an actor at a time: one that runs, and one that waits for it."""
_DEATHS = 2
"""Deaths of an actor on one photo alone, after which the photo fails."""
_DEATHS_IN_A_ROW = 6
"""Deaths of actors without an outcome in between, after which the run ends."""
_START = "start it with `ray start --head`, or name another with {ray_address}"
_START_SECONDS = 600.0
"""For the first actor, where the cluster has no free processor."""


@dataclass(frozen=True)
class RayCluster:
    """Where actors run, and what each takes."""

    address: str | None = None
    """HOST:PORT, or auto for the one that this machine is in; None: RAY_ADDRESS, or else a new one
    of this machine alone."""
    workers: int | None = None
    """Number of actors; None: as many as the cluster has room for."""
    cpus: int = 1
    """Processors of an actor; as many of its child processes work on photos."""
    gpus: float = 0.0
    """GPUs of an actor, or a share of one."""


class Worker:
    """An actor: child processes with a network each on one machine of the cluster."""

    def __init__(
        self, network: Network, options: JobOptions, limits: ChildLimits, processes: int
    ) -> None:
        self._network, self._options, self._processes = network, options, processes
        self._children = Children(network, options, limits)

    def prepare(self, version: str, folders: Sequence[Path]) -> None:
        """Load the network.

        Args:
            version: of pix2color, which started the run.
            folders: of sources and targets outside of stores.

        Raises:
            WorkerStartError: another version is installed here, a folder is not here, or the
                network cannot be loaded.
        """
        here = f"the Ray worker on {platform.node()}"
        if version != __version__:
            raise WorkerStartError(
                f"{here} has pix2color {__version__}, and {version} started the run",
                remedy="install the same version on all machines",
            )
        for folder in folders:
            if not folder.is_dir():
                raise WorkerStartError(
                    f"{here} has no folder {folder}",
                    remedy="name a store, or a folder that all machines share",
                )
        self._children.prepare()

    def colorize(self, jobs: Sequence[Job], mirror: Mirror) -> list[Outcome]:
        """Color photos. Raises WorkerStartError."""
        return list(
            pipeline.colorize_jobs(
                jobs,
                self._network.load,
                self._options,
                workers=self._processes,
                mirror=mirror,
                processes=self._children,
            )
        )

    def end(self, folder: Path | None) -> None:
        """End the child processes, and delete the copies that killed actors left here."""
        self._children.end()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def colorize_jobs(
    jobs: Sequence[Job],
    network: Network,
    options: JobOptions,
    cluster: RayCluster,
    *,
    mirror: Mirror,
    limits: ChildLimits | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Color every photo on a cluster; yields each outcome as it comes, in no fixed order.

    As `pipeline.colorize_jobs`. Where an actor or its machine is lost, another actor does its
    photos again, which gives the same bytes.

    Args:
        mirror: of the run; its folder is also that of the actors' copies, on each machine.
        stop: where it returns True, no further photo is given to an actor; those that have been
            are finished and yielded.

    Raises:
        Pix2ColorError: Ray is not installed, the cluster cannot be reached or has no room, or
            the actors cannot work.
    """
    if not jobs:
        return
    with _connected(cluster) as ray:
        pool = _Pool(ray, cluster, network, options, mirror, limits or ChildLimits())
        try:
            yield from pool.run(jobs, stop)
        finally:
            pool.end()


@dataclass
class _Chunk:
    jobs: list[Job]
    deaths: int = 0


@dataclass
class _Actor:
    handle: Any
    calls: dict[Any, _Chunk] = field(default_factory=dict)
    """Those under way, in the order in which the actor works on them."""


class _Pool:
    """The actors of a run, and which photos each has."""

    def __init__(
        self, ray: Any, cluster: RayCluster, network: Network, options: JobOptions,
        mirror: Mirror, limits: ChildLimits,
    ) -> None:  # fmt: skip
        self._ray, self._mirror = ray, mirror
        # Those that a lost machine did not finish are given to another actor by this class.
        actor = ray.remote(
            num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_restarts=0, max_task_retries=0
        )(Worker)
        self._new = lambda: actor.remote(network, options, limits, cluster.cpus)
        self._size = cluster.workers or _room(ray, cluster)
        self._starting: dict[Any, _Actor] = {}
        self._actors: list[_Actor] = []
        self._waiting: deque[_Chunk] = deque()
        self._folders: list[Path] = []
        self._deaths_in_a_row = 0

    def run(self, jobs: Sequence[Job], stop: Callable[[], bool]) -> Iterator[Outcome]:
        size = max(1, min(_CHUNK, len(jobs) // (4 * self._size)))
        self._waiting.extend(
            _Chunk([*jobs[first : first + size]]) for first in range(0, len(jobs), size)
        )
        self._size = min(self._size, len(self._waiting))
        self._folders = [*dict.fromkeys(self._local_folders(jobs[0]))]
        last = time.monotonic()
        while self._waiting or any(actor.calls for actor in self._actors):
            if stop():
                self._waiting.clear()
            self._start_missing()
            self._give()
            calls = {call: actor for actor in self._actors for call in actor.calls}
            pending = [*self._starting, *calls]
            if not pending:
                return
            finished, _ = self._ray.wait(pending, num_returns=1, timeout=1.0)
            for call in finished:
                if call in self._starting:
                    self._started(call)
                elif call in calls[call].calls:  # not of an actor whose death was seen above
                    yield from self._take(calls[call], call)
            if finished or self._actors:
                last = time.monotonic()
            elif time.monotonic() - last > _START_SECONDS:
                raise Pix2ColorError(
                    "the Ray cluster has no free processor for a worker",
                    remedy="wait until it has, or ask for less with {ray_cpus} and {ray_gpus}",
                )

    def end(self) -> None:
        """End all actors."""
        ends = [actor.handle.end.remote(self._mirror.folder) for actor in self._actors]
        with contextlib.suppress(Exception):  # an actor or a machine that is gone
            self._ray.wait(ends, num_returns=len(ends), timeout=10)
        for actor in [*self._actors, *self._starting.values()]:
            self._ray.kill(actor.handle)

    def _local_folders(self, job: Job) -> Iterator[Path]:
        if not self._mirror.holds(job.source):
            yield job.source.parent.absolute()
        if not self._mirror.holds(job.target):
            # The one of the target may be made later.
            yield next(path for path in job.target.absolute().parents if path.is_dir())

    def _start_missing(self) -> None:
        for _ in range(self._size - len(self._actors) - len(self._starting)):
            actor = _Actor(self._new())
            self._starting[actor.handle.prepare.remote(__version__, self._folders)] = actor

    def _give(self) -> None:
        for _ in range(_CALLS):  # first one call to each
            for actor in self._actors:
                if self._waiting and len(actor.calls) < _CALLS:
                    chunk = self._waiting.popleft()
                    jobs = [_absolute(job) for job in chunk.jobs]
                    call = actor.handle.colorize.remote(jobs, self._mirror.part(jobs))
                    actor.calls[call] = chunk

    def _started(self, call: Any) -> None:
        actor = self._starting.pop(call)
        try:
            self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            self._lost(error)
        else:
            self._actors.append(actor)

    def _take(self, actor: _Actor, call: Any) -> Iterator[Outcome]:
        try:
            outcomes = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            self._actors.remove(actor)
            self._ray.kill(actor.handle)  # it may live where its call raised an error
            yield from self._again(actor, error)
            self._lost(error)
            return
        self._deaths_in_a_row = 0
        jobs = {_absolute(job): job for job in actor.calls.pop(call).jobs}
        for outcome in outcomes:
            yield replace(outcome, job=jobs[outcome.job])

    def _again(self, actor: _Actor, error: Exception) -> Iterator[Outcome]:
        """Let others do what an actor had. The first of its calls is the one that ran."""
        for number, chunk in enumerate(reversed(actor.calls.values())):
            if number < len(actor.calls) - 1:
                self._waiting.appendleft(chunk)
            elif len(chunk.jobs) > 1:
                self._waiting.extendleft(_Chunk([job]) for job in reversed(chunk.jobs))
            elif chunk.deaths + 1 < _DEATHS:
                self._waiting.appendleft(_Chunk(chunk.jobs, chunk.deaths + 1))
            else:
                self._deaths_in_a_row = 0
                yield Outcome(chunk.jobs[0], "failed", f"crashed its worker: {_first_line(error)}")
        actor.calls.clear()

    def _lost(self, error: Exception) -> None:
        """Count the death of an actor; raises where another one would not do better."""
        cause = getattr(error, "cause", None)
        if isinstance(cause, Pix2ColorError):
            raise cause
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row >= _DEATHS_IN_A_ROW:
            raise Pix2ColorError(
                f"Ray workers end again and again: {_first_line(error)}",
                remedy="look at Ray's logs; all machines need this version of pix2color",
            )


def _absolute(job: Job) -> Job:
    """As an actor names it, which has a working folder of its own."""
    extra = tuple(path.absolute() for path in job.extra_outputs)
    return replace(
        job, source=job.source.absolute(), target=job.target.absolute(), extra_outputs=extra
    )


def _room(ray: Any, cluster: RayCluster) -> int:
    """How many actors fit into a cluster."""
    has = ray.cluster_resources()
    room = int(has.get("CPU", 0) // cluster.cpus)
    if cluster.gpus:
        room = min(room, int(has.get("GPU", 0) / cluster.gpus))
    if not room:
        raise Pix2ColorError(
            f"the Ray cluster has {has.get('CPU', 0):g} processors and {has.get('GPU', 0):g} GPUs,"
            f" and a worker takes {cluster.cpus} and {cluster.gpus:g}",
            remedy="ask for less with {ray_cpus} and {ray_gpus}",
        )
    return room


@contextlib.contextmanager
def _connected(cluster: RayCluster) -> Iterator[Any]:
    """The module `ray`, connected to the cluster for the block; raises Pix2ColorError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise Pix2ColorError(
            "Ray is not installed", remedy='pip install "pix2color[ray]"'
        ) from None
    address = cluster.address or os.environ.get("RAY_ADDRESS", "")
    _check_reachable(address)
    with _handlers_kept():
        try:
            ray.init(
                address or "local", include_dashboard=False, log_to_driver=False,
                logging_level=logging.ERROR,
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
            raise Pix2ColorError(
                f"the Ray cluster {address or 'of this machine'} cannot be used:"
                f" {_first_line(error)}",
                remedy=_START,
            ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise Pix2ColorError where nobody listens; Ray itself tries for minutes."""
    match = re.fullmatch(r"(?:ray://)?(.+):(\d{1,5})", address)
    if match is None:  # such as auto
        return
    try:
        socket.create_connection((match[1], int(match[2])), timeout=10).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Pix2ColorError(
            f"the Ray cluster {address} cannot be reached: {reason}", remedy=_START
        ) from None


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray has its own handler of SIGTERM; the command has one that stops at a safe point."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
