"""Which processes work on the photos of infer.py, and the record of the run."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pix2color.cli import common
from pix2color.errors import Pix2ColorError

if TYPE_CHECKING:
    from pix2color.inference.colorizer import Colorizer
    from pix2color.jobs.journal import Journal
    from pix2color.jobs.mirror import Mirror
    from pix2color.jobs.pipeline import JobOptions, Outcome
    from pix2color.jobs.planner import Job, JobPlan
    from pix2color.jobs.processes import ChildLimits, Network

ENGINES = ("local", "ray")
ISOLATED_FROM = 100
"""Photos of a run, from which on the start of child processes costs little beside the work."""
_RAY_OPTIONS = {"ray_address": None, "ray_cpus": 1, "ray_gpus": None}


def check(options: argparse.Namespace) -> None:
    """Refuse contradictory options; raises Pix2ColorError."""
    if options.engine != "ray":
        given = [
            name for name, default in _RAY_OPTIONS.items() if getattr(options, name) != default
        ]
        if given:
            raise Pix2ColorError(f"--{given[0].replace('_', '-')} is for --engine ray")
        return
    if options.isolate is False:
        raise Pix2ColorError("--engine ray has child processes always: leave --no-isolate out")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise Pix2ColorError(
            "--engine ray shares the photos among its own workers: start one process, without"
            " torchrun or accelerate"
        )
    in_memory = [url for url in (*options.inputs, options.out) if url.startswith("memory://")]
    if in_memory:
        raise Pix2ColorError(f"{in_memory[0]} is in the memory of this process alone")


@dataclass(frozen=True)
class Run:
    """What a run is made of."""

    options: argparse.Namespace
    plan: JobPlan
    mirror: Mirror
    colorizer: Colorizer
    settings: JobOptions
    device: str | None
    rank: int
    processes: int


@contextlib.contextmanager
def started_journal(run: Run) -> Iterator[tuple[Journal | None, list[Outcome], list[Job]]]:
    """The record of the run, and of the photos of this process: what is settled, what is left.

    There is a record where an input is a folder or a store. With --resume, it says what changed
    since the last run.
    """
    from pix2color.data.object_store import is_url
    from pix2color.jobs.journal import Journal, in_shards, recorded_options
    from pix2color.jobs.pipeline import remove_parts
    from pix2color.jobs.store import FolderStore

    options, plan = run.options, run.plan
    shards = in_shards(plan.jobs, run.processes)
    jobs = [job for shard in shards[run.rank :: run.processes] for job in shard]
    is_recorded = is_url(options.out) or any(is_url(i) or Path(i).is_dir() for i in options.inputs)
    if not is_recorded or not plan.jobs:
        yield None, [], jobs
        return
    out = Path(options.out)
    if is_url(options.out):
        out, store = run.mirror.add(options.out)
    else:
        store = FolderStore(out)
    recorded = recorded_options(run.settings, run.colorizer.runtime.kind)
    with Journal(store, out, run.mirror, weights=run.colorizer.digest, options=recorded) as journal:
        journal.start(shards, writes_manifest=run.rank == 0)
        settled: dict[Job, Outcome] = {}
        if options.resume:
            settled = {job: outcome for job in jobs if (outcome := journal.settled(job))}
            remove_parts([job for job in jobs if job not in settled])
        if options.resume and run.rank == 0 and not options.quiet:
            for line in journal.changes(plan.jobs):
                common.say(line, sys.stderr)
        yield journal, [*settled.values()], [job for job in jobs if job not in settled]


def outcomes(
    run: Run, jobs: Sequence[Job], *, stop: Callable[[], bool], is_recorded: bool
) -> Iterator[Outcome]:
    """Color photos with the engine of the options; yields each outcome as it comes.

    Args:
        stop: where it returns True, no further photo is started.
        is_recorded: the record decided what is done already, and not the times of files.
    """
    from pix2color.jobs import pipeline
    from pix2color.jobs.processes import ChildLimits, Children, Network

    options = run.options
    settings = replace(run.settings, resume=run.settings.resume and not is_recorded)
    limits = ChildLimits(seconds_per_megapixel=options.time_limit)
    network = Network(options.checkpoint, run.device, options.runtime, run.colorizer.digest)
    with contextlib.ExitStack() as stack:
        if options.engine == "ray":
            yield from _on_ray(run, jobs, network, settings, limits, stop)
            return
        children = None
        if _isolates(options, jobs, run.colorizer):
            children = stack.enter_context(Children(network, settings, limits))
        yield from pipeline.colorize_jobs(
            jobs, lambda: run.colorizer, settings, workers=options.workers, stop=stop,
            mirror=run.mirror, processes=children,
        )  # fmt: skip


def _isolates(options: argparse.Namespace, jobs: Sequence[Job], colorizer: Colorizer) -> bool:
    """Whether child processes work on the photos."""
    if options.isolate is not None:
        return bool(options.isolate)
    # torch takes seconds to import in each child, and a GPU has room for few networks.
    return colorizer.runtime.kind == "onnx" and len(jobs) >= ISOLATED_FROM


def _on_ray(
    run: Run, jobs: Sequence[Job], network: Network, settings: JobOptions, limits: ChildLimits,
    stop: Callable[[], bool],
) -> Iterator[Outcome]:  # fmt: skip
    from pix2color.jobs import ray_engine

    options = run.options
    gpus = options.ray_gpus
    if gpus is None:
        gpus = 1.0 if (options.device or "").startswith("cuda") else 0.0
    cluster = ray_engine.RayCluster(options.ray_address, options.workers, options.ray_cpus, gpus)
    if network.checkpoint and Path(network.checkpoint).exists():
        network = replace(network, checkpoint=str(Path(network.checkpoint).absolute()))
    # The machines of the cluster may have other devices than this one.
    network = replace(network, device=options.device)
    yield from ray_engine.colorize_jobs(
        jobs, network, settings, cluster, mirror=run.mirror, limits=limits, stop=stop
    )
