"""The commands. Each lies in a file of its own and is imported when it is asked for."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "infer": ("pix2color.cli.infer", "color photos and folders (also: python infer.py)"),
    "app": ("pix2color.cli.app", "a page on which photos are colored in a browser"),
    "train": ("pix2color.cli.train", "train a network (also: accelerate launch train.py)"),
    "evaluate": ("pix2color.cli.evaluate", "measure networks on photos"),
    "benchmark": ("pix2color.cli.benchmark", "train every recipe alike and compare them"),
    "release": ("pix2color.cli.release", "a run's averaged weights as one file"),
    "export": ("pix2color.cli.export", "a network as an ONNX file"),
    "overfit": ("pix2color.cli.overfit", "can a recipe learn a photo by heart?"),
    "ladder": ("pix2color.cli.ladder", "how many photos a small network can learn by heart"),
    "strip": ("pix2color.cli.strip", "one photo over the course of a training"),
    "activations": ("pix2color.cli.activations", "what the convolutions make of a photo"),
    "speed": ("pix2color.cli.profile", "time every stage of coloring"),
    "uncolor": ("pix2color.cli.restore", "give back the scan of a reversibly colored JPEG"),
}
"""Command -> the module with its `parser` and `main`, and what its line of help says."""


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
