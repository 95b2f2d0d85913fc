"""python -m pix2color overfit: can a recipe learn a photo by heart?"""

from __future__ import annotations

import argparse
from pathlib import Path

from pix2color import errors
from pix2color.cli import common


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = common.Parser(
        prog="python -m pix2color overfit",
        description="Train a recipe on a few photos alone and draw how far it gets, also at "
        "constant lightness. A network that cannot do this will not learn anything else.",
    )
    made.add_argument(
        "data", nargs="*", help="photos, folders, .tar shards or .npy arrays (bundled photos)"
    )
    made.add_argument("--config", default="zhang_cnn_w16.yaml", help="the recipe (%(default)s)")
    made.add_argument("--photos", type=int, default=1, help="how many to learn (%(default)s)")
    made.add_argument("--steps", type=int, default=400, help="(%(default)s)")
    made.add_argument("--batch", type=int, default=1, help="photos a step (%(default)s)")
    made.add_argument("--size", type=int, default=128, help="side in pixels (%(default)s)")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    made.add_argument("--out", type=Path, default=Path("overfit"), help="folder (%(default)s)")
    made.add_argument("--quiet", action="store_true")
    return made


def main(argv: list[str] | None = None) -> int:
    """Overfit; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run_command(lambda: _overfit(arguments))


def _overfit(arguments: argparse.Namespace) -> int:
    least = (1, common.MOST)
    common.check_ranges(arguments, photos=least, steps=least, batch=least)
    from pix2color.config import load

    size = arguments.size
    data = {
        "roots": arguments.data,
        "max_photos": arguments.photos,
        "crop": size,
        "cache_size": size,
    }
    config = load(
        arguments.config, arguments.set, over={"data": data, "decode": {"input_size": size}}
    )

    from pix2color.analysis.overfit import describe, overfit
    from pix2color.data.dataset import ALL_SPLITS, load_photos

    found = load_photos(config.data, parts=ALL_SPLITS, keep_gray=True)
    steps = arguments.steps
    with common.ProgressBar(steps, unit="steps", quiet=arguments.quiet) as bar:
        result = overfit(
            config,
            found.photos,
            steps=steps,
            batch=arguments.batch,
            folder=arguments.out,
            looks=(steps // 4, steps // 2),
            progress=lambda done, total: bar.update(),
        )
    print(f"{', '.join(found.names)}: {describe(result)}; see {arguments.out / 'picture.png'}")
    return errors.EXIT_OK
