"""The order of the modules: an import points down this list, or along a line of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pix2color"
LEVELS = (
    ("errors", "_version", "io"),
    ("config", "color"),
    ("losses",),
    ("photo", "data", "models"),
    ("checkpoints", "build"),
    ("runtime",),
    ("inference", "guidance", "training", "evaluation"),
    ("jobs", "video", "benchmark", "app", "analysis"),
    ("cli", "__main__"),
)
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
FORBIDDEN = {("photo", "training"), ("inference", "training")}  # were the levels ever to change
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def imported(path: Path) -> set[str]:
    """The parts of pix2color that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written out in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("pix2color.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in LEVEL, f"{own} has no place in the order of the modules yet"
    for name in imported(path):
        other = "_version" if name == "__version__" else name
        assert LEVEL[other] <= LEVEL[own] and (own, other) not in FORBIDDEN, f"{own} -> {other}"
