"""An evaluation as files: metrics.json, report.md, photos.csv, shares.png and grid.png."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pix2color._version import __version__
from pix2color.data.dataset import Pixels
from pix2color.evaluation import bootstrap, cast, metrics
from pix2color.evaluation.bootstrap import CONFIDENCE, FAILURES, METRICS, READINGS
from pix2color.evaluation.evaluator import Evaluation
from pix2color.evaluation.share_chart import share_chart
from pix2color.io import atomic_write

JSON_NAME = "metrics.json"
MARKDOWN_NAME = "report.md"
CSV_NAME = "photos.csv"
SHARES_NAME = "shares.png"
GRID_NAME = "grid.png"
_TILE = 192  # pixels a side in the grid
_HEADER = 20
_GAINS = ("auc", "auc_rebalanced", "psnr", "ssim", "lpips_change", "top1", "top5")
_GROUP_FIGURES = ("colorfulness_ratio", "cast", "fd")
_MISSING = "-"


CAST_TEXT = (
    f"Cast: all photos' pixels by true L ({cast.BANDS} bands) and by neutral (chroma below"
    f" {cast.NEUTRAL_CHROMA:g}) or hue (sectors from {', '.join(map(str, cast.SECTOR_EDGES))}"
    " degrees of atan2(b, a)); half the sum of absolute differences between the row's shares and"
    f" the truth's over the {cast.CELLS} cells: how many pixels would have to move for the colors"
    " to be distributed as the truth's. 0 is the truth; gray has the share of colored pixels."
)
_FAILURES_TEXT = (
    "Failures: rare colors found: pixels of the rarest true bins (10 % of all pixels) that got a"
    " color within 20 ab; patchiness: how much more ab spreads inside SLIC segments of the true"
    " photo than it should; border: the outer 5 %; contours: within 3 px of Canny edges of L;"
    " contrast leaked: across true edges of ab, read 3 to 6 px on both sides; F1: edges where ab"
    " steps by more than 15, within 2 px."
)


@dataclass(frozen=True)
class Context:
    """What was measured and how, for the head of the report."""

    protocol: Mapping[str, Any]
    """`text` says it in words; the rest are its parameters."""
    data: Mapping[str, Any]
    """Roots, counts and the digest of the photos."""
    names: Sequence[str]
    """Of the photos."""
    measured_with: Mapping[str, str] = field(default_factory=dict)
    """lpips, classifier: net and file."""
    skipped_metrics: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Figure -> what its cell says, and why it is missing and how to mend that."""
    notes: Sequence[str] = ()
    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Name -> indices of photos whose figures are also given apart."""


def write(folder: Path, evaluation: Evaluation, context: Context) -> dict[str, Any]:
    """Write the report, each file whole; returns what metrics.json holds."""
    tree = to_dict(evaluation, context)
    if charted := charted_rows(tree):
        atomic_write(folder / SHARES_NAME, share_chart(charted))
    atomic_write(folder / JSON_NAME, json.dumps(tree, indent=1, allow_nan=False))
    atomic_write(folder / MARKDOWN_NAME, markdown(tree))
    atomic_write(folder / CSV_NAME, _per_photo(evaluation, context))
    if evaluation.pictures:
        picture = io.BytesIO()
        grid(featured_pictures(evaluation)).save(picture, "PNG")
        atomic_write(folder / GRID_NAME, picture.getvalue())
    return tree


def to_dict(evaluation: Evaluation, context: Context) -> dict[str, Any]:
    """The whole evaluation as plain values; null where there is no figure."""
    groups = [
        {"name": name, "photos": len(chosen), "rows": _rows(evaluation.select(np.array(chosen)))}
        for name, chosen in context.groups.items()
    ]
    return {
        "pix2color": __version__,
        "protocol": dict(context.protocol),
        "data": dict(context.data),
        "photos": evaluation.photos,
        "rebalanced_bins": evaluation.bins,
        "ssim_window": metrics.SSIM_WINDOW,
        "measured_with": dict(context.measured_with),
        "unmeasured": {name: list(texts) for name, texts in context.skipped_metrics.items()},
        "bootstrap": {
            "method": "bias-corrected percentiles over photos; gains are paired",
            "confidence": CONFIDENCE,
            "resamples": evaluation.resamples,
            "seed": evaluation.seed,
        },
        "notes": list(context.notes),
        "cast": {
            "bands": cast.BANDS,
            "kinds": list(cast.KINDS),
            "sector_edges": list(cast.SECTOR_EDGES),
            "neutral_chroma": cast.NEUTRAL_CHROMA,
        },
        "rows": [
            {**row, "color_shares": bootstrap.color_shares(result.samples).round(7).tolist()}
            for row, result in zip(_rows(evaluation), evaluation.results, strict=True)
        ],
        "groups": groups,
    }


def charted_rows(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the picture of shares, truth and featured ones; empty where there is no other."""
    rows = [row for row in tree["rows"] if row["featured"]]
    return [tree["rows"][0], *rows] if rows else []


def _rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "name": result.row.name,
            "about": dict(result.row.metadata),
            "featured": result.row.primary,
            "milliseconds": result.milliseconds,
            "figures": {name: one.as_json() for name, one in values.items()},
            "gains": {name: one.as_json() for name, one in gains.items()},
        }
        for result, (values, gains) in zip(evaluation.results, evaluation.figures(), strict=True)
    ]


def markdown(tree: Mapping[str, Any]) -> str:
    """The report for people, from what `as_tree` gives."""
    bootstrap = tree["bootstrap"]
    intervals = f"{bootstrap['confidence']:.0%} intervals ({bootstrap['resamples']} resamples)"
    parts = [
        "# Evaluation",
        f"{tree['photos']} photos; {tree['protocol']['text']}.",
        "## Figures",
        table(tree),
        *_failure_section(tree),
        *_share_section(tree),
        f"## Gains over gray, with {intervals}",
        _interval_table(tree, "gains", [n for n in _GAINS if n in _columns(tree)]),
        f"## Figures with {intervals}",
        _interval_table(tree, "figures", [n for n in _columns(tree) if _measured(tree, n)]),
        *_group_sections(tree),
        "## How",
        "\n".join(f"- {line}" for line in _explanations(tree)),
    ]
    return "\n\n".join(parts) + "\n"


def table(tree: Mapping[str, Any]) -> str:
    """One line a row, one column a figure, as Markdown; the failures have a table of their own."""
    names = [name for name in _columns(tree) if name == "auc" or name not in READINGS]
    lines = []
    for row in tree["rows"]:
        cells = [_cell(tree, row["figures"], name) for name in names]
        milliseconds = row["milliseconds"]
        lines.append([row["name"], *cells, f"{milliseconds:.0f}" if milliseconds else _MISSING])
    return _markdown_table(["", *map(_title, names), "ms a photo"], lines)


def featured_pictures(evaluation: Evaluation) -> dict[str, list[Pixels]]:
    """The grid's columns: gray, the featured rows, truth."""
    featured = [result.row.name for result in evaluation.results if result.row.primary]
    names = ["gray", *featured, "truth"]
    return {name: evaluation.pictures[name] for name in names}


def grid(columns: Mapping[str, Sequence[Pixels]]) -> Image.Image:
    """Pictures side by side: a column a row of the table, a line a photo."""
    lines = max(len(pictures) for pictures in columns.values())
    sheet = Image.new("RGB", (_TILE * len(columns), _HEADER + _TILE * lines), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for column, (name, pictures) in enumerate(columns.items()):
        draw.text((column * _TILE + 4, 2), _shortened(name, draw, font), "black", font)
        for line, picture in enumerate(pictures):
            tile = Image.fromarray(np.asarray(picture))
            tile.thumbnail((_TILE - 2, _TILE - 2), Image.Resampling.LANCZOS)
            sheet.paste(tile, (column * _TILE + 1, _HEADER + line * _TILE + 1))
    return sheet


def _shortened(name: str, draw: ImageDraw.ImageDraw, font: Any) -> str:
    shown = name
    while len(shown) > 3 and draw.textlength(shown, font) > _TILE - 8:
        name = name[:-1]
        shown = f"{name}..."
    return shown


def _group_sections(tree: Mapping[str, Any]) -> list[str]:
    """A table for each featured row, with a line a group: gains, and figures without one."""
    if not tree["groups"]:
        return []
    parts = ["## Gains over gray by folder"]
    gains = [n for n in _GAINS if n in _columns(tree) and _measured(tree, n)]
    figures = [n for n in _GROUP_FIGURES if n in _present(tree)]
    head = ["", "photos", *map(_title, (*gains, *figures))]
    for place, row in enumerate(tree["rows"]):
        if not row["featured"]:
            continue
        lines = []
        for group in tree["groups"]:
            its = group["rows"][place]
            cells = [_number(its["gains"][n]["value"], n, signed=True) for n in gains]
            cells += [_number(its["figures"][n]["value"], n) for n in figures]
            lines.append([group["name"], str(group["photos"]), *cells])
        parts += [f"### {row['name']}", _markdown_table(head, lines)]
    return parts


def _share_section(tree: Mapping[str, Any]) -> list[str]:
    if not charted_rows(tree):
        return []
    return [
        "## Shares of colors by lightness",
        "What `cast` compares: the pixels of each band of true L by neutral and hue. Beside each"
        " band, its share of all pixels and what it contributes to the cast.",
        f"![Predicted and true shares of colors]({SHARES_NAME})",
    ]


def _failure_section(tree: Mapping[str, Any]) -> list[str]:
    names = [name for name in FAILURES if name in _present(tree)]
    if not names:
        return []
    lines = [
        [row["name"], *(_cell(tree, row["figures"], name) for name in names)]
        for row in tree["rows"]
    ]
    return ["## The five failures", _markdown_table(["", *map(_title, names)], lines)]


def _columns(tree: Mapping[str, Any]) -> list[str]:
    """Figures that some row has, or that are missing for a stated reason; no failures."""
    known = _present(tree) | set(tree["unmeasured"])
    return [name for name in METRICS if name in known and name not in FAILURES]


def _present(tree: Mapping[str, Any]) -> set[str]:
    return {name for row in tree["rows"] for name in row["figures"]}


def _measured(tree: Mapping[str, Any], name: str) -> bool:
    return name not in tree["unmeasured"]


def _title(name: str) -> str:
    figure = METRICS[name]
    return f"{figure.title} ({figure.unit})" if figure.unit else figure.title


def _cell(tree: Mapping[str, Any], figures: Mapping[str, Any], name: str) -> str:
    if not _measured(tree, name):
        return str(tree["unmeasured"][name][0])
    value = figures.get(name, {}).get("value")
    return _number(value, name)


def _interval_table(tree: Mapping[str, Any], kind: str, names: Sequence[str]) -> str:
    names = [name for name in names if _measured(tree, name)]
    lines = []
    for row in tree["rows"]:
        cells = []
        for name in names:
            one = row[kind].get(name, {})
            low, high = (
                _number(one.get(end), name, signed=kind == "gains") for end in ("low", "high")
            )
            value = _number(one.get("value"), name, signed=kind == "gains")
            cells.append(value if _MISSING in (value, low) else f"{value} ({low} .. {high})")
        lines.append([row["name"], *cells])
    return _markdown_table(["", *map(_title, names)], lines)


def _number(value: float | None, name: str, *, signed: bool = False) -> str:
    if value is None:
        return _MISSING
    text = f"{value:{'+' if signed else ''}.{METRICS[name].digits}f}"
    return text if float(text) else text.lstrip("+-")


def _markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def _explanations(tree: Mapping[str, Any]) -> list[str]:
    """What each figure means here; only those that were measured."""
    columns = _columns(tree)
    data = tree["data"]
    lines = [
        f"Photos: {data.get('text', '')}; digest {data.get('digest', '')}.",
        "Every figure is of the true L with the row's ab, colors outside sRGB moved into it at"
        " their own L and hue, not rounded to 8 bits. Figures are means over photos.",
        "AuC: area under the cumulative histogram of ab distances, 0 to 150, closed form."
        f" Rebalanced: each true color bin's own AuC over all photos' pixels, averaged over the"
        f" {tree['rebalanced_bins']} bins that hold at least 1e-5 of them.",
        "PSNR: R, G and B, peak 1, each photo at most 100 dB. PSNR of Lab: L / 100 and"
        " (ab + 128) / 255, L included (the reading of a figure reported without its channels).",
        *([_ssim_text(tree)] if "ssim" in columns else []),
        "Colorfulness: Hasler and Suesstrunk 2003, CF on 0..255 and M(1) in Lab; ratios are of"
        " means over photos.",
        CAST_TEXT,
    ]
    lines.append(
        f"{_title(READINGS[0])} and {_title(READINGS[2])}: with AuC, three readings of an accuracy"
        " that a report did not define; given for comparison with it, and no more."
    )
    if "auc_half" in columns:
        lines.append("AuC, lambda 0.5: pixels weighted by 1 / (p / 2 + 1 / 626), packaged prior p.")
    if any(name in FAILURES for name in _present(tree)):
        lines.append(_FAILURES_TEXT)
    lines += [f"{name}: {text}." for name, text in tree["measured_with"].items()]
    if "fd" in columns:
        lines.append(fd_text(tree["photos"]))
    lines += [f"{_title(name)}: {why}" for name, (_, why) in tree["unmeasured"].items()]
    lines += tree["notes"]
    lines += [
        f"{row['name']}: {_about(row['about'])}."
        for row in tree["rows"]
        if "decode" in row["about"]
    ]
    return lines


def _ssim_text(tree: Mapping[str, Any]) -> str:
    return f"SSIM: {tree['ssim_window']}; L is exact, so gray scores high."


def fd_text(photos: int) -> str:
    """How FD of so many photos may be read."""
    return (
        f"FD is of {photos} photos and no FID: compare it only between rows of these photos. It has"
        " no interval, since photos that repeat in a resample change it by themselves. With at most"
        " as many photos as dimensions the covariances are singular: the formula still holds for"
        " them, but the value is mostly that of too few photos."
    )


def _about(about: Mapping[str, Any]) -> str:
    decode = ", ".join(f"{key} {value:g}" for key, value in about["decode"].items())
    rest = [f"{key} {value}" for key, value in about.items() if key != "decode"]
    return "; ".join([*rest, decode])


def _per_photo(evaluation: Evaluation, context: Context) -> str:
    """A line a photo and row: everything that is taken of single photos."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [n for n in METRICS if n in evaluation.results[0].samples.values]
    writer.writerow(["photo", "row", *names])
    for result in evaluation.results:
        values = result.samples.values
        for index, photo in enumerate(context.names):
            cells = [values[name][index] for name in names]
            writer.writerow(
                [photo, result.row.name, *("" if math.isnan(v) else f"{v:.6g}" for v in cells)]
            )
    return out.getvalue()
