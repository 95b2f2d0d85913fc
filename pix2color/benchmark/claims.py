"""What the reports of systems A to E state or suggest about the rows of a benchmark.

A claim is a range in which a figure must lie: a row's own, or its difference from that of another
row on the same photos. Its interval decides: inside the range the claim is reproduced, outside it
is contradicted, across an end of it nothing is decided.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pix2color.evaluation.evaluator import Evaluation
from pix2color.evaluation.registry import METRICS

Verdict = Literal["reproduced", "contradicted", "undecided"]
Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """One statement, and the figure that tests it."""

    system: str
    text: str
    reported: str
    """What the report has for it."""
    metric: str = ""
    row: str = ""
    """A recipe, or a row without training."""
    than: str | None = None
    """The row that is subtracted; None: the figure is the row's own."""
    low: float = 0.0
    high: float = math.inf
    """The range of the figure, without its ends. The default: `row` is above `than`."""
    untested: str = ""
    """Why no row of a benchmark tests it."""

    @property
    def figure(self) -> tuple[str, str | None, str]:
        """What is measured for it."""
        return self.row, self.than, self.metric


_AUC = "AuC of CelebA and of fruits: "
_TOP1 = "accuracy of a classifier on fruits: "
_CLASSES = f"{_AUC}92.2 and 91.5; 84.5 and 76.9"
_REBALANCED = "not by B; Zhang et al. 2016, whom it follows: 67.3 and 65.1"
# fmt: off
CLAIMS = (
    Claim("A", "regression reaches a PSNR of 34 dB",
        "34 dB, channels not stated; 30 to 50 are called excellent, about 25 acceptable",
        "psnr_lab", "vgg16_regression", low=33.5),
    Claim("A", "regression is easier to train than classes, so its PSNR is higher",
        "the class model was hard to converge", "psnr", "vgg16_regression", "vgg16_class64"),
    Claim("B", "L2 above gray", f"{_AUC}91.5 and 88.8; 76.9 and 76.9", "auc", "zhang_l2", "gray"),
    Claim("B", "classes above L2", _CLASSES, "auc", "zhang_class", "zhang_l2"),
    Claim("B", "classes above L2, with the network of system F", _CLASSES,
        "auc", "pretrain_class", "pretrain_l2"),
    Claim("B", "rebalancing changes the AuC by less than 0.3 points",
        f"{_AUC}92.3 and 92.2; 84.3 and 84.5, by code that weights the wrong pixels",
        "auc", "zhang_class_rebal", "zhang_class", low=-0.3, high=0.3),
    Claim("B", "rebalancing raises the rebalanced AuC", _REBALANCED,
        "auc_rebalanced", "zhang_class_rebal", "zhang_class"),
    Claim("B", "rebalancing raises the rebalanced AuC, with the network of system F", _REBALANCED,
        "auc_rebalanced", "unet_class_rebal", "pretrain_class"),
    Claim("B", "gray above the colors of a random photo",
        f"{_AUC}88.8 and 87.4; 76.9 and 74.1", "auc", "gray", "random"),
    Claim("B", "gray is recognized more often than the colors of a random photo",
        f"{_TOP1}33.2 and 28.2", "top1", "gray", "random"),
    Claim("B", "L2 is recognized more often than the colors of a random photo",
        f"{_TOP1}31.7 and 28.2", "top1", "zhang_l2", "random"),
    Claim("B", "gray is recognized more often than L2", f"{_TOP1}33.2 and 31.7",
        "top1", "gray", "zhang_l2"),
    Claim("B", "classes are recognized more often than gray", f"{_TOP1}35.9 and 33.2",
        "top1", "zhang_class", "gray"),
    Claim("B", "rebalanced classes are recognized more often than classes",
        f"{_TOP1}39.8 and 35.9", "top1", "zhang_class_rebal", "zhang_class"),
    Claim("B", "the truth is recognized more often than rebalanced classes",
        f"{_TOP1}44.0 and 39.8", "top1", "truth", "zhang_class_rebal"),
    Claim("B", "photos improve while the loss of the validation photos rises",
        "from about epoch 30 of 100", untested="see the loss curves and the learning curves"),
    Claim("C", "photos that were not learned get random colors, which are no better than one mean"
        " color", "photos are memorized, others are random", "auc", "mean", "zhang_cnn_w64"),
    Claim("C", "one photo, then 10 to 20, are memorized; 40 hardly",
        "MSE 40, 31, 24 of one photo after 100, 200, 400 epochs",
        untested="analyze overfit and ladder test it: docs/reproductions.md"),
    Claim("D", "an accuracy of about 92.1 %", "92.1 %", untested="the report does not define it"),
    Claim("E", "colors are averaged: duller than the truth", "averaged colors",
        "colorfulness_ratio", "truth", "strided"),
    Claim("E", "colors become plausible with more epochs", "an expectation, without figures",
        untested="see the learning curves"),
)
# fmt: on
"""Of the reports; `configs/` says in the header of each recipe what else they state."""
STAGE_METRICS = ("auc", "auc_rebalanced", "psnr", "lpips", "cast", "fd", "colorfulness_ratio")
"""By which an adversarial recipe is compared with its start."""


def measure_claims(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The figures of CLAIMS on a set: for each, the names of its rows and its figure, null where a
    row or the metric is missing."""
    names = [result.method.name for result in evaluation.results]
    figures = [values for values, _ in evaluation.figures()]
    measured = []
    for claim in CLAIMS:
        row, than = _find(names, claim.row), _find(names, claim.than)
        figure = None
        if row is not None and claim.than is None:
            figure = figures[row].get(claim.metric)
        elif row is not None and than is not None:
            figure = evaluation.differences(row, than).get(claim.metric)
        measured.append(
            {
                "row": None if row is None else names[row],
                "than": None if than is None else names[than],
                "figure": figure and figure.as_json(),
            }
        )
    return measured


def compare_stages(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Each adversarial recipe less the state that it started from, paired by photo."""
    names = [result.method.name for result in evaluation.results]
    return [
        {
            "one": name,
            "other": f"{name} (start)",
            "differences": {
                metric: value.as_json()
                for metric, value in evaluation.differences(
                    number, names.index(f"{name} (start)")
                ).items()
            },
        }
        for number, name in enumerate(names)
        if f"{name} (start)" in names
    ]


def judge(sets: Mapping[str, Tree]) -> list[dict[str, Any]]:
    """Every claim with its verdict on every set.

    Args:
        sets: the trees of the sets, whose `claims` are of `measure_claims`.
    """
    return [
        {
            "system": claim.system,
            "text": claim.text,
            "reported": claim.reported,
            "metric": claim.metric,
            "sets": {name: _judged(claim, one["claims"][number]) for name, one in sets.items()},
        }
        for number, claim in enumerate(CLAIMS)
    ]


def verdict(claim: Claim, figure: Mapping[str, float | None] | None) -> Verdict:
    """What a figure's interval decides; without an interval nothing is decided."""
    low, high = (figure["low"], figure["high"]) if figure else (None, None)
    if low is None or high is None:
        return "undecided"
    if claim.low < low and high < claim.high:
        return "reproduced"
    if high < claim.low or claim.high < low:
        return "contradicted"
    return "undecided"


def _judged(claim: Claim, measured: Tree) -> dict[str, Any]:
    reason = claim.untested
    if not reason:
        found = ((claim.row, measured["row"]), (claim.than, measured["than"]))
        missing = [name for name, row in found if name and row is None]
        if missing:
            reason = f"no row {' and '.join(missing)}"
        elif measured["figure"] is None:
            reason = f"{METRICS[claim.metric].label} was not measured"
    return {**measured, "verdict": verdict(claim, measured["figure"]), "reason": reason}


def _find(names: Sequence[str], recipe: str | None) -> int | None:
    """The number of a recipe's row, also where another encoder is part of its name."""
    pattern = re.compile(rf"{re.escape(recipe or '')}( on \S+)?")
    return next((n for n, name in enumerate(names) if recipe and pattern.fullmatch(name)), None)
