"""The order of the modules: an import points down this list, or along a line of it."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fake_model import write_calibrated, write_release

from pix2color.cli.common import _NOT_LIGHT
from pix2color.runtime import onnx_export

PACKAGE = Path(__file__).parents[2] / "pix2color"
LEVELS = (
    ("errors", "_version", "bands", "io", "markdown"),
    ("config", "color"),
    ("losses",),
    ("photo", "data", "models"),
    ("checkpoints", "build", "build_parts"),
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
    "color": (
        "color.lab_numpy",
        "color.ab_bins_numpy",
        "color.icc_matrix",
        "color.chroma_calibration",
    ),
    "checkpoints": ("checkpoints.release_file", "checkpoints.hub"),
    "runtime": ("runtime.base", "runtime.load", "runtime.onnx"),
    "inference": ("inference",),
    "guidance": ("guidance",),
    "photo": ("photo",),
    "jobs": ("jobs",),
    "video": ("video",),
    "web": ("web",),
}
"""Packages, or modules of them, that work on numpy: torch takes seconds to import."""


def import_all(names: tuple[str, ...]) -> str:
    """Code that imports every module of these packages."""
    modules = []
    for name in names:
        path = PACKAGE.joinpath(*name.split("."))
        files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        modules += [f"pix2color.{'.'.join(f.relative_to(PACKAGE).with_suffix('').parts)}"
                    for f in files]  # fmt: skip
    return f"import {', '.join(modules)}"


ONE_BY_ONE = """
import json, pathlib, sys, traceback
_, photo, folder, heavy = sys.argv
programs, found = json.load(sys.stdin), {}
for name, code in programs.items():
    before = set(sys.modules)
    try:
        exec(code, {"photo": photo, "folder": f"{folder}/{name}"})
    except Exception:
        found[name] = traceback.format_exc()
    else:
        found[name] = " ".join(n for n in heavy.split() if n in sys.modules and n not in before)
pathlib.Path(folder, "found.json").write_text(json.dumps(found))
"""


def heavy_imports(programs: dict[str, str], heavy: tuple[str, ...], folder: Path) -> dict[str, str]:
    """Run programs in one process of their own; which heavy modules each imported first.

    Each gets the path of a photo and a folder of its name; what it raises is its result.
    """
    photo = PACKAGE.parent / "photos/coffee.jpg"
    command = [sys.executable, "-c", ONE_BY_ONE, str(photo), str(folder), " ".join(heavy)]
    done = subprocess.run(
        command, input=json.dumps(programs), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, str] = json.loads((folder / "found.json").read_text())
    return found


@pytest.fixture(scope="module")
def torch_imports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    programs = {name: import_all(names) for name, names in NUMPY_ONLY.items()}
    return heavy_imports(programs, ("torch",), tmp_path_factory.mktemp("packages"))


@pytest.mark.parametrize("name", NUMPY_ONLY)
def test_packages_of_the_colorize_path_import_no_torch(
    name: str, torch_imports: dict[str, str]
) -> None:
    assert torch_imports[name] == ""


COLORED = """
from pix2color import Colorizer
from pix2color.cli import main
"""
RUN = {
    "infer.py": "assert main(['infer', photo, '--out', folder]) == 0",
    "help": "import contextlib\nwith contextlib.suppress(SystemExit): main(['infer', '--help'])",
    "Colorizer": "assert Colorizer.from_pretrained()(photo).pixels.ndim == 3",
    "calibrated": (
        "colorizer = Colorizer.from_pretrained(folder + '/calibrated.safetensors')\n"
        "assert colorizer.decode.calibration == 1\n"
        "colorizer(photo)"
    ),
    "hints": "Colorizer.from_pretrained()(photo, hints=[{'x': 9, 'y': 9, 'color': 'red'}])",
    "palette": (
        "from PIL import Image\n"
        "colorizer = Colorizer.from_pretrained()\n"
        "colorizer(photo, reference=colorizer(Image.open(photo)))"
    ),
    "variants": "assert main(['infer', photo, '--out', folder, '--variants', '2']) == 0",
    "confidence": "assert main(['infer', photo, '--out', folder, '--confidence']) == 0",
    "lossless": "assert main(['infer', photo, '--out', folder, '--lossless-jpeg']) == 0",
    "restore": (
        "main(['infer', photo, '--out', folder, '--lossless-jpeg'])\n"
        "import pathlib\n"
        "done = pathlib.Path(folder) / pathlib.Path(photo).name\n"
        "assert main(['restore', str(done), '--out', folder + '/restored']) == 0"
    ),
    "video": "assert main(['infer', folder + '/film.mp4', '--out', folder + '/out']) == 0",
    "app": (
        "from pix2color.app.server import serve\n"
        "with serve(Colorizer.from_pretrained(), port=None): pass"
    ),
}
"""What a user does with a photo: the code of a program."""
NEEDS = {
    "calibrated": "onnx",
    "lossless": "jpeglib",
    "restore": "jpeglib",
    "video": "av",
    "app": "gradio",
}
HEAVY = ("torch", "torchvision", "lpips", "accelerate", "matplotlib", "scipy", "skimage")


@pytest.fixture(scope="module")
def coloring_imports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("coloring")
    there = [n for n in RUN if n not in NEEDS or importlib.util.find_spec(NEEDS[n])]
    for name in there:
        (folder / name).mkdir()
    if "video" in there:
        import video_factory

        frames = video_factory.to_gray(video_factory.shot("coffee", 3))
        video_factory.write_video(folder / "video/film.mp4", frames)
    if "calibrated" in there:
        plain = write_release(folder / "plain.safetensors")
        calibrated = write_calibrated(folder / "calibrated/calibrated.safetensors", plain)
        onnx_export.write_graph(calibrated)
    return heavy_imports({name: COLORED + RUN[name] for name in there}, HEAVY, folder)


@pytest.mark.parametrize("name", RUN)
def test_coloring_imports_nothing_heavy(name: str, coloring_imports: dict[str, str]) -> None:
    if name not in coloring_imports:
        pytest.skip(f"the package {NEEDS[name]} is not installed")
    assert coloring_imports[name] == ""


def test_the_light_requirements_are_those_of_the_package() -> None:
    root = PACKAGE.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = {*project["dependencies"], *project["optional-dependencies"]["app"]}
    lines = (root / "requirements-light.txt").read_text(encoding="utf-8").splitlines()
    light = {line for line in lines if not line.startswith("#")}
    assert light <= known
    left_out = {re.split("[<>=]", requirement)[0] for requirement in known - light}
    modules = {name.replace("-", "_").replace("scikit_image", "skimage") for name in left_out}
    assert modules == _NOT_LIGHT, "what infer.py says of a missing package"
