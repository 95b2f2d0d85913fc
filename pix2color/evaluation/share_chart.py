"""A chart of the shares behind `cast`: predicted beside true, one row per lightness band."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pix2color.color.lab_numpy import lab_to_rgb_in_gamut
from pix2color.evaluation import cast

Array = npt.NDArray[np.float64]
_CHROMA = 45.0
"""Of the colors that stand for the sectors; less where sRGB has no color so strong."""
_MIN_LABELED = 9.0  # percent of a bar from which a part has its number
_COLUMNS = 3
_BAR = 0.42  # of the height of a row


def share_chart(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG file: one panel per method with two bars per lightness band, predicted above true.

    A bar divides the pixels of its band into neutral and the six hue sectors; numbers are percent.
    At the right of a panel is each band's part of the cast, at the left its share of all pixels.

    Args:
        rows: of a report's tree, the truth first; each has a name, figures and color_shares.
    """
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    truth, *others = (np.array(row["color_shares"]) for row in rows)
    columns = min(len(others), _COLUMNS)
    lines = -(-len(others) // columns)
    width, height = 1.1 + 4.6 * columns, 5.6 * lines
    figure = Figure(figsize=(width, height))
    bands = [f"L {10 * band}..{10 * band + 10}" for band in range(cast.BANDS)]
    percents = 100 * truth.sum(1)
    labels = [f"{name}\n{percent:.1f} %" for name, percent in zip(bands, percents, strict=True)]
    for number, (row, predicted) in enumerate(zip(rows[1:], others, strict=True)):
        axes = figure.add_subplot(lines, columns, number + 1)
        _draw_panel(axes, predicted, truth)
        axes.set_yticks(
            range(cast.BANDS), labels if number % columns == 0 else [""] * cast.BANDS, fontsize=7
        )
        value = row["figures"]["cast"]["value"]
        axes.set_title(f"{row['name']}: cast {value:.1f} %", fontsize=10)
        axes.set_xlabel("% of the band's pixels; above predicted, below true", fontsize=8)
    figure.subplots_adjust(
        0.75 / width, 0.5 / height, 1 - 0.5 / width, 1 - 0.35 / height, wspace=0.16, hspace=0.2
    )
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100)
    return out.getvalue()


def _draw_panel(axes: Any, predicted: Array, truth: Array) -> None:
    for band in range(cast.BANDS):
        if not truth[band].sum():
            continue
        colors = _colors(10.0 * band + 5.0)
        for shares, y in ((predicted[band], band + 0.22), (truth[band], band - 0.22)):
            percent = 100 * shares / shares.sum()
            starts = np.cumsum(percent) - percent
            axes.barh(y, percent, _BAR, left=starts, color=colors, edgecolor="none")
            for start, part, (red, green, blue) in zip(starts, percent, colors, strict=True):
                if part >= _MIN_LABELED:
                    ink = "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else "black"
                    axes.text(
                        start + part / 2, y, f"{part:.0f}",
                        color=ink, fontsize=6, ha="center", va="center",
                    )  # fmt: skip
        moved = 50 * np.abs(predicted[band] - truth[band]).sum()
        axes.text(101, band, f"{moved:.1f}", fontsize=7, va="center")
    axes.set(xlim=(0, 100), ylim=(-0.5, cast.BANDS - 0.5))
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _colors(lightness: float) -> Array:
    """7,3 RGB in 0..1: neutral and each sector's middle hue at a lightness."""
    edges = np.deg2rad([*cast.SECTOR_EDGES, 360.0])
    hues = (edges[1:] + edges[:-1]) / 2
    ab = _CHROMA * np.stack((np.cos(hues), np.sin(hues)), axis=-1)
    lab = np.full((len(hues) + 1, 3), lightness)
    lab[:, 1:] = np.pad(ab, ((1, 0), (0, 0)))
    return np.clip(lab_to_rgb_in_gamut(lab), 0, 1)
