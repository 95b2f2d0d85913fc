"""Plots of a report, as PNG files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

from pix2color.benchmark.histograms import CELL, LIMIT, REACH
from pix2color.evaluation.registry import METRICS
from pix2color.io import atomic_write
from pix2color.training.metrics_log import read_log

matplotlib.use("Agg", force=False)
from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
_DPI = 90
_FLOORS = ("gray", "mean", "random")  # drawn black
_DASHES = ("-", "--", ":", "-.")
_COLORS = 10  # of matplotlib's cycle


def errors(path: Path, arrays: Mapping[str, Array], names: Sequence[str]) -> None:
    """Cumulative histograms of ab errors: over all pixels, and of the photos' mean errors."""
    figure = Figure(figsize=(12.5, 4.6))
    pixels, photos = figure.subplots(1, 2)
    for number, name in enumerate(names):
        style = _style(number, name)
        counts = arrays[f"errors/{name}"]
        share = 100 * np.cumsum(counts) / counts.sum()
        pixels.plot(np.arange(1, LIMIT + 2), share, label=name, **style)
        # AuC is 1 - mean error / LIMIT.
        mean = np.sort(LIMIT * (1 - arrays[f"photos/auc/{name}"] / 100))
        photos.step(mean, 100 * np.arange(1, len(mean) + 1) / len(mean), where="post", **style)
    pixels.set(title="pixels", xlabel="ab error at most", ylabel="% of pixels", xlim=(0, 60))
    photos.set(title="photos", xlabel="mean ab error at most", ylabel="% of photos", xlim=(0, 40))
    figure.legend(loc="center right", fontsize=7)
    figure.subplots_adjust(0.05, 0.11, 0.79, 0.92, wspace=0.18)
    _save(path, figure)


def color_histogram(path: Path, arrays: Mapping[str, Array], names: Sequence[str]) -> None:
    """The distribution of ab of the truth and each method, on a log scale."""
    columns = 6
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(2 * columns, 2.2 * lines))
    for number, name in enumerate(names):
        counts = arrays[f"colors/{name}"]
        share = np.log10(counts / counts.sum() + 1e-7)
        axes = figure.add_subplot(lines, columns, number + 1)
        extent = (-REACH, REACH, -REACH, REACH)
        axes.imshow(share, origin="lower", extent=extent, vmin=-7, vmax=-1, cmap="magma")
        axes.set_title(name, fontsize=8)
        axes.set(xticks=[-100, 0, 100], yticks=[-100, 0, 100])
        axes.tick_params(labelsize=6)
    figure.suptitle(
        f"log10 of the share of pixels in cells of {CELL} x {CELL}; a across, b up", y=1
    )
    figure.tight_layout()
    _save(path, figure)


def colorfulness(path: Path, trees: Mapping[str, Mapping[str, Any]]) -> None:
    """Colorfulness over the truth's against AuC, one panel per set."""
    figure = Figure(figsize=(4.6 * len(trees) + 2.6, 4.6))
    names = [row["name"] for row in next(iter(trees.values()))["rows"]]
    numbers = {name: n for n, name in enumerate(n for n in names if n not in ("truth", "random"))}
    for panel, (title, tree) in enumerate(trees.items(), start=1):
        axes = figure.add_subplot(1, len(trees), panel)
        for row in tree["rows"]:
            if row["name"] not in numbers:
                continue
            number = numbers[row["name"]]
            values = row["figures"]
            x, y = values["colorfulness_ratio"]["value"], values["auc"]["value"]
            if x is None or y is None:
                continue  # photos without color
            label = f"{number}  {row['name']}" if panel == 1 else None
            axes.plot(x, y, "o", markersize=4, color=f"C{number % _COLORS}", label=label)
            axes.annotate(f"{number}", (x, y), (3, 2), textcoords="offset points", fontsize=7)
        axes.axvline(1, linewidth=0.6, color="0.5")
        axes.set(title=title, xlabel="colorfulness / truth", ylabel="AuC (%)")
        axes.grid(alpha=0.3)
    figure.legend(loc="center right", fontsize=7, handlelength=0.5)
    right = 1 - 2.6 / (4.6 * len(trees) + 2.6)
    figure.subplots_adjust(0.05, 0.11, right, 0.92, wspace=0.22)
    _save(path, figure)


def losses(path: Path, runs: Mapping[str, Path]) -> None:
    """The training loss of every run against its samples, one panel per run; dashed that of the
    validation photos, without the discriminator's part."""
    columns = 5
    rows = -(-len(runs) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.0 * rows))
    for number, (name, folder) in enumerate(runs.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        log = folder / "metrics.jsonl"
        lines = read_log(log) if log.is_file() else []
        logged, validated = (
            [one for one in lines if one["kind"] == kind] for kind in ("train", "validation")
        )
        for key in ("loss", "discriminator"):
            points = [(one["samples"], one[key]) for one in logged if key in one]
            if points:
                axes.plot(*zip(*points, strict=True), linewidth=1, label=key)
        held_out = [(one["samples"], one["loss"]) for one in validated if "loss" in one]
        if held_out:
            axes.plot(*zip(*held_out, strict=True), "--", color="C0", linewidth=1)
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=6)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    _save(path, figure)


def learning_curves(path: Path, runs: Mapping[str, Path], earlier: Mapping[str, float]) -> None:
    """AuC and FD of the validation photos against minutes of training, a line per run.

    Args:
        path: of the picture.
        runs: title -> run folder.
        earlier: title -> seconds of the pretraining that a run starts from.
    """
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {"auc": {}, "fd": {}}
    for title, folder in runs.items():
        log = folder / "metrics.jsonl"
        for line in read_log(log) if log.is_file() else []:
            for name, lines in curves.items():
                if line["kind"] == "validation" and name in line and line["samples"]:
                    minutes = (line["seconds"] + earlier.get(title, 0.0)) / 60
                    lines.setdefault(title, []).append((minutes, line[name]))
    panels = {name: lines for name, lines in curves.items() if lines}
    if not panels:
        return
    figure = Figure(figsize=(5.2 * len(panels) + 2.6, 4.6))
    for number, (name, lines) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), number)
        for style, title in enumerate(runs):
            if title in lines:
                points = zip(*lines[title], strict=True)
                label = title if number == 1 else None
                axes.plot(*points, label=label, marker=".", **_style(style, title))
        axes.set(title=f"{METRICS[name].title} of the validation photos", xlabel="minutes")
        axes.grid(alpha=0.3)
    figure.legend(loc="center right", fontsize=7)
    right = 1 - 2.6 / (5.2 * len(panels) + 2.6)
    figure.subplots_adjust(0.05, 0.11, right, 0.92, wspace=0.18)
    _save(path, figure)


def _style(number: int, name: str) -> dict[str, Any]:
    if name in _FLOORS:
        return {"color": "black", "linestyle": _DASHES[_FLOORS.index(name)], "linewidth": 1}
    dash = _DASHES[number // _COLORS % len(_DASHES)]
    return {"color": f"C{number % _COLORS}", "linestyle": dash, "linewidth": 1}


def _save(path: Path, figure: Figure) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    atomic_write(path, content.getvalue())
