"""python -m pix2color manual: the manual page, made from the parsers of the commands."""

from __future__ import annotations

import argparse
from pathlib import Path

from pix2color import errors
from pix2color._version import __version__
from pix2color.cli import COMMANDS, common
from pix2color.cli.completion import parsers

_EXIT = (
    ("0", "all was done"),
    ("1", "some inputs failed and are named on standard error; the others are done"),
    ("2", "nothing was started: the arguments or the files do not allow it"),
    ("130", "stopped by Ctrl-C or SIGTERM"),
)


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color manual",
        description="Print the manual page: pix2color manual --out pix2color.1; man ./pix2color.1",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print the page; returns the exit code."""
    return common.run_command(_print, parser().parse_args(argv))


def _print(options: argparse.Namespace) -> int:
    common.print_or_write(manual_page(parsers()), options.out)
    return errors.EXIT_OK


def manual_page(commands: dict[str, argparse.ArgumentParser]) -> str:
    """A page in the language of man (roff)."""
    lines = [
        f'.TH PIX2COLOR 1 "" "pix2color {__version__}"',
        ".SH NAME",
        r"pix2color \- colorize black-and-white photographs and videos",
        ".SH SYNOPSIS",
        ".B pix2color",
        r"\fICOMMAND\fR [\fIOPTION\fR ...]",
        ".SH COMMANDS",
    ]
    for name, command in commands.items():
        lines += [f".SS {name}", _text(COMMANDS[name][1][:1].upper() + COMMANDS[name][1][1:] + ".")]
        lines += [".PP", _text(command.description or "")]
        for action in command._actions:
            if action.help == argparse.SUPPRESS or action.dest == "help":
                continue
            lines += [".TP", _title(action), _text(_help(command, action))]
        if command.epilog:
            lines += [".PP", ".nf", *map(_text, command.epilog.splitlines()), ".fi"]
    lines.append(".SH EXIT STATUS")
    for code, meaning in _EXIT:
        lines += [".TP", f".B {code}", meaning]
    return "\n".join(lines)


def _title(action: argparse.Action) -> str:
    """Names and value of an option; the name of an argument."""
    value = action.metavar or action.dest.upper()
    if action.choices is not None:
        value = "|".join(map(str, action.choices))
    value = _text("|".join(value) if isinstance(value, tuple) else value)
    if not action.option_strings:
        return rf"\fI{value}\fR"
    names = ", ".join(rf"\fB{_text(name)}\fR" for name in action.option_strings)
    return names if action.nargs == 0 else rf"{names} \fI{value}\fR"


def _help(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The line of help with its values filled in."""
    return command._get_formatter()._expand_help(action) if action.help else ""


def _text(text: str) -> str:
    """Plain text: a hyphen stays one, and a line that starts with a dot is no request."""
    escaped = " ".join(text.split("\n")).replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
