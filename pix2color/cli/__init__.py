"""Commands: arguments, progress and exit codes; the work is done by the library."""

from __future__ import annotations

import difflib
import importlib
import sys

from pix2color import errors
from pix2color._version import __version__

COMMANDS = {
    "infer": ("pix2color.cli.infer", "colour photos (the same as infer.py)"),
    "train": ("pix2color.cli.train", "train a recipe (the same as train.py)"),
    "evaluate": ("pix2color.cli.evaluate", "measure weights on photos"),
    "release": ("pix2color.cli.release", "a run's averaged weights as one file"),
}
"""A command's module, imported when it is called, and what it does."""


def main(argv: list[str] | None = None) -> int:
    """Run `COMMAND [ARGUMENT ...]`; returns its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_help())
        return errors.EXIT_OK
    name, *rest = arguments
    if name == "--version":
        print(f"pix2color {__version__}")
        return errors.EXIT_OK
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        print(f"error: no command {name!r}: {hint}", file=sys.stderr)
        return errors.EXIT_USAGE
    code: int = importlib.import_module(COMMANDS[name][0]).main(rest)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m pix2color COMMAND [ARGUMENT ...]",
            "",
            *rows,
            "",
            "python -m pix2color COMMAND --help tells what a command takes.",
        ]
    )
