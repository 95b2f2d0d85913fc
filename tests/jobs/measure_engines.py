"""Figures of docs/archives.md: overhead per photo, memory of a long run, size of plan and record.

    python tests/jobs/measure_engines.py rates [FOLDER] [--count 400]
    python tests/jobs/measure_engines.py soak [--count 10000] [--isolate]
    python tests/jobs/measure_engines.py record [--count 20000]

Without a folder, photos of 64 pixels and the network at its smallest input: what is left is mostly
overhead. `rates` needs the extra [ray] for its last lines.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])

from archives import photo  # noqa: E402

from pix2color.inference.colorizer import Colorizer  # noqa: E402
from pix2color.jobs import pipeline, ray_engine  # noqa: E402
from pix2color.jobs.journal import Journal, in_shards  # noqa: E402
from pix2color.jobs.mirror import Mirror  # noqa: E402
from pix2color.jobs.pipeline import JobOptions, Outcome  # noqa: E402
from pix2color.jobs.planner import Job, plan_jobs  # noqa: E402
from pix2color.jobs.processes import Children, Network  # noqa: E402
from pix2color.jobs.store import FolderStore  # noqa: E402

SOURCES = 100


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def make_jobs(folder: Path, count: int, sources: Path | None) -> list[Job]:
    """As many jobs as asked for, from the photos of a folder over and over."""
    if sources is None:
        sources = folder / "in"
        sources.mkdir()
        for number in range(SOURCES):
            (sources / f"{number:03}.jpg").write_bytes(photo(number))
    jobs = plan_jobs([sources], folder / "out").jobs
    # Two photos under way never have the same target.
    return [jobs[number % len(jobs)] for number in range(count)]


def run(
    name: str, workers: int, jobs: list[Job], colorizer: Colorizer, options: JobOptions
) -> Iterator[Outcome]:
    """The outcomes of an engine."""
    network = Network()
    if name == "ray":
        cluster = ray_engine.RayCluster(workers=workers)
        yield from ray_engine.colorize_jobs(jobs, network, options, cluster, mirror=Mirror())
        return
    with contextlib.ExitStack() as stack:
        children = None
        if name == "processes":
            children = stack.enter_context(Children(network, options))
        yield from pipeline.colorize_jobs(
            jobs, lambda: colorizer, options, workers=workers, mirror=Mirror(), processes=children
        )


def rates(folder: Path, count: int, sources: Path | None) -> None:
    """Seconds to the first outcomes, then milliseconds per photo, of each engine."""
    colorizer, options = _network(sources)
    jobs = make_jobs(folder, count, sources)
    alone = []
    budget = pipeline.PixelBudget(1e9)
    for job in jobs[: count // 2]:
        start = time.perf_counter()
        pipeline.colorize_job(job, budget, colorizer=lambda: colorizer, options=options)
        alone.append(time.perf_counter() - start)
    work = sum(alone[len(alone) // 4 :]) / len(alone[len(alone) // 4 :])
    say(f"the work alone: {1000 * work:.1f} ms per photo; load {os.getloadavg()[0]:.1f}")
    say("| engine | workers | start (s) | ms per photo | photos per s | overhead (ms) |")
    for name in ("local", "processes", "ray"):
        for workers in (1, 2):
            times = [time.perf_counter()]
            for outcome in run(name, workers, jobs, colorizer, options):
                assert outcome.status == "done", outcome
                times.append(time.perf_counter())
            warm = len(times) // 4
            each = (times[-1] - times[warm]) / (len(times) - 1 - warm)
            say(
                f"| {name} | {workers} | {times[1] - times[0]:.2f} | {1000 * each:.1f} |"
                f" {1 / each:.0f} | {1000 * (each * workers - work):.1f} |"
            )


def soak(folder: Path, count: int, *, isolate: bool) -> None:
    """Memory of infer.py and its child processes in the course of one run, in MB."""
    jobs = make_jobs(folder, SOURCES, None)
    scans = folder / "scans"
    for number in range(count):
        link = scans / f"{number // 1000:03}/{number:06}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(jobs[number % SOURCES].source)
    command = [
        sys.executable, Path(__file__).parents[2] / "infer.py", scans, "--out", folder / "out",
        "--size", "32", "--quiet", "--isolate" if isolate else "--no-isolate",
    ]  # fmt: skip
    process = psutil.Popen([*map(str, command)])
    shares, step = [], count // 10
    while process.poll() is None:
        time.sleep(0.5)
        done = sum(len(files) for _, _, files in os.walk(folder / "out") if files)
        with contextlib.suppress(psutil.Error):
            memory = [p.memory_info().rss for p in (process, *process.children(recursive=True))]
            if done >= step * (len(shares) + 1):
                shares.append(sum(memory))
                say(f"{done:6} photos: {sum(memory) / 1e6:.1f} MB in {len(memory)} processes")
    assert process.returncode == 0
    say(f"growth from {step} photos to {count}: {100 * (shares[-1] / shares[0] - 1):.1f} %")


def record(folder: Path, count: int) -> None:
    """Bytes per photo: of the plan and the record in memory, and of the record's files."""
    scans = folder / "scans"
    for number in range(count):
        path = scans / f"{number // 1000:03}/scan-{number:08}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    memory = psutil.Process().memory_info
    before, start = memory().rss, time.perf_counter()
    jobs = plan_jobs([scans], folder / "out").jobs
    say(
        f"plan: {(memory().rss - before) / count:.0f} bytes of memory per photo,"
        f" {1e6 * (time.perf_counter() - start) / count:.0f} us"
    )
    out = FolderStore(folder / "out")
    for resumed in (False, True):
        start = time.perf_counter()
        with Journal(out, folder / "out", Mirror(), weights="0" * 12, options={"a": 1}) as journal:
            journal.start(in_shards(jobs, 1))
            for job in jobs:
                if resumed:
                    journal.settled(job)
                else:
                    journal.add(Outcome(job, "done", digests=("0" * 32,), seconds=0.123))
            peak = memory().rss
        what = "resumed" if resumed else "recorded"
        say(
            f"{what}: {(peak - before) / count:.0f} bytes of memory per photo with the plan,"
            f" {1e6 * (time.perf_counter() - start) / count:.0f} us"
        )
    for part in ("manifest", "runs", "commits"):
        size = sum(e.size for e in out.list(f".pix2color/{part}") if e.name.endswith(".jsonl"))
        say(f"{part}: {size / count:.0f} bytes per photo")
    child = subprocess.run(
        [sys.executable, "-c", "import psutil\nfrom pix2color import Colorizer\n"
         "Colorizer.from_pretrained()\nprint(psutil.Process().memory_info().rss)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    say(f"a process with the network: {int(child.stdout) / 1e6:.0f} MB")


def _network(sources: Path | None) -> tuple[Colorizer, JobOptions]:
    colorizer = Colorizer.from_pretrained()
    return colorizer, JobOptions(colorizer.resolve_decode(input_size=None if sources else 32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("rates", "soak", "record"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--count", type=int)
    parser.add_argument("--isolate", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "rates":
            rates(Path(folder), options.count or 400, options.folder)
        elif options.what == "soak":
            soak(Path(folder), options.count or 10_000, isolate=options.isolate)
        else:
            record(Path(folder), options.count or 20_000)


if __name__ == "__main__":
    main()
