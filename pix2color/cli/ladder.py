"""python -m pix2color ladder: how many photos a small network can learn by heart."""

from __future__ import annotations

import argparse
from pathlib import Path

from pix2color import errors
from pix2color.cli import common


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = common.Parser(
        prog="python -m pix2color ladder",
        description="Learn 10, then 20, then 40 photos by heart with narrower and narrower "
        "networks (configs/groups_*.yaml), and look at photos that were not learnt.",
    )
    made.add_argument(
        "--data", nargs="+", required=True, help="folders, .tar shards or .npy arrays: 48 photos"
    )
    made.add_argument("--size", type=int, default=224, help="side in pixels (%(default)s)")
    made.add_argument(
        "--share", type=float, default=1.0, help="of the report's epochs, 0..1 (%(default)s)"
    )
    made.add_argument("--out", type=Path, default=Path("ladder"), help="folder (%(default)s)")
    made.add_argument("--quiet", action="store_true")
    return made


def main(argv: list[str] | None = None) -> int:
    """Climb; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run_command(lambda: _ladder(arguments))


def _ladder(arguments: argparse.Namespace) -> int:
    if not 0 < arguments.share <= 1:
        raise errors.ConfigError(f"--share {arguments.share}: more than 0, at most 1")

    from pix2color.analysis.overfit import HELD_OUT, STEPS, run_ladder
    from pix2color.config import load
    from pix2color.data.dataset import ALL_SPLITS, load_photos

    needed = max(rung.photos for rung in STEPS) + HELD_OUT
    size = arguments.size
    data = {"roots": arguments.data, "max_photos": needed, "crop": size, "cache_size": size}
    config = load(None, over={"data": data, "decode": {"input_size": size}})
    found = load_photos(config.data, parts=ALL_SPLITS)
    steps = [round(arguments.share * r.epochs * r.photos / r.batch) for r in STEPS]
    with common.ProgressBar(sum(steps), unit="steps", quiet=arguments.quiet) as bar:
        run_ladder(
            found.photos,
            folder=arguments.out,
            size=size,
            share=arguments.share,
            announce=bar.write,
            progress=lambda done, total: bar.update(),
        )
    print(f"see {arguments.out}/*/picture.png and {arguments.out / 'ladder.json'}")
    return errors.EXIT_OK
