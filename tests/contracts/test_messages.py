"""Texts of the library name arguments and config keys; only `cli` names its options."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pix2color"
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent.name != "cli"]
COMMANDS_ARE_SHOWN = {
    "model_card.py",  # a page with the command that uses the weights
    "onnx.py",  # whole commands, to be copied
    "ort_package.py",
    "ray_engine.py",
}
OPTION = re.compile(r"(?<![\w-])--[a-z]")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_text_names_an_option(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]
    found = [text for text in texts if OPTION.search(text)]
    assert not found or path.name in COMMANDS_ARE_SHOWN
