"""python -m pix2color restore FILE: the scan that a reversibly colored JPEG holds."""

from __future__ import annotations

import argparse
import sys

from pix2color.cli import common


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color restore",
        description="Take the color out of JPEGs made with infer.py --lossless-jpeg: the scan's "
        "luminance data come back bit for bit.",
    )
    parser.add_argument("inputs", nargs="+", metavar="JPEG|FOLDER")
    parser.add_argument("--out", default="restored", metavar="FOLDER", help="default: ./restored")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the gray JPEG of each file; returns 0, or 1 when some failed."""
    options = parser().parse_args(argv)
    return common.run_command(_restore, options)


def _restore(options: argparse.Namespace) -> int:
    from pix2color.errors import EXIT_FAILED, EXIT_OK, PhotoError
    from pix2color.jobs import lossless_jpeg
    from pix2color.jobs.planner import plan_jobs
    from pix2color.photo.writing import atomic_open_photo

    jobs = plan_jobs(options.inputs, options.out).jobs
    failed = 0
    for job in jobs:
        try:
            if job.problem:
                raise PhotoError(job.problem)
            data = lossless_jpeg.restore_gray(job.source.read_bytes())
            with atomic_open_photo(job.target) as file:
                file.write(data)
        except (PhotoError, OSError) as error:
            failed += 1
            common.say(f"{job.source}: {error}", sys.stderr)
    common.say(f"{len(jobs) - failed} of {len(jobs)} restored -> {options.out}")
    return EXIT_FAILED if failed else EXIT_OK
