"""Commands and Python examples of README.md and docs/ match the code.

Every command in an `sh` block is parsed by the parser of its program, and the recipe of a training
is loaded. Every `python` block compiles, and its imports from pix2color exist. `test_running.py`
runs them.
"""

from __future__ import annotations

import ast
import importlib
import re

import pytest
from documents import (
    BLOCKS,
    EXTRAS,
    PYTHON,
    ROOT,
    SHELL,
    Block,
    command_of,
    label,
    parser_of,
)

from pix2color.config import load

OTHERS = ("pip install", "pytest", "accelerate config", "hf auth login", "curl", "docker")
"""The start of each command of another program that the documents may use."""


@pytest.mark.parametrize(("block", "words"), SHELL, ids=label)
def test_a_command_is_accepted_by_its_parser(block: Block, words: list[str]) -> None:
    command_and_arguments = command_of(words)
    if command_and_arguments is None:
        assert " ".join(words).startswith((*OTHERS, "python tests/")), f"{block}: unknown program"
        for extra in re.findall(r"\[([\w,-]+)\]", " ".join(words)):
            assert set(extra.split(",")) <= set(EXTRAS), f"{block}: no extra [{extra}]"
        for file in words[1:2] if words[0] in ("python", "sh") else ():
            assert (ROOT / file).is_file(), f"{block}: {file} does not exist"
        return
    command, arguments = command_and_arguments
    parser = parser_of(command)
    parser.allow_abbrev = False  # options are written out in documents
    parsed = parser.parse_args(arguments)
    if command == "train":
        load(parsed.config, parsed.set)


@pytest.mark.parametrize("block", PYTHON, ids=label)
def test_the_imports_of_an_example_exist(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("pix2color"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


def test_commands_are_in_sh_blocks() -> None:
    """A block without a language is a drawing or an output, not commands."""
    programs = ("python ", "pip ", "accelerate ", "torchrun ", "pix2color ", "hf ", "$ ")
    for block in BLOCKS:
        if not block.language:
            lines = [line for line in block.text.splitlines() if line.startswith(programs)]
            assert not lines, f"{block}: put commands into ```sh blocks: {lines[0]!r}"
    assert len(SHELL) > 15 and len(PYTHON) > 1
