"""python infer.py photos/: color files and folders, photos and videos."""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pix2color.cli import common, engines
from pix2color.errors import EXIT_FAILED, EXIT_OK, Pix2ColorError

if TYPE_CHECKING:
    from pix2color.guidance.guidance import Guidance
    from pix2color.guidance.hints import Hint
    from pix2color.inference.colorizer import Colorizer
    from pix2color.jobs.mirror import Mirror
    from pix2color.jobs.pipeline import JobOptions, Outcome
    from pix2color.jobs.planner import JobPlan

_EXAMPLE = """example:
  python infer.py photos/                        colors a folder into ./colorized/
  python infer.py scan.tif --out done --vividness 0.5
  python infer.py s3://bucket/scans --out s3://bucket/colored   (extra [cloud])
  python infer.py film.mp4                       a video, with its sound (extra [video])
  accelerate launch --num_processes 4 infer.py archive/    shares a folder among GPUs
  torchrun --nproc_per_node 4 infer.py archive/            ... or among CPU processes
"""


_RANGES = {
    "variants": (1, 16), "palette_strength": (0, 1), "max_megapixels": (0.001, 100_000),
    "workers": (1, 10_000), "time_limit": (0.1, 86_400), "ray_cpus": (1, 1024), "ray_gpus": (0, 64),
}  # fmt: skip
"""Of options; those of the colors are in `config.Decode`."""


def main(argv: list[str] | None = None) -> int:
    """Color photos; returns 0 when all were done, 1 when some failed, 2 when nothing could be."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments:
        parser().print_help()
        return 0
    options = parser().parse_args(arguments)
    return common.run_command(_infer, options)


def parser() -> argparse.ArgumentParser:
    """The arguments of infer.py."""
    parser = common.Parser(
        prog="infer.py",
        description="Color photos and videos. Size, format, depth, metadata and lightness stay.",
        epilog=_EXAMPLE,
    )
    # fmt: off
    add = parser.add_argument
    add("inputs", nargs="+", metavar="PHOTO|VIDEO|FOLDER|URL",
        help="folders are nested; a URL such as s3://bucket/scans (extra [cloud]) as a folder")
    add("--out", default="colorized", metavar="FOLDER|URL", help="default: ./colorized/")
    add("--quiet", action="store_true", help="errors only")
    add = parser.add_argument_group("network").add_argument
    add("--checkpoint", metavar="FILE|USER/REPO",
        help="a release file, or its name on the Hugging Face Hub; default: the packaged weights")
    add("--runtime", choices=("torch", "onnx"),
        help="default: onnx on a CPU, torch on a GPU and for weights without a graph beside them,"
        " which onnx exports once")
    add("--device", help="cpu, cuda, ...; default: a GPU where there is one")
    add("--size", type=int, metavar="N", help="shorter side of the network's input, pixels")
    add = parser.add_argument_group("color (each in place of the weights' default)").add_argument
    add("--temperature", type=float, metavar="T", help="of the class mean: lower is more decided")
    add("--vividness", type=float, metavar="TAU", help="0 is faithful, 0.5 vivid, 1 too much")
    add("--saturation", type=float, metavar="X", help="factor on the colors")
    add("--calibration", type=float, metavar="SHARE",
        help="0..1, of the chroma calibration that some weights have")
    add = parser.add_argument_group("guidance").add_argument
    add("--hints", metavar="FILE", help="JSON: colors pinned to points, strokes and boxes")
    add("--reference", metavar="PHOTO", help="a color photo whose palette is taken")
    add("--palette-strength", type=float, default=0.5, metavar="X", help="0..1 (default 0.5)")
    add("--variants", type=int, default=1, metavar="N",
        help="versions that differ where the network is unsure: NAME, NAME-2, ... NAME-N")
    add("--confidence", action="store_true",
        help="also NAME-confidence.png: white where the network is sure")
    add = parser.add_argument_group("files").add_argument
    add("--skip-color", action="store_true", help="skip photos that already have color")
    add("--srgb", action="store_true", help="write sRGB in place of another RGB profile")
    add("--no-provenance", action="store_true",
        help="do not write into the metadata that the colors are predicted")
    add("--lossless-jpeg", action="store_true",
        help="JPEG: keep the scan's luminance data, so that `restore` recovers it bit for bit")
    add("--resume", action="store_true", help="skip photos that are done already")
    add("--report", metavar="FILE", help="write every photo's status as JSON")
    add("--allow-truncated", action="store_true",
        help="color what there is of files that end too early")
    add("--max-megapixels", type=float, default=300.0, metavar="N",
        help="refuse larger photos (default 300)")
    add = parser.add_argument_group("processes").add_argument
    add("--workers", type=int, metavar="N",
        help="photos at work at a time; default: the processors of this machine or of the cluster")
    add("--isolate", action=argparse.BooleanOptionalAction, default=None,
        help="work on photos in child processes, so that one that crashes a decoder, blocks or"
        f" takes all memory fails alone; default: from {engines.ISOLATED_FROM} photos on, on a CPU"
        " with onnx")
    add("--time-limit", type=float, default=30.0, metavar="SECONDS",
        help="of a child process for a megapixel, one more counted (default 30)")
    add("--engine", choices=engines.ENGINES, default="local",
        help="ray: share the photos among the machines of a Ray cluster (extra [ray])")
    add("--ray-address", metavar="HOST:PORT",
        help="default: RAY_ADDRESS, or else a new cluster of this machine alone")
    add("--ray-cpus", type=int, default=1, metavar="N",
        help="of a Ray worker, which has as many child processes (default 1)")
    add("--ray-gpus", type=float, metavar="N",
        help="of a Ray worker; default: 1 with --device cuda, else 0")
    # fmt: on
    return parser


def _infer(options: argparse.Namespace) -> int:
    from pix2color.data.object_store import is_url
    from pix2color.jobs.mirror import Mirror

    _check(options)
    if not any(map(is_url, (*options.inputs, options.out))):
        return _color(options, Mirror())
    with tempfile.TemporaryDirectory(prefix="pix2color-") as folder:
        return _color(options, Mirror(Path(folder)))


def _color(options: argparse.Namespace, mirror: Mirror) -> int:
    from pix2color.cli import videos
    from pix2color.jobs import planner

    start = time.perf_counter()
    plan = planner.plan_jobs(
        options.inputs,
        options.out,
        variants=options.variants,
        confidence=options.confidence,
        mirror=mirror,
    )
    videos.check(options, plan.videos)
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    report = _report_path(options, plan, rank, processes)
    common.stop_on_sigterm()
    with _gc_paused():
        device = _device(options.device)
        colorizer = _colorizer(options, device)
    settings = _settings(options, colorizer, plan)
    run = engines.Run(options, plan, mirror, colorizer, settings, device, rank, processes)
    of_videos = videos.colorize_videos(
        plan.videos[rank::processes], colorizer, settings, quiet=options.quiet
    )
    outcomes: list[Outcome] = []
    done = 0
    try:
        for outcome in itertools.chain(_photos(run), of_videos):
            done += outcome.status == "done"
            if report or outcome.status != "done":  # millions of them need not stay in memory
                outcomes.append(outcome)
    finally:
        reported = report is None or _write_report(
            report, outcomes, plan, options=options, decode=settings.decode,
            weights=colorizer.digest,
        )  # fmt: skip
    code = _summary(options, done, outcomes, plan, seconds=time.perf_counter() - start)
    return code if reported else EXIT_FAILED


def _photos(run: engines.Run) -> Iterator[Outcome]:
    """Color the photos of this process with a progress bar, and record them.

    Ctrl-C (or SIGTERM) finishes the photos under way, and then raises KeyboardInterrupt.
    """
    with engines.started_journal(run) as (journal, settled, left):
        yield from settled
        with (
            common.ProgressBar(len(left), unit="photos", quiet=run.options.quiet) as bar,
            common.stop_requested(lambda: bar.write("stopping after the photos under way")) as stop,
        ):
            for outcome in engines.outcomes(run, left, stop=stop, is_recorded=journal is not None):
                if journal:
                    journal.add(outcome)
                yield outcome
                for note in outcome.notes:
                    bar.write(f"{run.plan.shown(outcome.job.source)}: {note}")
                bar.update(failed=outcome.status == "failed")
            if stop():
                raise KeyboardInterrupt


def _colorizer(options: argparse.Namespace, device: str | None) -> Colorizer:
    from pix2color.inference.colorizer import Colorizer

    return Colorizer.from_pretrained(
        options.checkpoint,
        device,
        runtime=options.runtime,
        announce=None if options.quiet else lambda line: print(line, file=sys.stderr),
    )


@contextlib.contextmanager
def _gc_paused() -> Iterator[None]:
    """For imports: collecting garbage takes a sixth of their time and finds none."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _device(name: str | None) -> str | None:
    """The device; of several processes on a machine each takes its own GPU."""
    from pix2color.runtime.load import runs_on_cpu

    local = os.environ.get("LOCAL_RANK")
    if name not in (None, "cuda") or local is None or runs_on_cpu(None):
        return name
    import torch

    return f"cuda:{int(local) % torch.cuda.device_count()}"


def _check(options: argparse.Namespace) -> None:
    """Refuse contradictory options before the slow imports."""
    common.check_ranges(options, **_RANGES)
    engines.check(options)
    guided = options.hints or options.reference or options.variants > 1 or options.confidence
    if options.lossless_jpeg and guided:
        raise Pix2ColorError(
            "--lossless-jpeg goes with none of --hints, --reference, --variants and --confidence"
        )


def _hints(options: argparse.Namespace, plan: JobPlan) -> dict[str, tuple[Hint, ...]]:
    """Hints by the name of a photo.

    A list is for the only photo; an object names its photos.
    """
    from pix2color.guidance.hints import read_hints

    if not options.hints:
        return {}
    hints = read_hints(options.hints)
    names = [job.source.name for job in plan.jobs]
    if isinstance(hints, list):
        if len(names) != 1:
            raise Pix2ColorError(
                f"hints {options.hints}: a list is for one photo, and there are {len(names)}:"
                ' write {"NAME.jpg": [...], ...}'
            )
        return {names[0]: tuple(hints)}
    for name in hints:
        if names.count(name) != 1:
            several = "several photos are" if name in names else "no photo is"
            raise Pix2ColorError(f"hints {options.hints}: {several} called {name}")
    return {name: tuple(of_photo) for name, of_photo in hints.items()}


def _guidance(options: argparse.Namespace) -> Guidance:
    from pix2color.guidance.guidance import Guidance
    from pix2color.guidance.palette import palette_of

    palette = palette_of(options.reference) if options.reference else None
    return Guidance(palette=palette, strength=options.palette_strength, variants=options.variants)


def _settings(options: argparse.Namespace, colorizer: Colorizer, plan: JobPlan) -> JobOptions:
    from pix2color.jobs import pipeline
    from pix2color.photo import Limits

    decode = colorizer.resolve_decode(
        input_size=options.size,
        temperature=options.temperature,
        vividness=options.vividness,
        saturation=options.saturation,
        calibration=options.calibration,
    )
    return pipeline.JobOptions(
        decode=decode,
        limits=Limits(
            megapixels=options.max_megapixels,
            on_truncated="keep" if options.allow_truncated else "error",
        ),
        provenance=None if options.no_provenance else pipeline.provenance_of(colorizer, decode),
        skip_color=options.skip_color,
        srgb=options.srgb,
        lossless=options.lossless_jpeg,
        resume=options.resume,
        guidance=_guidance(options),
        hints=_hints(options, plan),
        confidence=options.confidence,
    )


def _summary(
    options: argparse.Namespace, done: int, outcomes: Sequence[Outcome], plan: JobPlan, *,
    seconds: float,
) -> int:  # fmt: skip
    """Say how the run ended; returns the exit code. The done ones need not be in `outcomes`."""
    from pix2color.errors import describe
    from pix2color.jobs.planner import skip_reason

    ordered = sorted(outcomes, key=lambda o: o.job.source)
    skipped = [o for o in ordered if o.status == "skipped"]
    failed = [o for o in ordered if o.status == "failed"]
    count = done + len(skipped) + len(failed)
    if not options.quiet:
        kinds = "photos and videos" if plan.jobs else "videos"
        kinds = kinds if plan.videos else "photos"
        left = f", {len(skipped)} skipped" if skipped else ""
        common.say(f"{done} of {count} {kinds} colored{left} in {seconds:.1f} s -> {options.out}")
        for outcome in skipped:
            common.say(f"skipped {plan.shown(outcome.job.source)}: {outcome.reason}")
        for path in plan.unsupported:
            common.say(f"skipped {plan.shown(path)}: {skip_reason(path)}")
        for entry in plan.left_out:
            common.say(f"skipped {plan.shown(entry.path)}: {entry.reason}")
    if failed:
        common.say(f"{len(failed)} failed:", sys.stderr)
        for outcome in failed:
            reason = describe(outcome.reason, outcome.remedy, common.option_namer(options))
            common.say(f"  {plan.shown(outcome.job.source)}: {reason}", sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _report_path(
    options: argparse.Namespace, plan: JobPlan, rank: int, processes: int
) -> Path | None:
    """Where this process's report goes; raises Pix2ColorError where it cannot be written."""
    from pix2color.jobs.report import check_report_path

    if options.report is None:
        return None
    if not options.report:
        raise Pix2ColorError("--report: the file's name is empty")
    path = Path(options.report)
    if processes > 1:  # each process writes its own: status.json -> status-1of4.json
        path = path.with_name(f"{path.stem}-{rank + 1}of{processes}{path.suffix}")
    inputs = (options.hints, options.reference, options.checkpoint)
    existing = [Path(name) for name in inputs if name and Path(name).exists()]
    check_report_path(path, plan, existing)
    return path


def _write_report(
    path: Path, outcomes: Sequence[Outcome], plan: JobPlan, *, options: argparse.Namespace,
    **settings: Any,
) -> bool:  # fmt: skip
    """Write the report; an error is only printed: the summary must not be lost with it."""
    from pix2color.jobs.report import write_report

    try:
        write_report(path, outcomes, plan, option=common.option_namer(options), **settings)
    except Pix2ColorError as error:
        common.say(f"error: {error}", sys.stderr)
        return False
    return True
