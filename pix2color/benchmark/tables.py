"""The tables of a benchmark, from what metrics.json holds."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pix2color.evaluation.bootstrap import FAILURES, METRICS, READINGS
from pix2color.evaluation.report import CAST_TEXT, fd_text

_SHOWN = (
    "auc",
    "auc_rebalanced",
    "psnr",
    "ssim",
    "lpips",
    "cast",
    "fd",
    "colorfulness",
    "colorfulness_ratio",
    "top1",
    "top5",
    "top1_won_back",
)
_GAINS = ("auc", "auc_rebalanced", "psnr", "lpips_change", "top1")
_MISSING = "-"
Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A value with its interval; the best one is bold."""

    text: str
    interval: str = ""
    bold: bool = False

    def markdown(self) -> str:
        """For report.md: on one line, without what Markdown takes for a column or a tag."""
        text = " ".join(self.text.split()).replace("|", "\\|").replace("<", "&lt;")
        text = f"**{text}**" if self.bold else text
        return f"{text} ({self.interval})" if self.interval else text

    def html(self) -> str:
        """For the page: the interval below the value."""
        text = html.escape(self.text)
        text = f"<b>{text}</b>" if self.bold else text
        return f"{text}<br><small>{html.escape(self.interval)}</small>" if self.interval else text


@dataclass(frozen=True)
class Table:
    """A head and lines of cells."""

    head: Sequence[str]
    lines: Sequence[Sequence[Cell]]

    def markdown(self) -> str:
        """As a Markdown table; the first column is aligned to the left."""
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        lines = [[cell.markdown() for cell in line] for line in self.lines]
        return "\n".join(f"| {' | '.join(line)} |" for line in (self.head, rule, *lines))

    def html(self) -> str:
        """As an HTML table."""
        head = "".join(f"<th>{html.escape(text)}</th>" for text in self.head)
        lines = ["".join(f"<td>{cell.html()}</td>" for cell in line) for line in self.lines]
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def summary(tree: Tree) -> str:
    """What was compared, in a paragraph."""
    data, budget = tree["data"], tree["plan"]["budget"]
    minutes, samples = budget["minutes"], budget["samples"]
    limits = [f"{minutes:g} minutes of training steps"] if minutes else []
    each = " or ".join([*limits, *([f"{samples:,} samples"] if samples else [])])
    done = sum(one["status"] == "done" for one in tree["recipes"])
    text = (
        f"{done} of {len(tree['recipes'])} recipes trained for {each} each on the same"
        f" {data['train']:,} photos ({data['validation']:,} for validation; digest"
        f" {data['digest']})."
    )
    if data["toy"]:
        text += " These are a few bundled photos, which also serve for testing: figures of a toy."
    return text


def training(tree: Tree) -> Table:
    """How each recipe was trained, and what it costs."""
    first = next(iter(tree["sets"].values()))
    times = {row["name"]: row["milliseconds"] for row in first["rows"]}
    head = (
        "recipe", "status", "trainable", "frozen", "samples", "minutes", "photos/s", "ms a photo",
        "remark",
    )  # fmt: skip
    lines = []
    for one in tree["recipes"]:
        ms = times.get(one["title"])
        before = f" ({one['parent_samples']:,} as {one['parent']})" if one["parent"] else ""
        done = one["status"] == "done"
        lines.append(
            [
                one["title"],
                one["status"],
                f"{one['trainable']:,}" if done else _MISSING,
                f"{one['frozen']:,}" if done else _MISSING,
                f"{one['samples']:,}{before}" if done else _MISSING,
                f"{one['seconds'] / 60:.1f}" if done else _MISSING,
                f"{one['rate']:.1f}" if done else _MISSING,
                f"{ms:.0f}" if ms else _MISSING,
                one["reason"] or one["note"],
            ]
        )
    return Table(head, [[Cell(text) for text in line] for line in lines])


def figures(one: Tree) -> Table:
    """A set's figures with their intervals; bold where the best recipe's interval stands apart."""
    names = [n for n in _SHOWN if any(n in row["figures"] for row in one["rows"])]
    missing = {n: texts[0] for n, texts in one["unmeasured"].items() if n in _SHOWN}
    fid = any("fid" in row for row in one["rows"])
    best = {name: _best(one, name) for name in names}
    lines = []
    for row in one["rows"]:
        cells = [Cell(row["name"])]
        for name in names:
            cells.append(_cell(row["figures"].get(name), name, bold=best[name] == row["name"]))
        cells += [Cell(text) for text in missing.values()]
        if fid:
            cells.append(Cell(f"{row['fid']:.1f}" if "fid" in row else _MISSING))
        lines.append(cells)
    heads = [_title(n) for n in (*names, *missing)]
    return Table(["", *heads, *(["FID"] if fid else [])], lines)


def gains(one: Tree) -> Table:
    """A set's gains over gray with their intervals, which are paired."""
    names = [n for n in _GAINS if any(n in row["gains"] for row in one["rows"])]
    lines = [
        [Cell(row["name"]), *(_cell(row["gains"].get(n), n, signed=True) for n in names)]
        for row in one["rows"]
        if row["name"] != "gray"
    ]
    return Table(["", *map(_title, names)], lines)


def readings(one: Tree) -> Table:
    """Three readings of an accuracy that system D's report (92.1 %) did not define."""
    lines = [
        [Cell(row["name"]), *(Cell(_number(row["figures"].get(n), n)) for n in READINGS)]
        for row in one["rows"]
    ]
    return Table(["", *map(_title, READINGS)], lines)


def failures(one: Tree) -> Table | None:
    """The measures of the five failures; None where they were not measured."""
    names = [n for n in FAILURES if any(n in row["figures"] for row in one["rows"])]
    if not names:
        return None
    lines = [
        [Cell(row["name"]), *(Cell(_number(row["figures"].get(n), n)) for n in names)]
        for row in one["rows"]
    ]
    return Table(["", *map(_title, names)], lines)


def explanations(tree: Tree) -> list[str]:
    """How it was done, a line each."""
    plan, first = tree["plan"], next(iter(tree["sets"].values()))
    split = plan["split"]
    lines = [
        f"Photos are split {split['train']:.0%} / {split['val']:.0%} / {split['test']:.0%} by"
        " their content. Every recipe sees them in the same order of draws, with the same crops;"
        " minutes are those of training steps, not of reading, validating and saving.",
        f"A GAN recipe starts from its pretraining as that was after {1 - plan['gan_budget_fraction']:.0%} of"
        " the budget (its row `start`) and trains against the discriminator for the rest: the"
        " whole is equal. It is decoded as its pretraining is.",
        "Weights are the averages at the end of the budget; nothing is chosen by the test photos.",
        "Intervals: 95 %, bootstrap over photos"
        f" ({first['bootstrap']['resamples']} resamples). Bold: the best trained recipe, only"
        " where its interval overlaps with no other recipe's.",
        f"Rebalanced AuC averages the {first['rebalanced_bins']} color bins that occur.",
        CAST_TEXT,
        "truth: the photo itself; gray: no color; random: the ab of a random training photo; mean:"
        " the training photos' mean ab everywhere.",
    ]
    for name, one in tree["sets"].items():
        lines.append(f"{name}: {one['data']['text']}; digest {one['data']['digest']}.")
    measured = {k: v for one in tree["sets"].values() for k, v in one["measured_with"].items()}
    lines += [f"{name}: {text}." for name, text in measured.items()]
    if "FD" in measured:
        lines.append(fd_text(first["photos"]))
    lines += [f"{_title(name)}: {why}" for name, (_, why) in first["unmeasured"].items()]
    lines += [f"{one['name']}: config {one['digest']}." for one in tree["recipes"]]
    lines.append(", ".join(f"{name} {text}" for name, text in tree["versions"].items()) + ".")
    return lines


def _best(one: Tree, name: str) -> str | None:
    """The trained recipe whose interval lies wholly on the good side of all others'."""
    better = METRICS[name].better
    trained = [row for row in one["rows"] if row["featured"] and name in row["figures"]]
    found = [(row["name"], row["figures"][name]) for row in trained]
    found = [(n, f) for n, f in found if None not in (f["value"], f["low"], f["high"])]
    if not better or len(found) < 2:
        return None
    sign = 1 if better == "higher" else -1
    found.sort(key=lambda pair: -sign * pair[1]["value"])
    (winner, its), others = found[0], [figure for _, figure in found[1:]]
    near, far = ("low", "high") if sign > 0 else ("high", "low")
    apart = all(sign * its[near] > sign * other[far] for other in others)
    return winner if apart else None


def _title(name: str) -> str:
    figure = METRICS[name]
    return f"{figure.title} ({figure.unit})" if figure.unit else figure.title


def _cell(
    figure: Mapping[str, float | None] | None,
    name: str,
    *,
    bold: bool = False,
    signed: bool = False,
) -> Cell:
    if figure is None or figure["value"] is None:
        return Cell(_MISSING)
    ends = [_number({"value": figure[end]}, name, signed=signed) for end in ("low", "high")]
    interval = "" if figure["low"] is None or ends[0] == ends[1] else f"{ends[0]} .. {ends[1]}"
    return Cell(_number(figure, name, signed=signed), interval, bold)


def _number(figure: Mapping[str, float | None] | None, name: str, *, signed: bool = False) -> str:
    value = figure["value"] if figure else None
    if value is None:
        return _MISSING
    text = f"{value:{'+' if signed else ''}.{METRICS[name].digits}f}"
    return text if float(text) else text.lstrip("+-")
