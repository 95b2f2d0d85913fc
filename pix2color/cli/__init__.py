"""The commands, one module each, imported when called."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "infer": ("pix2color.cli.infer", "color photos and folders (also: python infer.py)"),
    "app": ("pix2color.cli.app", "color photos in a browser"),
    "train": ("pix2color.cli.train", "train a network (also: accelerate launch train.py)"),
    "index": ("pix2color.cli.index", "index .tar shards for training from disk"),
    "evaluate": ("pix2color.cli.evaluate", "measure networks on photos"),
    "baseline": ("pix2color.cli.baseline", "train an L2 head on frozen features, for evaluate"),
    "benchmark": ("pix2color.cli.benchmark", "train recipes alike and compare them"),
    "calibrate": ("pix2color.cli.calibrate", "fit weights' chroma to that of color photos"),
    "release": ("pix2color.cli.release", "write a run's averaged weights as one file"),
    "import": ("pix2color.cli.import_weights", "take over published weights of other networks"),
    "export": ("pix2color.cli.export", "write a network as an ONNX file"),
    "analyze": ("pix2color.cli.analyze", "overfitting checks, filmstrips and activations"),
    "profile": ("pix2color.cli.profile", "time every stage of coloring"),
    "restore": (
        "pix2color.cli.restore",
        "recover the scan from a JPEG of infer.py --lossless-jpeg",
    ),
    "completion": ("pix2color.cli.completion", "let a shell complete commands and options"),
    "manual": ("pix2color.cli.manual", "print the manual page"),
}
"""Command -> its module, which has `parser` and `main`, and its line of help."""


def main(argv: list[str] | None = None) -> int:
    """Run `python -m pix2color COMMAND ...`; returns the exit code."""
    from pix2color._version import __version__
    from pix2color.errors import EXIT_OK, EXIT_USAGE

    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return EXIT_OK
    command = arguments[0]
    if command in ("-V", "--version"):
        print(f"pix2color {__version__}")
        return EXIT_OK
    if command not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(command, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        print(f"error: no command {command!r}: {hint}", file=sys.stderr)
        return EXIT_USAGE
    module = importlib.import_module(COMMANDS[command][0])
    result: int = module.main(arguments[1:])
    return result


def _help() -> str:
    lines = [f"  {name:11} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        (
            "usage: python -m pix2color COMMAND [options]",
            "",
            *lines,
            "",
            "COMMAND --help says more.",
        )
    )
