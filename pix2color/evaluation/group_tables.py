"""The tables of groups of photos, from the tree of `report.to_dict`: Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pix2color.evaluation import skin
from pix2color.evaluation.registry import METRICS, SKIN, MetricInfo
from pix2color.markdown import table as markdown_table

CSV_NAME = "groups.csv"
_GAINS = ("auc", "psnr")
_FIGURES = ("lpips_change", "cast", "colorfulness_ratio")
_SKIN_GAINS = ("skin_auc",)
_SKIN_FIGURES = tuple(name for name in SKIN if name not in _SKIN_GAINS)


def sections(tree: Mapping[str, Any]) -> list[str]:
    """Parts of the report: per grouping and primary method, a line per group and one of all."""
    parts = _skin_section(tree)
    for grouping in tree["groupings"]:
        groups = [*grouping["groups"], {"name": "all", **tree}]
        for number, row in enumerate(tree["rows"]):
            if not row["primary"]:
                continue
            parts.append(f"## {row['name']} by {grouping['by']}")
            parts.append(_table(groups, number, row, _GAINS, _FIGURES))
            if SKIN[0] in row["figures"]:
                parts.append(_table(groups, number, row, _SKIN_GAINS, _SKIN_FIGURES))
    return parts


def as_csv(tree: Mapping[str, Any]) -> str:
    """One line per grouping, group, method and figure; gains over gray end in _gain."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["by", "group", "photos", "method", "figure", "value", "low", "high"])
    for grouping in tree["groupings"]:
        for group in grouping["groups"]:
            head = [grouping["by"], group["name"], group["photos"]]
            for row in group["rows"]:
                for figure, ends in _named_figures(row):
                    cells = ("" if end is None else f"{end:.6g}" for end in ends)
                    writer.writerow([*head, row["name"], figure, *cells])
    return out.getvalue()


def _named_figures(row: Mapping[str, Any]) -> Iterator[tuple[str, list[float | None]]]:
    for kind, suffix in (("figures", ""), ("gains", "_gain")):
        for name, figure in row[kind].items():
            yield f"{name}{suffix}", [figure[end] for end in ("value", "low", "high")]


def _skin_section(tree: Mapping[str, Any]) -> list[str]:
    """All photos' skin, a line per method."""
    rows = [row for row in tree["rows"] if SKIN[0] in row["figures"]]
    if not rows:
        return []
    lines = [
        [row["name"], *(METRICS[n].format_interval(row["figures"][n]) for n in SKIN)]
        for row in rows
    ]
    return [
        "## Skin",
        skin.EXPLANATION,
        markdown_table(["", *(METRICS[n].title for n in SKIN)], lines),
    ]


def _table(
    groups: Sequence[Mapping[str, Any]],
    number: int,
    measured: Mapping[str, Any],
    gains: Sequence[str],
    figures: Sequence[str],
) -> str:
    """The columns that were measured of the row `number` of each group."""
    columns = [("gains", n, _gain_info(METRICS[n])) for n in gains]
    columns += [("figures", n, METRICS[n]) for n in figures if n in measured["figures"]]
    lines = []
    for group in groups:
        row = group["rows"][number]
        cells = [
            info.format_interval(row[kind].get(name, {}), signed=kind == "gains")
            for kind, name, info in columns
        ]
        lines.append([group["name"], str(group["photos"]), *cells])
    return markdown_table(["", "photos", *(info.title for _, _, info in columns)], lines)


def _gain_info(info: MetricInfo) -> MetricInfo:
    return replace(info, label=f"gain in {info.label}")
