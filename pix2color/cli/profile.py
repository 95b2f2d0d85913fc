"""python -m pix2color profile: the time of each stage of coloring."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pix2color.cli import common
from pix2color.errors import Pix2ColorError
from pix2color.io import atomic_write, check_writable

if TYPE_CHECKING:
    from pix2color.analysis.profile import Rate, Timing


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color profile",
        description="Time every stage of coloring, one photo at a time, warm.",
    )
    # fmt: off
    add = parser.add_argument
    add("photos", nargs="*", metavar="PHOTO", help="default: synthetic photos")
    add("--megapixels", type=float, nargs="+", default=[1.0, 12.0], help="of synthetic photos")
    add("--format", default="JPEG", choices=("JPEG", "PNG", "TIFF"), help="of synthetic photos")
    add("--runs", type=int, default=7)
    add("--checkpoint", metavar="FILE")
    add("--device")
    add("--runtime", nargs="+", choices=("torch", "onnx"), help="one or both, taking turns")
    add("--folder", type=int, metavar="N", help="also color a folder of N copies")
    add("--json", metavar="FILE", help="write every time measured")
    add("--start", action="store_true", help="also time the command until its first photo is done")
    # fmt: on
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print a table of the stages' times; returns an exit code."""
    options = parser().parse_args(argv)
    return common.run_command(_profile, options)


def _profile(options: argparse.Namespace) -> int:
    common.check_ranges(options, megapixels=(0.0001, 1000), runs=(1, 10_000), folder=(1, 100_000))
    from pix2color.analysis import profile
    from pix2color.inference.colorizer import Colorizer

    colorizers = [
        Colorizer.from_pretrained(options.checkpoint, options.device, runtime=runtime)
        for runtime in options.runtime or [None]
    ]
    if options.json:
        with _named(options.json):  # before minutes of work
            check_writable(Path(options.json))
    timings, folders = [], {}
    for name, data in _photos(options):
        measured = profile.measure(name, data, colorizers, runs=options.runs)
        timings += measured
        if options.folder:
            rate = profile.measure_throughput(
                data, colorizers[0], measured[0], photos=options.folder
            )
            folders[name] = _rate(rate)
    facts = _facts(colorizers[0].runtime.info.name, colorizers[0].decode.input_size)
    if options.start:
        facts["start_seconds"] = _start(options)
    if folders:
        facts["folder"] = folders
    print(_table(timings, facts))
    if options.json:
        _write_json(options.json, timings, facts)
    return 0


def _photos(options: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file to color."""

    from pix2color.analysis import profile

    for path in options.photos:
        if not Path(path).is_file():
            raise Pix2ColorError(f"{path}: no such file")
        yield path, Path(path).read_bytes()
    if not options.photos:
        for megapixels in options.megapixels:
            name = f"{megapixels:g} MP {options.format}"
            yield name, profile.synthetic_photo(megapixels, options.format)


def _facts(weights: str, size: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"weights": weights, "network_size": size, "cores": os.cpu_count()}
    if hasattr(os, "getloadavg"):
        facts["load"] = round(os.getloadavg()[0], 2)
    try:
        import resource
    except ImportError:  # Windows
        return facts
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    facts["peak_memory_mb"] = round(peak / (2**20 if sys.platform == "darwin" else 2**10))
    return facts


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "photos": rate.photos,
        "photos_per_second": round(rate.photos / rate.seconds, 2),
        "slowest_stage": rate.slowest,
        "of_its_rate": round(rate.bottleneck_ratio, 2),
        "cores_busy": round(rate.cpu_utilization, 2),
    }


def _start(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds from the command to its end, for --help and for one small photo: medians.

    The commands take turns; `processor` is the time that the processor worked for one, which other
    programs on the machine do not lengthen.
    """
    import statistics
    import subprocess
    import tempfile
    import time

    from pix2color.analysis import profile

    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        photo.write_bytes(profile.synthetic_photo(0.3, "JPEG"))
        color = [str(photo), "--out", str(Path(folder) / "out"), "--quiet"]
        for name in ("checkpoint", "device"):
            value = getattr(options, name)
            color += [f"--{name}", value] if value else []
        commands = {"help": ["--help"]}
        for runtime in options.runtime or [None]:
            name = "first photo" + (f", {runtime}" if runtime else "")
            commands[name] = [*color, *(["--runtime", runtime] if runtime else [])]
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, arguments in commands.items():
                start, worked = time.perf_counter(), _children()
                subprocess.run(
                    [sys.executable, "-m", "pix2color", "infer", *arguments],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                times[name].append((time.perf_counter() - start, _children() - worked))
    return {
        name: {
            "wall": round(statistics.median(wall for wall, _ in pairs), 3),
            "processor": round(statistics.median(worked for _, worked in pairs), 3),
        }
        for name, pairs in times.items()
    }


def _children() -> float:
    """Processor time of the commands that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _table(timings: list[Timing], facts: dict[str, Any]) -> str:
    import statistics

    from pix2color import markdown
    from pix2color.analysis.profile import STAGES

    head = ["seconds, median +- half the quartiles' distance", *STAGES, "total"]
    rows = []
    for t in timings:
        cells = [f"{t.median(s):.3f} +-{t.spread(s):.3f}" for s in STAGES]
        name = f"{t.name}, {t.runtime}"
        rows.append([name, *cells, f"{statistics.median(t.totals()):.3f}"])
    return f"{markdown.table(head, rows)}\n\n{', '.join(f'{k} {v}' for k, v in facts.items())}"


def _write_json(path: str, timings: list[Timing], facts: dict[str, Any]) -> None:
    import json

    photos = [
        {"name": t.name, "runtime": t.runtime, "megapixels": t.megapixels, "stages": t.stages}
        for t in timings
    ]
    with _named(path):
        atomic_write(Path(path), json.dumps(facts | {"photos": photos}, indent=1))


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Turns an OSError into a Pix2ColorError that names the file."""
    try:
        yield
    except OSError as error:
        raise Pix2ColorError(f"{path}: {error.strerror or error}") from None
