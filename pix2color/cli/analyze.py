"""python -m pix2color analyze: overfitting checks, a training as a filmstrip, activations."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from pix2color.cli import common
from pix2color.errors import EXIT_OK, ConfigError, PhotoError

if TYPE_CHECKING:
    from pix2color.config import Config

_MINUTES = "end the training of a network after M minutes, with what it has then (no limit)"


def parser() -> argparse.ArgumentParser:
    """The arguments of the command and its four parts."""
    top = common.Parser(
        prog="python -m pix2color analyze", description="Look into networks and trainings."
    )
    parts = top.add_subparsers(required=True, metavar="PART", parser_class=common.Parser)
    _add_overfit(parts)
    _add_ladder(parts)
    _add_filmstrip(parts)
    _add_activations(parts)
    return top


# fmt: off
def _add_overfit(parts: argparse._SubParsersAction[common.Parser]) -> None:
    text = "overfit a recipe on a few photos"
    part = parts.add_parser("overfit", help=text, description=(
        "Train a recipe on a few photos alone and draw how far it gets, also at constant "
        "lightness. A network that cannot do this will not learn anything else."))
    part.set_defaults(run=_overfit)
    add = part.add_argument
    add("data", nargs="*", help="photos, folders, .tar shards or .npy arrays (bundled photos)")
    add("--config", default="zhang_cnn_w16.yaml", help="the recipe (%(default)s)")
    add("--photos", type=int, default=1, help="how many to learn (%(default)s)")
    add("--steps", type=int, default=400, help="(%(default)s)")
    add("--batch", type=int, default=1, help="photos per step (%(default)s)")
    add("--minutes", type=float, metavar="M", help=_MINUTES)
    add("--size", type=int, default=128, help="side in pixels (%(default)s)")
    add("--set", action="append", default=[], metavar="KEY=VALUE")
    add("--out", type=Path, default=Path("overfit"), help="folder (%(default)s)")
    add("--quiet", action="store_true")


def _add_ladder(parts: argparse._SubParsersAction[common.Parser]) -> None:
    text = "overfit narrower and narrower networks on 10, 20 and 40 photos"
    part = parts.add_parser("ladder", help=text, description=(
        "Overfit networks of decreasing width (configs/zhang_cnn_*.yaml) on 10, then 20, then 40 "
        "photos, and color photos that were held out."))
    part.set_defaults(run=_ladder)
    add = part.add_argument
    add("--data", nargs="+", required=True, help="folders, .tar shards or .npy arrays: 48 photos")
    add("--size", type=int, default=224, help="side in pixels (%(default)s)")
    add("--epoch-fraction", type=float, default=1.0, metavar="X",
        help="of the report's epochs, 0..1 (%(default)s)")
    add("--minutes", type=float, metavar="M", help=_MINUTES)
    add("--out", type=Path, default=Path("ladder"), help="folder (%(default)s)")
    add("--quiet", action="store_true")


def _add_filmstrip(parts: argparse._SubParsersAction[common.Parser]) -> None:
    text = "one photo over the course of a training"
    part = parts.add_parser("filmstrip", help=text, description=(
        "Put a photo's colors at every sample picture of one or more runs in a row: gray first, "
        "truth last."))
    part.set_defaults(run=_filmstrip)
    add = part.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="run folders, in order")
    add("--photo", type=int, default=0, help="row in the sample pictures, from 0")
    add("--out", type=Path, default=Path("filmstrip.png"), help="a .png (%(default)s)")


def _add_activations(parts: argparse._SubParsersAction[common.Parser]) -> None:
    text = "one channel of every convolution for a photo"
    part = parts.add_parser("activations", help=text, description=(
        "Write one channel of every convolution for one photo as one picture."))
    part.set_defaults(run=_activations)
    add = part.add_argument
    add("photo", type=Path)
    add("--checkpoint", help="a release file (the packaged default weights)")
    add("--out", type=Path, default=Path("activations.png"), help="a .png (%(default)s)")
    add("--size", type=int, help="the network's input size: its shorter side (the weights' own)")
    add("--channel", type=int, help="which, from 0 (the one that varies most)")
# fmt: on


def main(argv: list[str] | None = None) -> int:
    """Run one part; returns the exit code."""
    options = parser().parse_args(argv)
    return common.run_command(options.run, options)


def _load_config(options: argparse.Namespace, recipe: str | None, photos: int) -> Config:
    """A recipe whose photos are those of the options, all at the options' size."""
    from pix2color.config import load

    size = options.size
    data = {"roots": options.data, "max_photos": photos, "crop": size, "cache_size": size}
    overrides = getattr(options, "set", [])
    return load(recipe, overrides, over={"data": data, "decode": {"input_size": size}})


def _check_minutes(options: argparse.Namespace) -> None:
    if options.minutes is not None and not 0 < options.minutes < math.inf:
        raise ConfigError(f"--minutes {options.minutes}: more than 0")


def _overfit(options: argparse.Namespace) -> int:
    at_least_one = (1, common.MOST)
    common.check_ranges(options, photos=at_least_one, steps=at_least_one, batch=at_least_one)
    _check_minutes(options)
    config = _load_config(options, options.config, options.photos)

    from pix2color.analysis.overfit import describe, overfit
    from pix2color.data.dataset import ALL_SPLITS, load_photos

    photos = load_photos(config.data, splits=ALL_SPLITS, keep_gray=True)
    steps = options.steps
    with common.ProgressBar(steps, unit="steps", quiet=options.quiet) as bar:
        result = overfit(
            config,
            photos.photos,
            steps=steps,
            batch=options.batch,
            folder=options.out,
            minutes=options.minutes,
            eval_steps=(steps // 4, steps // 2),
            progress=lambda done, total: bar.update(),
        )
    print(f"{', '.join(photos.names)}: {describe(result)}; see {options.out / 'picture.png'}")
    return EXIT_OK


def _ladder(options: argparse.Namespace) -> int:
    fraction = options.epoch_fraction
    if not 0 < fraction <= 1:
        raise ConfigError(f"--epoch-fraction {fraction}: more than 0, at most 1")
    _check_minutes(options)

    from pix2color.analysis.overfit import HELD_OUT, STEPS, run_ladder
    from pix2color.data.dataset import ALL_SPLITS, load_photos

    needed = max(step.photos for step in STEPS) + HELD_OUT
    config = _load_config(options, None, needed)
    photos = load_photos(config.data, splits=ALL_SPLITS)
    steps = [round(fraction * s.epochs * s.photos / s.batch) for s in STEPS]
    with common.ProgressBar(sum(steps), unit="steps", quiet=options.quiet) as bar:
        run_ladder(
            photos.photos,
            folder=options.out,
            size=options.size,
            epoch_fraction=fraction,
            minutes=options.minutes,
            announce=bar.write,
            progress=lambda done, total: bar.update(),
        )
    print(f"see {options.out}/*/picture.png and {options.out / 'ladder.json'}")
    return EXIT_OK


def _filmstrip(options: argparse.Namespace) -> int:
    common.check_ranges(options, photo=(0, common.MOST))
    from pix2color.analysis.filmstrip import filmstrip
    from pix2color.training.visualize import save_picture

    save_picture(options.out, filmstrip(options.runs, photo=options.photo))
    print(options.out)
    return EXIT_OK


def _activations(options: argparse.Namespace) -> int:
    common.check_ranges(options, size=(1, 2048), channel=(0, common.MOST))
    try:
        content = options.photo.read_bytes()
    except OSError as error:
        raise PhotoError(f"{options.photo}: {error.strerror}") from None

    import torch

    from pix2color.analysis.activations import capture_activations, render_grid
    from pix2color.checkpoints import checkpoint
    from pix2color.color.lab import rgb_to_lightness
    from pix2color.data.decode import decode
    from pix2color.training.visualize import save_picture

    released = checkpoint.load(options.checkpoint)
    try:
        photo = decode(content, options.size or released.decode.input_size)
    except PhotoError as error:
        raise PhotoError(f"{options.photo}: {error}") from None
    lightness = rgb_to_lightness(torch.from_numpy(photo).permute(2, 0, 1).unsqueeze(0))
    activations = capture_activations(released.generator, lightness, channel=options.channel)
    save_picture(options.out, render_grid(activations))
    print(f"{options.out}: {len(activations)} convolutions of {released.name}")
    return EXIT_OK
