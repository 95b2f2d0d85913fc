"""The fenced blocks of README.md and docs/, their commands, and the parsers of these commands."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pix2color.cli import COMMANDS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def _blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    matches = re.finditer(r"^```([\w-]*)[^\n]*\n(.*?)^```\s*$", text, re.MULTILINE | re.DOTALL)
    return [Block(document, text[: m.start()].count("\n") + 1, m[1], m[2]) for m in matches]


def _commands(block: Block) -> list[list[str]]:
    """The words of each command, without comments; joined lines are split at && and ;."""
    out: list[list[str]] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, "&&"]:
            if word in ("&&", ";", "&", "||", "|"):
                out += [words] if words else []
                words = []
            else:
                words.append(word)
    return out


BLOCKS = [block for document in DOCUMENTS for block in _blocks(document)]
SHELL = [(b, words) for b in BLOCKS if b.language in ("sh", "bash") for words in _commands(b)]
PYTHON = [block for block in BLOCKS if block.language in ("python", "py")]


def label(value: Block | list[str]) -> str:
    """The name of a test's parameter."""
    return str(value) if isinstance(value, Block) else " ".join(value)[:70]


def command_of(words: list[str]) -> tuple[str, list[str]] | None:
    """(command, arguments) of a call of pix2color; None for another program."""
    words = _launched(words)
    if words[0] == "pix2color":
        return words[1], words[2:]
    if words[:3] == ["python", "-m", "pix2color"]:
        return words[3], words[4:]
    if words[0] == "python" and words[1] in ("infer.py", "train.py"):
        return words[1].removesuffix(".py"), words[2:]
    return None


def _launched(words: list[str]) -> list[str]:
    """The command behind a launcher, whose options are parsed by its own parser."""
    if words[:2] == ["accelerate", "launch"]:
        from accelerate.commands.launch import launch_command_parser

        parsed = launch_command_parser().parse_args(words[2:])
    elif words[0] == "torchrun":
        from torch.distributed.run import get_args_parser

        parsed = get_args_parser().parse_args(words[1:])
    else:
        return words
    return ["python", parsed.training_script, *parsed.training_script_args]


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command of pix2color."""
    assert command in COMMANDS, f"pix2color has no command {command}"
    parser: argparse.ArgumentParser = importlib.import_module(COMMANDS[command][0]).parser()
    return parser
