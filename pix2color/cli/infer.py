"""python infer.py photos/: colour files and folders."""

from __future__ import annotations

import argparse
import time

_EXAMPLE = """example:
  python infer.py photos/                        colours a folder into ./colorized/
  python infer.py scan.tif --out done --vividness 0.5
"""


def main(argv: list[str] | None = None) -> int:
    """Colour photos; returns 0 when all were done, 1 when some failed, 2 when nothing could be."""
    import sys

    from pix2color.cli.common import run

    parser = _parser()
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments:
        parser.print_help()
        return 0
    options = parser.parse_args(arguments)
    return run(lambda: _infer(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infer.py",
        description="Colour photographs. Size, format, depth, metadata and lightness stay.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="PHOTO|FOLDER", help="folders are nested")
    parser.add_argument(
        "--out", default="colorized", metavar="FOLDER", help="default: ./colorized/"
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--checkpoint", metavar="FILE", help="a release file; default: the packaged weights"
    )
    network.add_argument("--device", help="cpu, cuda, ...; default: a GPU where there is one")
    network.add_argument(
        "--size", type=int, metavar="N", help="shorter side the network sees, pixels"
    )
    colour = parser.add_argument_group("colour (each in place of the weights' default)")
    colour.add_argument(
        "--temperature", type=float, metavar="T", help="of the class mean: lower is more decided"
    )
    colour.add_argument(
        "--vividness", type=float, metavar="TAU", help="0 is faithful, 0.5 vivid, 1 too much"
    )
    colour.add_argument("--saturation", type=float, metavar="X", help="factor on the colours")
    parser.add_argument("--quiet", action="store_true", help="errors only")
    return parser


def _infer(options: argparse.Namespace) -> int:
    import sys

    from pix2color.cli.common import Progress, stop_on_sigterm
    from pix2color.errors import EXIT_FAILED, EXIT_OK
    from pix2color.inference.plan import plan

    start = time.perf_counter()
    todo = plan(options.inputs, options.out)
    stop_on_sigterm()
    from pix2color.inference import Colorizer, pipeline

    colorizer = Colorizer.from_pretrained(options.checkpoint, options.device)
    decode = colorizer.decoding(
        size=options.size,
        temperature=options.temperature,
        vividness=options.vividness,
        saturation=options.saturation,
    )
    outcomes = []
    with Progress(len(todo.jobs), unit="photo", quiet=options.quiet) as progress:
        for outcome in pipeline.run(todo.jobs, lambda: colorizer, pipeline.Options(decode)):
            outcomes.append(outcome)
            for note in outcome.notes:
                progress.say(f"{outcome.job.source}: {note}")
            progress.step()
    done = sum(o.status == "done" for o in outcomes)
    failed = sorted((o for o in outcomes if o.status == "failed"), key=lambda o: o.job.source)
    if not options.quiet:
        seconds = time.perf_counter() - start
        print(f"{done} of {len(todo.jobs)} photos coloured in {seconds:.1f} s -> {options.out}")
        for path in todo.unsupported:
            print(f"skipped {path}: {path.suffix} cannot be read; export it as TIFF, PNG or JPEG")
    if failed:
        print(f"{len(failed)} failed:", file=sys.stderr)
        for outcome in failed:
            print(f"  {outcome.job.source}: {outcome.reason}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK
