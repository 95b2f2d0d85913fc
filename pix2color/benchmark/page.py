"""A benchmark as files: metrics.json, report.md, and index.html that holds its pictures."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pix2color.benchmark import tables
from pix2color.benchmark.images import FAILURES
from pix2color.benchmark.tables import Table
from pix2color.io import atomic_write

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
td, th { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left; white-space: nowrap }
small { color: #666; white-space: nowrap } img { max-width: 100% } .wide { overflow-x: auto }
"""

_READINGS = (
    "System D reported an accuracy of around 92.1 % and did not say of what. Of the first test set:"
    " the share of pixels where the larger of a and b is the right one (Keras's accuracy of two"
    " outputs), AuC, and 1 less the mean error over its range. Gray shows how little each says."
)


@dataclass(frozen=True)
class ReportImage:
    """A picture of the report."""

    file: Path
    title: str
    text: str = ""
    private: bool = False
    """It shows photos of the data."""


def write(out: Path, tree: Mapping[str, Any]) -> Path:
    """Write the three files, each whole; returns the page."""
    atomic_write(out / "metrics.json", json.dumps(tree, indent=1, allow_nan=False))
    parts = _parts(out, tree)
    atomic_write(out / "report.md", _markdown(parts, out))
    page = out / "index.html"
    atomic_write(page, _html(parts))
    return page


def publish(folder: Path, tree: Mapping[str, Any], pictures: Path) -> None:
    """Write report.md, metrics.json and the pictures that show no photo of the data.

    Args:
        folder: made if missing.
        tree: what metrics.json holds.
        pictures: the folder with the report's pictures.
    """
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for part in _parts(pictures.parent, tree):
        if isinstance(part, ReportImage) and not part.private:
            atomic_write(folder / "pictures" / part.file.name, part.file.read_bytes())
    parts = [p for p in _parts(folder, tree) if not (isinstance(p, ReportImage) and p.private)]
    atomic_write(folder / "metrics.json", json.dumps(tree, allow_nan=False))
    atomic_write(folder / "report.md", _markdown(parts, folder))


Part = str | Table | ReportImage | Sequence[str]
"""A heading (begins with #), a paragraph, a table, a picture, or a list of lines."""


def _parts(out: Path, tree: Mapping[str, Any]) -> list[Part]:
    pictures = out / "pictures"
    parts: list[Part] = ["# Benchmark", tables.summary(tree), "## Training", tables.training(tree)]
    for name, one in tree["sets"].items():
        parts += [f"## Figures: {name}", f"{one['photos']} photos: {one['protocol']['text']}."]
        parts += [tables.figures(one), "Gains over gray, paired:", tables.gains(one)]
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
            "What cast compares, a panel per recipe: above predicted, below true; at the right what"
            " each band contributes.",
        ),
        ReportImage(
            pictures / "losses.png", "Loss curves", "Samples across; losses differ in kind."
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
            parts.append(f"Measure: {failure.text}.")
            worst = "Worst photos by it, one a recipe; the truth below each."
            file = pictures / f"failure_{number}.jpg"
            parts.append(ReportImage(file, worst, private=True))
    else:
        parts.append("Not measured (evaluate.failures).")
    parts += ["## Readings of an undefined accuracy", _READINGS, tables.readings(first)]
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
            place = part.file.relative_to(out).as_posix()
            blocks.append(f"{part.title}. {part.text}".rstrip() + f"\n\n![{part.title}]({place})")
        else:
            blocks.append("\n".join(f"- {line}" for line in part))
    return "\n\n".join(blocks) + "\n"


def _html(parts: Sequence[Part]) -> str:
    blocks = []
    for part in parts:
        if isinstance(part, str):
            blocks.append(_text(part))
        elif isinstance(part, Table):
            blocks.append(f'<div class="wide">{part.html()}</div>')
        elif isinstance(part, ReportImage):
            said = html.escape(f"{part.title}. {part.text}".strip())
            blocks.append(f'<p>{said}</p><img alt="{html.escape(part.title)}" src="{_data(part)}">')
        else:
            lines = "".join(f"<li>{html.escape(line)}</li>" for line in part)
            blocks.append(f"<ul>{lines}</ul>")
    body = "\n".join(blocks)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>pix2color benchmark</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style>\n<body>\n{body}\n</body></html>\n"
    )


def _text(text: str) -> str:
    level = len(text) - len(text.lstrip("#"))
    said = html.escape(text[level:].strip())
    return f"<h{level}>{said}</h{level}>" if level else f"<p>{said}</p>"


def _data(shown: ReportImage) -> str:
    kind = "png" if shown.file.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(shown.file.read_bytes()).decode()}"
