"""python -m pix2color release: a run's averaged weights as one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from pix2color import errors
from pix2color.cli import common

_DECODE = ("temperature", "vividness", "saturation", "size")


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = argparse.ArgumentParser(
        prog="python -m pix2color release",
        description="Write a run's averaged weights as one .safetensors file that infer.py, "
        "evaluate and init_from read.",
    )
    made.add_argument("--run", type=Path, required=True, help="the run folder")
    made.add_argument("--out", type=Path, help="the file (RUN/NAME.safetensors)")
    made.add_argument("--best", action="store_true", help="the run's best weights, not its newest")
    made.add_argument("--figures", type=Path, help="a JSON file of figures for the metadata")
    for name in _DECODE:
        kind = int if name == "size" else float
        made.add_argument(f"--{name}", type=kind, help=f"decode.{name} that the file ships with")
    return made


def main(argv: list[str] | None = None) -> int:
    """Release; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run(lambda: _release(arguments))


def _release(arguments: argparse.Namespace) -> int:
    from pix2color.training.release import read_figures, release_run

    decode = {k: v for k in _DECODE if (v := getattr(arguments, k)) is not None}
    figures = read_figures(arguments.figures) if arguments.figures else None
    out = release_run(
        arguments.run, arguments.out, best=arguments.best, decode=decode, figures=figures
    )
    print(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")
    return errors.EXIT_OK
