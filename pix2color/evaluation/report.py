"""The files of an evaluation: metrics.json, report.md, photos.csv, groups.csv and pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pix2color._version import __version__
from pix2color.data.dataset import Pixels
from pix2color.evaluation import bootstrap, cast, group_tables, metrics
from pix2color.evaluation.bootstrap import CONFIDENCE
from pix2color.evaluation.evaluator import Evaluation
from pix2color.evaluation.groups import Grouping
from pix2color.evaluation.registry import FAILURES, METRICS, MISSING, SKIN
from pix2color.evaluation.share_chart import share_chart
from pix2color.io import atomic_write
from pix2color.markdown import table as markdown_table

JSON_NAME = "metrics.json"
MARKDOWN_NAME = "report.md"
CSV_NAME = "photos.csv"
SHARES_NAME = "shares.png"
GRID_NAME = "grid.png"
_TILE = 192  # side of an image in the grid, pixels
_HEADER = 20
_GAIN_NAMES = ("auc", "auc_rebalanced", "psnr", "ssim", "lpips_change", "top1", "top5")

CAST_TEXT = (
    f"Cast: all photos' pixels by true L ({cast.BANDS} bands) and by neutral (chroma below"
    f" {cast.NEUTRAL_CHROMA:g}) or hue (sectors from {', '.join(map(str, cast.SECTOR_EDGES))}"
    " degrees of atan2(b, a)); half the sum of absolute differences between the method's shares and"
    f" the truth's over the {cast.CELLS} cells: the share of pixels that would have to move for the"
    " colors to be distributed as the truth's. The truth has 0, gray the share of colored pixels."
)
_FAILURES_TEXT = (
    "Failures: rare colors: pixels of the rarest true bins (10 % of all pixels) whose color is"
    " within 20 ab of theirs; patchiness: excess standard deviation of ab inside SLIC segments of"
    " the true photo; border: the outer 5 %; contours: within 3 px of Canny edges of L; contrast"
    " leaked: across true edges of ab, sampled 3 to 6 px away on both sides; F1: edges where ab"
    " changes by more than 15, within 2 px."
)


@dataclass(frozen=True)
class Context:
    """The photos and the protocol of an evaluation."""

    protocol: Mapping[str, Any]
    """`text` describes it; the other keys are its parameters."""
    data: Mapping[str, Any]
    """Roots, counts and the digest of the photos."""
    names: Sequence[str]
    """Of the photos."""
    measured_with: Mapping[str, str] = field(default_factory=dict)
    """LPIPS, FD, classifier -> network and file."""
    skipped_metrics: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Metric -> text of its cells, and why it is missing and the remedy."""
    notes: Sequence[str] = ()
    groupings: Sequence[Grouping] = ()
    """Divisions of the photos into groups with figures of their own."""
    fid: Mapping[str, float] = field(default_factory=dict)
    """Method -> FID of all photos, which has no interval."""


def write(folder: Path, evaluation: Evaluation, context: Context) -> dict[str, Any]:
    """Write the report, each file atomically; returns the content of metrics.json."""
    tree = to_dict(evaluation, context)
    if charted := charted_rows(tree):
        atomic_write(folder / SHARES_NAME, share_chart(charted))
    atomic_write(folder / JSON_NAME, json.dumps(tree, indent=1, allow_nan=False))
    atomic_write(folder / MARKDOWN_NAME, markdown(tree))
    atomic_write(folder / CSV_NAME, _per_photo(evaluation, context))
    if tree["groupings"]:
        atomic_write(folder / group_tables.CSV_NAME, group_tables.as_csv(tree))
    if evaluation.images:
        file = io.BytesIO()
        grid(primary_images(evaluation)).save(file, "PNG")
        atomic_write(folder / GRID_NAME, file.getvalue())
    return tree


def to_dict(evaluation: Evaluation, context: Context) -> dict[str, Any]:
    """The whole evaluation as plain values; null where there is no figure."""
    groupings = [
        {
            "by": grouping.by,
            "groups": [
                {
                    "name": name,
                    "photos": len(chosen),
                    "rows": _rows(evaluation.select(np.array(chosen))),
                }
                for name, chosen in grouping.groups.items()
            ],
        }
        for grouping in context.groupings
    ]
    rows = _rows(evaluation)
    for row in rows:
        if row["name"] in context.fid:
            fid = {"value": context.fid[row["name"]], "low": None, "high": None}
            row["figures"]["fid"] = fid
    return {
        "pix2color": __version__,
        "protocol": dict(context.protocol),
        "data": dict(context.data),
        "photos": evaluation.num_photos,
        "rebalanced_bins": evaluation.num_bins,
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
            {**row, "color_shares": bootstrap.color_shares(result.metrics).round(7).tolist()}
            for row, result in zip(rows, evaluation.results, strict=True)
        ],
        "groupings": groupings,
    }


def charted_rows(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the chart of shares: truth and the primary ones; empty without a primary one."""
    rows = [row for row in tree["rows"] if row["primary"]]
    return [tree["rows"][0], *rows] if rows else []


def _rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "name": result.method.name,
            "metadata": dict(result.method.metadata),
            "primary": result.method.primary,
            "milliseconds": result.milliseconds,
            "figures": {name: one.as_json() for name, one in values.items()},
            "gains": {name: one.as_json() for name, one in gains.items()},
        }
        for result, (values, gains) in zip(evaluation.results, evaluation.figures(), strict=True)
    ]


def markdown(tree: Mapping[str, Any]) -> str:
    """The report for people, from the tree of `to_dict`."""
    bootstrap = tree["bootstrap"]
    intervals = f"{bootstrap['confidence']:.0%} intervals ({bootstrap['resamples']} resamples)"
    parts = [
        "# Evaluation",
        f"{tree['photos']} photos; {tree['protocol']['text']}.",
        "## Figures",
        table(tree),
        *classifier_note(tree),
        *_failure_section(tree),
        *_share_section(tree),
        f"## Gains over gray, with {intervals}",
        _interval_table(tree, "gains", [n for n in _GAIN_NAMES if n in _columns(tree)]),
        f"## Figures with {intervals}",
        _interval_table(tree, "figures", [n for n in _columns(tree) if not _skipped(tree, n)]),
        *group_tables.sections(tree),
        "## How",
        "\n".join(f"- {line}" for line in _explanations(tree)),
    ]
    return "\n\n".join(parts) + "\n"


def table(tree: Mapping[str, Any]) -> str:
    """One line per method, one column per metric, as Markdown; failures have another table."""
    names = _columns(tree)
    lines = []
    for row in tree["rows"]:
        cells = [_cell(tree, row["figures"], name) for name in names]
        milliseconds = row["milliseconds"]
        lines.append([row["name"], *cells, f"{milliseconds:.0f}" if milliseconds else MISSING])
    return markdown_table(["", *_titles(names), "ms per photo"], lines)


def classifier_note(tree: Mapping[str, Any]) -> list[str]:
    """A sentence beside tables with top-1: which network reads it; empty without top-1."""
    if "top1" not in _present(tree):
        return []
    name = tree["measured_with"]["classifier"].partition(",")[0]
    return [
        f"top-1 and top-5 are read by {name}; weights whose encoder started as {name}, as the"
        " packaged ones did as mobilenet_v2, are read by features that they began with."
    ]


def primary_images(evaluation: Evaluation) -> dict[str, list[Pixels]]:
    """The grid's columns: gray, the primary methods, truth."""
    primary = [result.method.name for result in evaluation.results if result.method.primary]
    return {name: evaluation.images[name] for name in ("gray", *primary, "truth")}


def grid(columns: Mapping[str, Sequence[Pixels]]) -> Image.Image:
    """Images side by side: one column per method, one line per photo."""
    lines = max(len(images) for images in columns.values())
    sheet = Image.new("RGB", (_TILE * len(columns), _HEADER + _TILE * lines), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for column, (name, images) in enumerate(columns.items()):
        draw.text((column * _TILE + 4, 2), _shortened(name, draw, font), "black", font)
        for line, pixels in enumerate(images):
            tile = Image.fromarray(np.ascontiguousarray(pixels))
            tile.thumbnail((_TILE - 2, _TILE - 2), Image.Resampling.LANCZOS)
            sheet.paste(tile, (column * _TILE + 1, _HEADER + line * _TILE + 1))
    return sheet


def _shortened(name: str, draw: ImageDraw.ImageDraw, font: Any) -> str:
    shown = name
    while len(shown) > 3 and draw.textlength(shown, font) > _TILE - 8:
        name = name[:-1]
        shown = f"{name}..."
    return shown


def _share_section(tree: Mapping[str, Any]) -> list[str]:
    if not charted_rows(tree):
        return []
    return [
        "## Shares of colors by lightness",
        "`cast` compares the pixels of each band of true L by neutral and hue. Beside each band are"
        " its share of all pixels and its part of the cast.",
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
    return ["## The five failures", markdown_table(["", *_titles(names)], lines)]


def _columns(tree: Mapping[str, Any]) -> list[str]:
    """Metrics that some method has, or that are missing for a stated reason; neither failures nor
    those of skin."""
    known = _present(tree) | set(tree["unmeasured"])
    return [name for name in METRICS if name in known and name not in (*FAILURES, *SKIN)]


def _present(tree: Mapping[str, Any]) -> set[str]:
    return {name for row in tree["rows"] for name in row["figures"]}


def _skipped(tree: Mapping[str, Any], name: str) -> bool:
    return name in tree["unmeasured"]


def _titles(names: Iterable[str]) -> list[str]:
    return [METRICS[name].title for name in names]


def _cell(tree: Mapping[str, Any], figures: Mapping[str, Any], name: str) -> str:
    if _skipped(tree, name):
        return str(tree["unmeasured"][name][0])
    return METRICS[name].format(figures.get(name, {}).get("value"))


def _interval_table(tree: Mapping[str, Any], kind: str, names: Sequence[str]) -> str:
    names = [name for name in names if not _skipped(tree, name)]

    def cell(row: Mapping[str, Any], name: str) -> str:
        figure = row[kind].get(name, {})
        return METRICS[name].format_interval(figure, signed=kind == "gains")

    lines = [[row["name"], *(cell(row, name) for name in names)] for row in tree["rows"]]
    return markdown_table(["", *_titles(names)], lines)


def _explanations(tree: Mapping[str, Any]) -> list[str]:
    """The definition of each metric that was measured."""
    columns = _columns(tree)
    data = tree["data"]
    lines = [
        f"Photos: {data.get('text', '')}; digest {data.get('digest', '')}.",
        "Every metric is of 8-bit pixels: the photo's own, and those that infer.py writes for it"
        " (resized, colored, upsampled along edges, moved into sRGB and rounded the same way)."
        " Values are means over photos.",
        "AuC: area under the cumulative histogram of ab distances, 0 to 150, closed form."
        f" Rebalanced: each true color bin's own AuC over all photos' pixels, averaged over the"
        f" {tree['rebalanced_bins']} bins that hold at least 1e-5 of them.",
        "PSNR: R, G and B, peak 1, each photo at most 100 dB. PSNR of Lab: L / 100 and"
        " (ab + 128) / 255, L included (the reading of a figure reported without its channels).",
        *([_ssim_text(tree)] if "ssim" in columns else []),
        "Colorfulness: Hasler and Suesstrunk 2003, CF on 0..255 and M(1) in Lab; ratios are of"
        " means over photos, and the difference is of the same means.",
        CAST_TEXT,
    ]
    if "auc_half" in columns:
        lines.append("AuC, lambda 0.5: pixels weighted by 1 / (p / 2 + 1 / 626), packaged prior p.")
    if any(name in FAILURES for name in _present(tree)):
        lines.append(_FAILURES_TEXT)
    lines += [f"{name}: {text}." for name, text in tree["measured_with"].items()]
    if "fd" in columns:
        lines.append(fd_text(tree["photos"]))
    lines += [f"{METRICS[name].title}: {why}" for name, (_, why) in tree["unmeasured"].items()]
    lines += tree["notes"]
    lines += [
        f"{row['name']}: {_settings(row['metadata'])}."
        for row in tree["rows"]
        if "decode" in row["metadata"]
    ]
    return lines


def _ssim_text(tree: Mapping[str, Any]) -> str:
    return f"SSIM: {tree['ssim_window']}; L is exact, so gray scores high."


def fd_text(photos: int) -> str:
    """How to interpret the FD of so many photos."""
    return (
        f"FD is of {photos} photos and is not FID: compare it only between methods on these photos."
        " It has no interval, because repeated photos alone change it. With at most as many photos"
        " as dimensions the covariances are singular: the formula still holds, but the value mostly"
        " reflects the small number of photos."
    )


def _settings(metadata: Mapping[str, Any]) -> str:
    decode = ", ".join(f"{key} {value:g}" for key, value in metadata["decode"].items())
    others = [f"{key} {value}" for key, value in metadata.items() if key != "decode"]
    return "; ".join([*others, decode])


def _per_photo(evaluation: Evaluation, context: Context) -> str:
    """CSV with one line per photo and method: every metric of single photos."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [n for n in METRICS if n in evaluation.results[0].metrics.values]
    writer.writerow(["photo", "method", *names])
    for result in evaluation.results:
        columns = [result.metrics.values[name] for name in names]
        for photo, *values in zip(context.names, *columns, strict=True):
            cells = ("" if math.isnan(value) else f"{value:.6g}" for value in values)
            writer.writerow([photo, result.method.name, *cells])
    return out.getvalue()
