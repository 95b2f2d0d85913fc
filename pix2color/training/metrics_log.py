"""The log of a run: metrics.jsonl, curves.png, and config values for trackers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pix2color.io import atomic_write

_NOT_DRAWN = {"kind", "samples", "seconds", "bins", "skipped", "composite", "colorfulness_truth"}


_VALIDATION_LOSS = "validation: loss"
"""Also drawn dashed in the panel of the training's: where they part, the network memorizes. With a
discriminator the training's has a term more."""


class MetricAverager:
    """Means of named scalars over an interval; sums stay on the device, so that no step waits."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def update(self, values: Mapping[str, Tensor]) -> None:
        """Add the values of one step."""
        for name, value in values.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] += 1

    def compute(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means


class MetricsLogger:
    """Appends to `metrics.jsonl`; a line has a `kind` (train, validation), `samples`, and from the
    trainer `seconds` of training steps.

    Args:
        folder: of the run.
        resumed_at: when resuming, lines beyond this sample are dropped: they will be written again.
    """

    def __init__(self, folder: Path, *, resumed_at: int | None = None) -> None:
        self.path = folder / "metrics.jsonl"
        if resumed_at is None:
            self.path.write_text("", encoding="utf-8")
        elif self.path.is_file():
            lines = [line for line in read_log(self.path) if line["samples"] <= resumed_at]
            text = "".join(json.dumps(line) + "\n" for line in lines)
            atomic_write(self.path, text)

    def write(self, kind: str, samples: int, values: Mapping[str, float]) -> None:
        """Append a line, numbers to 6 digits."""
        line: dict[str, Any] = {"kind": kind, "samples": samples}
        line |= {name: float(f"{value:.6g}") for name, value in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, without one that was cut off by a kill."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def draw_curves(folder: Path) -> None:
    """Write curves.png: one panel per loss and validation figure, over samples."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    panels: dict[str, tuple[list[float], list[float]]] = {}
    for line in read_log(folder / "metrics.jsonl"):
        for name, value in line.items():
            if name not in _NOT_DRAWN:
                title = name if line["kind"] == "train" else f"validation: {name}"
                xs, ys = panels.setdefault(title, ([], []))
                xs.append(line["samples"])
                ys.append(value)
    if not panels:
        return
    columns = 4
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.2 * rows))
    # Fixed margins, because a layout engine takes longer than the drawing.
    figure.subplots_adjust(0.04, 0.06, 0.99, 0.94, wspace=0.25, hspace=0.45)
    for number, (title, (xs, ys)) in enumerate(sorted(panels.items())):
        axes = figure.add_subplot(rows, columns, number + 1)
        if title == "loss" and _VALIDATION_LOSS in panels and "adversarial" not in panels:
            axes.plot(*panels[_VALIDATION_LOSS], linewidth=1, color="C1", linestyle="--")
        axes.plot(xs, ys, linewidth=1, marker="." if len(xs) < 30 else "")
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=6)
        axes.grid(alpha=0.3)
    figure.savefig(folder / "curves.png", dpi=100)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys with plain values, the form that trackers take."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value if isinstance(value, int | float | str) else str(value)
    return values
