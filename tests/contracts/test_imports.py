"""The order of the modules: an import points down this list, or along a line of it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pix2color"
LEVELS = (
    ("errors", "_version", "io", "markdown"),
    ("config", "color"),
    ("losses",),
    ("photo", "data", "models"),
    ("checkpoints", "build"),
    ("runtime",),
    ("inference", "guidance", "training", "evaluation"),
    ("jobs", "video", "benchmark", "app", "web", "analysis"),
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


NUMPY_ONLY = {
    "color": ("color.lab_numpy", "color.ab_bins_numpy", "color.icc_matrix"),
    "runtime": ("runtime.base", "runtime.load", "runtime.onnx"),
    "inference": ("inference",),
    "guidance": ("guidance",),
    "photo": ("photo",),
    "jobs": ("jobs",),
    "video": ("video",),
    "web": ("web",),
}
"""Packages, or modules of them, that work on numpy: torch takes seconds to import."""


@pytest.mark.parametrize("names", NUMPY_ONLY.values(), ids=NUMPY_ONLY)
def test_packages_of_the_colorize_path_import_no_torch(names: tuple[str, ...]) -> None:
    modules = []
    for name in names:
        path = PACKAGE.joinpath(*name.split("."))
        files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        modules += [f"pix2color.{'.'.join(f.relative_to(PACKAGE).with_suffix('').parts)}"
                    for f in files]  # fmt: skip
    assert_no_torch(f"import {', '.join(modules)}")


def test_coloring_with_onnxruntime_imports_no_torch(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    from fake_model import write_release

    from pix2color.checkpoints import checkpoint
    from pix2color.runtime import onnx_export

    path = tmp_path / "small.onnx"
    onnx_export.write(path, checkpoint.load(write_release(tmp_path / "small.safetensors")))
    photo = Path(__file__).parents[2] / "photos/coffee.jpg"
    assert_no_torch(
        "from pix2color.inference.colorizer import Colorizer\n"
        f"colorizer = Colorizer.from_pretrained({str(path)!r})\n"
        f"assert colorizer({str(photo)!r}).pixels.ndim == 3\n"
        f"colorizer({str(photo)!r}, variants=2, hints=[{{'x': 9, 'y': 9, 'color': 'red'}}])\n"
    )


def assert_no_torch(code: str) -> None:
    """Run code in a process of its own and look at what it imported."""
    check = "\nimport sys\nassert 'torch' not in sys.modules, 'torch was imported'"
    done = subprocess.run(
        [sys.executable, "-c", code + check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
