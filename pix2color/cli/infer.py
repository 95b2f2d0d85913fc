"""python infer.py photos/: color files and folders, photos and films."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pix2color.cli import common
from pix2color.errors import EXIT_FAILED, EXIT_OK, Pix2ColorError

if TYPE_CHECKING:
    from pix2color.guidance.guidance import Guidance
    from pix2color.guidance.hints import Hint
    from pix2color.inference.colorizer import Colorizer
    from pix2color.jobs.pipeline import JobOptions, Outcome
    from pix2color.jobs.planner import JobPlan

_EXAMPLE = """example:
  python infer.py photos/                        colors a folder into ./colorized/
  python infer.py scan.tif --out done --vividness 0.5
  python infer.py film.mp4                       a film, with its sound (extra [video])
  accelerate launch --num_processes 4 infer.py archive/    shares a folder among GPUs
  torchrun --nproc_per_node 4 infer.py archive/            ... or among CPU processes
"""


_RANGES = {"variants": (1, 16), "strength": (0, 1), "max_megapixels": (0.001, 100_000)}
"""Of options; those of the colors are in `config.Decode`."""


def main(argv: list[str] | None = None) -> int:
    """Color photos; returns 0 when all were done, 1 when some failed, 2 when nothing could be."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments:
        parser().print_help()
        return 0
    options = parser().parse_args(arguments)
    return common.run_command(lambda: _infer(options))


def parser() -> argparse.ArgumentParser:
    """The arguments of infer.py."""
    parser = common.Parser(
        prog="infer.py",
        description="Color photos and films. Size, format, depth, metadata and lightness stay.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="PHOTO|FILM|FOLDER", help="folders are nested")
    parser.add_argument(
        "--out", default="colorized", metavar="FOLDER", help="default: ./colorized/"
    )
    parser.add_argument("--quiet", action="store_true", help="errors only")
    network = parser.add_argument_group("network")
    network.add_argument(
        "--checkpoint",
        metavar="FILE|USER/REPO",
        help="a release file, or its name on the Hugging Face Hub; default: the packaged weights",
    )
    network.add_argument(
        "--backend", choices=("torch", "onnx"),
        help="default: torch, and onnx for an .onnx --checkpoint; onnx exports others once",
    )  # fmt: skip
    network.add_argument("--device", help="cpu, cuda, ...; default: a GPU where there is one")
    network.add_argument(
        "--size", type=int, metavar="N", help="shorter side the network sees, pixels"
    )
    color = parser.add_argument_group("color (each in place of the weights' default)")
    color.add_argument(
        "--temperature", type=float, metavar="T", help="of the class mean: lower is more decided"
    )
    color.add_argument(
        "--vividness", type=float, metavar="TAU", help="0 is faithful, 0.5 vivid, 1 too much"
    )
    color.add_argument("--saturation", type=float, metavar="X", help="factor on the colors")
    say = parser.add_argument_group("a say in the colors")
    say.add_argument(
        "--hints", metavar="FILE", help="JSON: colors pinned to points, strokes and boxes"
    )
    say.add_argument("--reference", metavar="PHOTO", help="a color photo whose palette is taken")
    say.add_argument(
        "--strength", type=float, default=0.5, metavar="X", help="of the palette: 0..1 (0.5)"
    )
    say.add_argument(
        "--variants", type=int, default=1, metavar="N",
        help="versions that differ where the network is unsure: NAME, NAME-2, ... NAME-N",
    )  # fmt: skip
    say.add_argument(
        "--confidence", action="store_true",
        help="also NAME-confidence.png: white where the network is sure",
    )  # fmt: skip
    files = parser.add_argument_group("files")
    files.add_argument(
        "--keep-color", action="store_true", help="skip photos that already have color"
    )
    files.add_argument(
        "--srgb", action="store_true", help="write sRGB in place of another RGB profile"
    )
    files.add_argument(
        "--no-mark",
        action="store_true",
        help="do not write into the metadata that colors are guesses",
    )
    files.add_argument(
        "--reversible", action="store_true",
        help="JPEG: keep the scan's luminance data, so that `uncolor` gives it back bit for bit",
    )  # fmt: skip
    files.add_argument("--resume", action="store_true", help="skip photos that are done already")
    files.add_argument("--report", metavar="FILE", help="write every photo's status as JSON")
    files.add_argument(
        "--truncated", choices=("error", "keep"), default="error",
        help="keep: color what there is of files that end too early",
    )  # fmt: skip
    files.add_argument(
        "--max-megapixels", type=float, default=300.0, metavar="N",
        help="refuse larger photos (default 300)",
    )  # fmt: skip
    return parser


def _infer(options: argparse.Namespace) -> int:
    from pix2color.cli import videos
    from pix2color.jobs.planner import plan_jobs

    start = time.perf_counter()
    _check(options)
    todo = plan_jobs(
        options.inputs, options.out, variants=options.variants, confidence=options.confidence
    )
    videos.check(options, todo.videos)
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    report = _report_path(options, todo, rank, processes)
    common.stop_on_sigterm()
    jobs = todo.jobs[rank::processes]
    with _gc_paused():
        from pix2color.inference.colorizer import Colorizer
        from pix2color.jobs import pipeline

        colorizer = Colorizer.from_pretrained(
            options.checkpoint,
            _device(options.device),
            backend=options.backend,
            announce=None if options.quiet else lambda line: print(line, file=sys.stderr),
        )
    settings = _settings(options, colorizer, todo)
    outcomes: list[Outcome] = []

    def write_report() -> None:
        if report is not None:
            _write_report(report, outcomes, todo, settings, weights=colorizer.digest)

    write_report()  # a place that does not take it is known before the work, not after
    try:
        with common.ProgressBar(len(jobs), unit="photo", quiet=options.quiet) as progress:
            for outcome in pipeline.colorize_jobs(jobs, lambda: colorizer, settings):
                outcomes.append(outcome)
                for note in outcome.notes:
                    progress.write(f"{outcome.job.source}: {note}")
                progress.update()
        own = todo.videos[rank::processes]
        outcomes.extend(videos.colorize_videos(own, colorizer, settings, quiet=options.quiet))
    finally:
        written = _attempt(write_report)
    code = _summary(options, outcomes, todo, seconds=time.perf_counter() - start)
    return code if written else EXIT_FAILED


def _attempt(write_report: Callable[[], None]) -> bool:
    """Write the report; where that fails, only say so: the summary must not be lost with it."""
    try:
        write_report()
    except Pix2ColorError as error:
        common.say(f"error: {error}", sys.stderr)
        return False
    return True


@contextlib.contextmanager
def _gc_paused() -> Iterator[None]:
    """For imports: what they make stays; looking for garbage in it takes a sixth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _device(name: str | None) -> str | None:
    """With several processes on a machine, each takes its own GPU."""
    local = os.environ.get("LOCAL_RANK")
    if name in (None, "cuda") and local is not None:
        import torch

        if torch.cuda.is_available():
            return f"cuda:{int(local) % torch.cuda.device_count()}"
    return name


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be before anything heavy is done."""
    common.check_ranges(options, **_RANGES)
    asked = options.hints or options.reference or options.variants > 1 or options.confidence
    if options.reversible and asked:
        raise Pix2ColorError(
            "--reversible goes with none of --hints, --reference, --variants and --confidence"
        )


def _hints(options: argparse.Namespace, todo: JobPlan) -> dict[str, tuple[Hint, ...]]:
    """Hints by the name of a photo.

    A list is for the one photo that is given; an object names its photos.
    """
    from pix2color.guidance.hints import read_hints

    if not options.hints:
        return {}
    found = read_hints(options.hints)
    names = [job.source.name for job in todo.jobs]
    if isinstance(found, list):
        if len(names) != 1:
            raise Pix2ColorError(
                f"hints {options.hints}: a list is for one photo, and there are {len(names)}:"
                ' write {"NAME.jpg": [...], ...}'
            )
        return {names[0]: tuple(found)}
    for name in found:
        if names.count(name) != 1:
            many = "several photos are" if name in names else "no photo is"
            raise Pix2ColorError(f"hints {options.hints}: {many} called {name}")
    return {name: tuple(one) for name, one in found.items()}


def _guidance(options: argparse.Namespace) -> Guidance:
    from pix2color.guidance.guidance import Guidance
    from pix2color.guidance.palette import palette_of

    palette = palette_of(options.reference) if options.reference else None
    return Guidance(palette=palette, strength=options.strength, variants=options.variants)


def _settings(options: argparse.Namespace, colorizer: Colorizer, todo: JobPlan) -> JobOptions:
    from pix2color.jobs import pipeline
    from pix2color.photo import Limits

    decode = colorizer.resolve_decode(
        size=options.size,
        temperature=options.temperature,
        vividness=options.vividness,
        saturation=options.saturation,
    )
    return pipeline.JobOptions(
        decode=decode,
        limits=Limits(megapixels=options.max_megapixels, on_truncated=options.truncated),
        provenance=None if options.no_mark else pipeline.provenance_of(colorizer, decode),
        skip_color=options.keep_color,
        srgb=options.srgb,
        lossless=options.reversible,
        resume=options.resume,
        guidance=_guidance(options),
        hints=_hints(options, todo),
        confidence=options.confidence,
    )


def _summary(
    options: argparse.Namespace, outcomes: Sequence[Outcome], todo: JobPlan, *, seconds: float
) -> int:
    from pix2color.jobs.planner import skip_reason

    ordered = sorted(outcomes, key=lambda o: o.job.source)
    done, skipped, failed = (
        [o for o in ordered if o.status == status] for status in ("done", "skipped", "failed")
    )
    if not options.quiet:
        kinds = "photos and films" if todo.jobs else "films"
        kinds = kinds if todo.videos else "photos"
        left = f", {len(skipped)} skipped" if skipped else ""
        common.say(
            f"{len(done)} of {len(outcomes)} {kinds} colored{left} in {seconds:.1f} s "
            f"-> {options.out}"
        )
        for outcome in skipped:
            common.say(f"skipped {outcome.job.source}: {outcome.reason}")
        for path in todo.unsupported:
            common.say(f"skipped {path}: {skip_reason(path)}")
        for entry in todo.left_out:
            common.say(f"skipped {entry.path}: {entry.reason}")
    if failed:
        common.say(f"{len(failed)} failed:", sys.stderr)
        for outcome in failed:
            common.say(f"  {outcome.job.source}: {outcome.reason}", sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _report_path(
    options: argparse.Namespace, todo: JobPlan, rank: int, processes: int
) -> Path | None:
    """Where this process's report goes; raises Pix2ColorError where that is another file."""
    from pix2color.jobs.planner import refuse_sources

    if options.report is None:
        return None
    path = Path(_rank_suffixed(options.report, rank, processes))
    if not options.report or (path.exists() and not path.is_file()):
        raise Pix2ColorError(f"report {path}: a folder or a device; name a file")
    jobs = [*todo.jobs, *todo.videos]
    read = (options.hints, options.reference, options.checkpoint)
    sources = [Path(name) for name in read if name and Path(name).exists()]
    refuse_sources([path], [*(job.source for job in jobs), *sources])
    if os.path.realpath(path) in {os.path.realpath(p) for job in jobs for p in job.targets}:
        raise Pix2ColorError(f"report {path}: a colored photo goes there; choose another name")
    return path


def _rank_suffixed(path: str, rank: int, processes: int) -> str:
    """Each process of several writes a report of its own: status.json -> status-1of4.json."""
    if processes == 1:
        return path
    stem, dot, suffix = path.rpartition(".")
    return f"{stem or suffix}-{rank + 1}of{processes}{dot if stem else ''}{suffix if stem else ''}"


def _write_report(
    path: Path, outcomes: Sequence[Outcome], todo: JobPlan, settings: JobOptions, *, weights: str
) -> None:
    """Every photo's status as JSON, whole or not at all. Raises Pix2ColorError."""
    import json

    from pix2color._version import __version__
    from pix2color.photo.writing import atomic_open_photo

    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    photos: list[dict[str, Any]] = [
        {
            "source": str(o.job.source),
            "target": str(o.job.target),
            "status": o.status,
            "reason": o.reason,
            "notes": list(o.notes),
            "seconds": round(o.seconds, 3),
        }
        for o in sorted(outcomes, key=lambda o: o.job.source)
    ]
    tree = {
        "pix2color": __version__,
        "weights": weights,
        "decode": settings.decode.model_dump(),
        "counts": counts,
        "photos": photos,
        "unsupported": [str(p) for p in todo.unsupported],
        "left_out": [{"path": str(e.path), "reason": e.reason} for e in todo.left_out],
    }
    text = json.dumps(tree, indent=1, ensure_ascii=False)
    try:
        with atomic_open_photo(path) as file:
            # Bytes of names that are not UTF-8 become \udcXX, which is JSON, too.
            file.write(text.encode("utf-8", "backslashreplace"))
    except (Pix2ColorError, OSError) as error:
        raise Pix2ColorError(f"report {path}: {error}") from None
