"""The tables of a benchmark, from the tree of metrics.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pix2color import markdown
from pix2color.benchmark.claims import STAGE_METRICS
from pix2color.benchmark.decoding import RULE
from pix2color.benchmark.measure import BEST_DECODING
from pix2color.evaluation.registry import FAILURES, METRICS, MISSING
from pix2color.evaluation.report import CAST_TEXT, fd_text

_NAMES = (
    "auc",
    "auc_rebalanced",
    "psnr",
    "psnr_lab",
    "ssim",
    "lpips",
    "cast",
    "fd",
    "colorfulness",
    "colorfulness_ratio",
    "top1",
    "top5",
    "top1_recovered",
    "fid",
)
_NEIGHBOR_NAMES = ("auc", "auc_rebalanced", "psnr", "lpips", "cast", "top1")
_GAIN_NAMES = ("auc", "auc_rebalanced", "psnr", "lpips_change", "top1")
Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A value with its interval; the best one is bold."""

    text: str
    interval: str = ""
    bold: bool = False

    def markdown(self) -> str:
        """As Markdown, on one line."""
        text = f"**{self.text}**" if self.bold else self.text
        return f"{text} ({self.interval})" if self.interval else text


@dataclass(frozen=True)
class Table:
    """A head and lines of cells."""

    head: Sequence[str]
    lines: Sequence[Sequence[Cell]]

    def markdown(self) -> str:
        """As a Markdown table."""
        return markdown.table(self.head, [[c.markdown() for c in line] for line in self.lines])


def summary(tree: Tree) -> str:
    """The comparison in a paragraph."""
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
        text += " These are a few bundled photos, also used for testing: a smoke test."
    return text


def training(tree: Tree) -> Table:
    """How each recipe was trained, and its costs."""
    first = next(iter(tree["sets"].values()))
    times = {row["name"]: row["milliseconds"] for row in first["rows"]}
    head = (
        "recipe", "status", "trainable", "frozen", "samples", "minutes", "photos/s",
        "ms per photo", "note",
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
                f"{one['trainable']:,}" if done else MISSING,
                f"{one['frozen']:,}" if done else MISSING,
                f"{one['samples']:,}{before}" if done else MISSING,
                f"{one['seconds'] / 60:.1f}" if done else MISSING,
                f"{one['rate']:.1f}" if done else MISSING,
                f"{ms:.0f}" if ms else MISSING,
                one["reason"] or one["note"],
            ]
        )
    return Table(head, [[Cell(text) for text in line] for line in lines])


def figures(one: Tree) -> Table:
    """A set's metrics with their intervals; bold where the best recipe's interval is separate."""
    names = _present(one, "figures", _NAMES)
    skipped = {n: texts[0] for n, texts in one["unmeasured"].items() if n in _NAMES}
    best = {name: _best(one, name) for name in names}
    lines = [
        [
            Cell(row["name"]),
            *(_cell(row["figures"].get(n), n, bold=best[n] == row["name"]) for n in names),
            *map(Cell, skipped.values()),
        ]
        for row in one["rows"]
    ]
    return Table(["", *_titles((*names, *skipped))], lines)


def gains(one: Tree) -> Table:
    """A set's gains over gray with their intervals, which are paired."""
    names = _present(one, "gains", _GAIN_NAMES)
    lines = [
        [Cell(row["name"]), *(_cell(row["gains"].get(n), n, signed=True) for n in names)]
        for row in one["rows"]
        if row["name"] != "gray"
    ]
    return Table(["", *_titles(names)], lines)


def neighbors(one: Tree) -> Table:
    """Networks in the order of AuC, each less the next; bold where the interval excludes 0."""
    return _differences(one["neighbors"], _NEIGHBOR_NAMES)


def stages(one: Tree) -> Table:
    """Adversarial recipes, each less its start; bold where the interval excludes 0."""
    return _differences(one["stages"], STAGE_METRICS)


def claims(tree: Tree) -> Table:
    """What the reports of systems A to E state, with the verdict of every set."""
    lines = []
    for claim in tree["claims"]:
        metric, judged = claim["metric"], [claim["sets"][name] for name in tree["sets"]]
        what = METRICS[metric].title if metric else MISSING
        rows = [one["row"] for one in judged if one["row"]]
        others = [one["than"] for one in judged if one["than"]]
        compared = " less ".join((*rows[:1], *others[:1])) or MISSING
        text = f"{claim['system']}: {claim['text']}"
        cells = [_verdict(one, metric) for one in judged]
        lines.append([*map(Cell, (text, claim["reported"], compared, what)), *cells])
    return Table(["system: claim", "reported", "rows here", "figure", *tree["sets"]], lines)


def _verdict(one: Tree, metric: str) -> Cell:
    if one["reason"]:
        return Cell(f"{one['verdict']}: {one['reason']}")
    figure = _cell(one["figure"], metric, signed=one["than"] is not None)
    decided = one["verdict"] != "undecided"
    return Cell(f"{one['verdict']}: {figure.text}", figure.interval, decided)


def _differences(pairs: Sequence[Tree], metrics: Sequence[str]) -> Table:
    names = [n for n in metrics if any(n in pair["differences"] for pair in pairs)]
    lines = []
    for pair in pairs:
        cells = []
        for name in names:
            figure = pair["differences"].get(name)
            known = figure is not None and None not in figure.values()
            decided = known and (figure["low"] > 0 or figure["high"] < 0)
            cells.append(_cell(figure, name, signed=True, bold=decided))
        lines.append([Cell(f"{pair['one']} less {pair['other']}"), *cells])
    return Table(["", *_titles(names)], lines)


def classifier_note(tree: Tree, one: Tree) -> str:
    """Which classifier reads a set's top-1, and whose own it is; empty without top-1."""
    if not _present(one, "figures", ("top1",)):
        return ""
    classifier = one["measured_with"]["classifier"].partition(",")[0]
    own = [each["title"] for each in tree["recipes"] if each["encoder"] == classifier]
    text = f"top-1 and top-5 are read by {classifier}."
    if own:
        text += (
            f" {', '.join(own)} start from the weights of this classifier, so it reads their"
            " colors by features that they began with."
        )
    return text


def failures(one: Tree) -> Table | None:
    """The metrics of the five failures; None where they were not measured."""
    names = _present(one, "figures", FAILURES)
    if not names:
        return None
    lines = [
        [Cell(row["name"]), *(Cell(_format(row["figures"].get(n), n)) for n in names)]
        for row in one["rows"]
    ]
    return Table(["", *_titles(names)], lines)


def explanations(tree: Tree) -> list[str]:
    """The protocol, one line per statement."""
    plan, first = tree["plan"], next(iter(tree["sets"].values()))
    split = plan["split"]
    lines = [
        f"Photos are split {split['train']:.0%} / {split['val']:.0%} / {split['test']:.0%} by"
        " their content. Every recipe gets them in the same random order, with the same crops;"
        " minutes are those of training steps, without reading, validating and saving.",
        "A GAN recipe starts from the state of its pretraining after"
        f" {1 - plan['gan_budget_fraction']:.0%} of the budget (its row `start`) and trains against"
        " the discriminator for the rest: the total is equal. Both are decoded alike.",
        f"Weights are those at the end of the budget, {_averaging(plan)}; nothing is chosen by the"
        " test photos.",
        *_decodings(first),
        *_checkpoints(plan),
        "PSNR of Lab: L / 100 and (ab + 128) / 255, L included: the likeliest reading of system A's"
        " 34 dB, for which its report calls 30 to 50 excellent and about 25 acceptable.",
        "Every metric is of the 8-bit pixels that infer.py would write for the photo.",
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
    lines += [f"{METRICS[name].title}: {why}" for name, (_, why) in first["unmeasured"].items()]
    lines += [
        f"{one['name']}: config {one['digest']}, code {one['code'] or MISSING}."
        for one in tree["recipes"]
    ]
    lines.append(", ".join(f"{name} {text}" for name, text in tree["versions"].items()) + ".")
    return lines


def _averaging(plan: Tree) -> str:
    half_life = plan["defaults"].get("optim", {}).get("ema_half_life_samples")
    if half_life is None:
        return "averaged where the recipe averages weights"
    if not half_life:
        return "without averaging"
    return f"averaged with a half-life of {half_life:,} samples by every recipe"


def _checkpoints(plan: Tree) -> list[str]:
    """Which rows were not trained here."""
    files = plan.get("checkpoints")
    if not files:
        return []
    return [
        f"Not trained here, and with the settings that they ship: {', '.join(files)}. Their"
        " training had another budget and other photos, which may be those that are measured."
    ]


def _decodings(one: Tree) -> list[str]:
    """The rule of the best decodings, and those that it chose."""
    chosen = {
        row["name"]: row["metadata"]["decode"]
        for row in one["rows"]
        if row["name"].endswith(f"({BEST_DECODING})")
    }
    if not chosen:
        return []
    texts = [
        f"{name.removesuffix(f' ({BEST_DECODING})')} {decode['temperature']:g} and"
        f" {decode['vividness']:g}"
        for name, decode in chosen.items()
    ]
    return [f"Rows `{BEST_DECODING}`: {RULE}. Chosen: {'; '.join(texts)}."]


def _present(one: Tree, kind: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if any(name in row[kind] for row in one["rows"])]


def _titles(names: Sequence[str]) -> list[str]:
    return [METRICS[name].title for name in names]


def _best(one: Tree, name: str) -> str | None:
    """The trained recipe whose interval is entirely on the better side of all others'."""
    better = METRICS[name].better
    figures = [(row["name"], row["figures"].get(name)) for row in one["rows"] if row["primary"]]
    complete = [(n, f) for n, f in figures if f and None not in (f["value"], f["low"], f["high"])]
    if not better or len(complete) < 2:
        return None
    sign = 1 if better == "higher" else -1
    complete.sort(key=lambda pair: -sign * pair[1]["value"])
    (winner, best), others = complete[0], [figure for _, figure in complete[1:]]
    worse_end, better_end = ("low", "high") if sign > 0 else ("high", "low")
    separate = all(sign * best[worse_end] > sign * other[better_end] for other in others)
    return winner if separate else None


def _cell(
    figure: Mapping[str, float | None] | None,
    name: str,
    *,
    bold: bool = False,
    signed: bool = False,
) -> Cell:
    if figure is None or figure["value"] is None:
        return Cell(MISSING)
    low, high = (METRICS[name].format(figure[end], signed=signed) for end in ("low", "high"))
    interval = "" if MISSING in (low, high) or low == high else f"{low} .. {high}"
    return Cell(_format(figure, name, signed=signed), interval, bold)


def _format(figure: Mapping[str, float | None] | None, name: str, *, signed: bool = False) -> str:
    return METRICS[name].format(figure["value"] if figure else None, signed=signed)
