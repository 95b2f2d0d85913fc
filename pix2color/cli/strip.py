"""python -m pix2color strip: one photo over the course of a training."""

from __future__ import annotations

import argparse
from pathlib import Path

from pix2color import errors
from pix2color.cli import common


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = common.Parser(
        prog="python -m pix2color strip",
        description="Put a photo's colors at every sample picture of one or more runs in a row: "
        "gray first, truth last.",
    )
    made.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, in order")
    made.add_argument("--photo", type=int, default=0, help="row in the sample pictures, from 0")
    made.add_argument("--out", type=Path, default=Path("strip.png"), help="a .png (%(default)s)")
    return made


def main(argv: list[str] | None = None) -> int:
    """Draw; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run_command(_strip, arguments)


def _strip(arguments: argparse.Namespace) -> int:
    common.check_ranges(arguments, photo=(0, common.MOST))
    from pix2color.training.visualize import filmstrip, save_picture

    picture = filmstrip(arguments.runs, photo=arguments.photo)
    save_picture(arguments.out, picture)
    print(arguments.out)
    return errors.EXIT_OK
