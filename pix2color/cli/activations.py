"""python -m pix2color activations: what the convolutions of a network make of one photo."""

from __future__ import annotations

import argparse
from pathlib import Path

from pix2color import errors
from pix2color.cli import common


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = common.Parser(
        prog="python -m pix2color activations",
        description="Write one channel of every convolution, seeing one photo, as one picture.",
    )
    made.add_argument("photo", type=Path)
    made.add_argument("--checkpoint", help="a release file (the packaged default weights)")
    made.add_argument("--out", type=Path, default=Path("activations.png"), help="a .png")
    made.add_argument("--size", type=int, help="shorter side the network sees (its own)")
    made.add_argument("--channel", type=int, help="which, from 0 (the one that varies most)")
    return made


def main(argv: list[str] | None = None) -> int:
    """Draw; returns the exit code."""
    arguments = parser().parse_args(argv)
    return common.run_command(lambda: _activations(arguments))


def _activations(arguments: argparse.Namespace) -> int:
    common.check_ranges(arguments, size=(1, 2048), channel=(0, common.MOST))
    try:
        content = arguments.photo.read_bytes()
    except OSError as error:
        raise errors.PhotoError(f"{arguments.photo}: {error.strerror}") from None

    import torch

    from pix2color.analysis.activations import capture_activations, render_grid
    from pix2color.checkpoints import checkpoint
    from pix2color.color.lab import rgb_to_lightness
    from pix2color.data.decode import decode
    from pix2color.training.visualize import save_picture

    released = checkpoint.load(arguments.checkpoint)
    try:
        side = arguments.size or released.decode.input_size
        photo = decode(content, side, name=arguments.photo.name)
    except errors.PhotoError as error:
        raise errors.PhotoError(f"{arguments.photo}: {error}") from None
    lightness = rgb_to_lightness(torch.from_numpy(photo).permute(2, 0, 1).unsqueeze(0))
    found = capture_activations(released.generator, lightness, channel=arguments.channel)
    save_picture(arguments.out, render_grid(found))
    print(f"{arguments.out}: {len(found)} convolutions of {released.name}")
    return errors.EXIT_OK
