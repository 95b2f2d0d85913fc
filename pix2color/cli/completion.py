"""python -m pix2color completion: what a shell needs to complete the commands."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from pix2color import errors
from pix2color.cli import COMMANDS, common

_PATHS = ("FILE", "PHOTO", "JPEG", "FOLDER")  # in the names of values
_SHELLS = ("bash", "zsh")
_EXAMPLE = """example:
  pix2color completion bash --out ~/.local/share/bash-completion/completions/pix2color
  pix2color completion zsh --out "${fpath[1]}/_pix2color"
"""


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color completion",
        description="Print a script with which a shell completes `pix2color` and its options.",
        epilog=_EXAMPLE,
    )
    parser.add_argument("shell", choices=_SHELLS)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print the script; returns the exit code."""
    return common.run_command(_complete, parser().parse_args(argv))


def _complete(options: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError:
        raise errors.Pix2ColorError("completion needs shtab: pip install shtab") from None
    common.print_or_write(shtab.complete(all_commands(shtab), options.shell), options.out)
    return errors.EXIT_OK


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    return {name: importlib.import_module(COMMANDS[name][0]).parser() for name in COMMANDS}


def all_commands(shtab: Any) -> argparse.ArgumentParser:
    """One parser of all commands, in which paths are marked for shtab."""
    root = argparse.ArgumentParser(prog="pix2color")
    root.add_argument("-V", "--version", action="store_true", help="print the version")
    below = root.add_subparsers(dest="command", parser_class=argparse.ArgumentParser)
    for name, parser in parsers().items():
        for action in parser._actions:
            metavar = str(action.metavar or "")
            if any(word in metavar for word in _PATHS):
                action.complete = shtab.DIRECTORY if metavar == "FOLDER" else shtab.FILE  # type: ignore[attr-defined]
        below.add_parser(name, help=COMMANDS[name][1], parents=[parser], add_help=False)
    return root
