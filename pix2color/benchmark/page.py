"""The files of a benchmark: metrics.json, report.md, and index.html with its images inside."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from pix2color.benchmark import tables
from pix2color.benchmark.images import FAILURES
from pix2color.benchmark.tables import Table
from pix2color.io import atomic_write

_TEMPLATE = "page.html"


@dataclass(frozen=True)
class ReportImage:
    """An image of the report."""

    file: Path
    title: str
    text: str = ""
    private: bool = False
    """It shows photos of the data."""

    @property
    def caption(self) -> str:
        """Title and text."""
        return f"{self.title}. {self.text}".strip()

    def data_url(self) -> str:
        """The file inside a URL."""
        kind = "png" if self.file.suffix == ".png" else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(self.file.read_bytes()).decode()}"


def write(out: Path, tree: Mapping[str, Any]) -> Path:
    """Write the three files, each atomically; returns the page."""
    atomic_write(out / "metrics.json", json.dumps(tree, indent=1, allow_nan=False))
    parts = _parts(out, tree)
    atomic_write(out / "report.md", _markdown(parts, out))
    page = out / "index.html"
    atomic_write(page, _html(parts))
    return page


def publish(folder: Path, tree: Mapping[str, Any], pictures: Path) -> None:
    """Write report.md, metrics.json and the images that show no photo of the data.

    Args:
        folder: created if missing.
        tree: of metrics.json.
        pictures: the folder with the report's images.
    """
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for part in _parts(pictures.parent, tree):
        if isinstance(part, ReportImage) and not part.private:
            atomic_write(folder / "pictures" / part.file.name, part.file.read_bytes())
    parts = [p for p in _parts(folder, tree) if not (isinstance(p, ReportImage) and p.private)]
    atomic_write(folder / "metrics.json", json.dumps(tree, allow_nan=False))
    atomic_write(folder / "report.md", _markdown(parts, folder))


Part = str | Table | ReportImage | Sequence[str]
"""A heading (begins with #), a paragraph, a table, an image, or a list of lines."""


def _parts(out: Path, tree: Mapping[str, Any]) -> list[Part]:
    pictures, sets = out / "pictures", tree["sets"].values()
    parts: list[Part] = ["# Benchmark", tables.summary(tree), "## Training", tables.training(tree)]
    for name, one in tree["sets"].items():
        parts += [f"## Figures: {name}", f"{one['photos']} photos: {one['protocol']['text']}."]
        note = tables.classifier_note(tree, one)
        parts += [tables.figures(one), *([note] if note else [])]
        parts += ["Gains over gray, paired:", tables.gains(one)]
        if one["neighbors"]:
            parts += [
                "Networks in the order of AuC, each less the next, paired by photo. Bold: the"
                " interval excludes 0; elsewhere these photos do not decide.",
                tables.neighbors(one),
            ]
        if one["stages"]:
            parts += [
                "Adversarial recipes, each less the state that it started from, paired by photo."
                " Bold: the interval excludes 0.",
                tables.stages(one),
            ]
    parts += [
        "## What the five reports state",
        "Each claim is tested by one figure: the difference of two rows on the same photos, or a"
        " row's own. Reproduced: its whole interval agrees with the claim; contradicted: with the"
        " opposite; undecided: an end of the claim is inside the interval, or a row is missing. The"
        " photos, the budget and some settings are not those of the reports (see the headers of the"
        " recipes), so a verdict is one for this comparison.",
        tables.claims(tree),
        *dict.fromkeys(note for one in sets if (note := tables.classifier_note(tree, one))),
    ]
    parts += ["## Plots"]
    parts += [
        ReportImage(
            pictures / "errors.png", "Cumulative error histograms", "Up and left is better."
        ),
        ReportImage(pictures / "colorfulness.png", "Colorfulness against AuC"),
        ReportImage(pictures / "colors.png", "Distribution of ab", "Truth first; log scale."),
        ReportImage(
            pictures / "shares.png",
            "Shares of colors by lightness",
            "The shares behind cast, one panel per recipe: above predicted, below true; at the"
            " right the part of each band.",
        ),
        ReportImage(
            pictures / "curves.png",
            "Learning curves",
            "Validation photos against minutes of training, those of a pretraining included.",
        ),
        ReportImage(
            pictures / "losses.png",
            "Loss curves",
            "Samples across; losses differ in kind. Dashed: of the validation photos.",
        ),
        ReportImage(
            pictures / "temperatures.jpg",
            "Temperature of the annealed mean",
            "From the mean of the classes (1) to the likeliest one (0).",
        ),
        "## The same photos by every recipe",
        ReportImage(pictures / "grid.jpg", "Test photos", private=True),
        ReportImage(
            pictures / "bundled.jpg", "scikit-image's photos, which are in the public domain"
        ),
        "## The failure page",
    ]
    first = next(iter(tree["sets"].values()))
    if table := tables.failures(first):
        parts += ["Means over the test photos:", table]
        for number, failure in enumerate(FAILURES, start=1):
            parts.append(f"### {number}. {failure.title}")
            parts.append(f"Metric: {failure.text}.")
            worst = "The worst photos by it, one per recipe; the truth below each."
            file = pictures / f"failure_{number}.jpg"
            parts.append(ReportImage(file, worst, private=True))
    else:
        parts.append("Not measured (evaluate.failures).")
    parts += ["## How", tables.explanations(tree)]
    return [part for part in parts if not isinstance(part, ReportImage) or part.file.is_file()]


def _markdown(parts: Sequence[Part], out: Path) -> str:
    blocks = []
    for part in parts:
        if isinstance(part, str):
            blocks.append(part)
        elif isinstance(part, Table):
            blocks.append(part.markdown())
        elif isinstance(part, ReportImage):
            link = part.file.relative_to(out).as_posix()
            blocks.append(f"{part.caption}\n\n![{part.title}]({link})")
        else:
            blocks.append("\n".join(f"- {line}" for line in part))
    return "\n\n".join(blocks) + "\n"


def _html(parts: Sequence[Part]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pix2color.benchmark", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE).render(parts=parts)
