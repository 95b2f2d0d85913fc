"""What the five reports state, on made-up results: real photos with a share of their color."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from pix2color.benchmark import claims, tables
from pix2color.benchmark.claims import CLAIMS, Claim
from pix2color.config import find_recipe
from pix2color.evaluation.evaluator import evaluate_methods
from pix2color.evaluation.methods import Batch, Method, constant
from pix2color.evaluation.registry import METRICS

Judged = dict[str, dict[str, Any]]


def share(name: str, part: float) -> Method:
    """A method that finds this part of every photo's color."""
    return Method.from_ab(name, lambda batch: part * batch.ab)


def uneven(name: str) -> Method:
    """Every other photo gets all of its color, and the others the opposite."""

    def predict(batch: Batch) -> Tensor:
        signs = batch.ab.new_tensor([1.0 if i % 2 else -0.9 for i in batch.indices])
        return signs.view(-1, 1, 1, 1) * batch.ab

    return Method.from_ab(name, predict)


@pytest.fixture(scope="module")
def judge(small_photos: list[np.ndarray]) -> Callable[..., Judged]:
    """The claims by their texts, with their verdicts on twelve photos."""
    squares = [p[top : top + 24, 20:44] for p in small_photos for top in (0, 24, 48)]

    def judged(*compared: Method) -> Judged:
        evaluation = evaluate_methods(squares, compared, resamples=200, timed=False, ssim=False)
        tree = {
            "claims": claims.measure_claims(evaluation),
            "stages": claims.compare_stages(evaluation),
        }
        found = claims.judge({"test": tree})
        assert len(found) == len(CLAIMS)
        return {f"{one['system']}: {one['text']}": one["sets"]["test"] | tree for one in found}

    return judged


def test_a_claim_is_reproduced_contradicted_or_undecided(judge: Callable[..., Judged]) -> None:
    found = judge(
        share("random", -0.5),
        constant("mean", (0.0, 0.0)),
        share("zhang_l2", 0.5),
        share("zhang_class", 0.2),
        uneven("zhang_cnn_w64"),
    )
    above = found["B: L2 above gray"]
    assert above["verdict"] == "reproduced"
    assert above["figure"]["low"] > 0
    assert (above["row"], above["than"], above["reason"]) == ("zhang_l2", "gray", "")
    below = found["B: classes above L2"]
    assert below["verdict"] == "contradicted"
    assert below["figure"]["high"] < 0
    (neither,) = (one for text, one in found.items() if text.startswith("C: photos that were not"))
    assert neither["verdict"] == "undecided"
    assert neither["figure"]["low"] < 0 < neither["figure"]["high"]
    assert found["B: gray above the colors of a random photo"]["verdict"] == "reproduced"


def test_the_figure_is_the_paired_difference(judge: Callable[..., Judged]) -> None:
    """Equal rows differ by exactly 0 on every photo, however different the photos are."""
    same = "B: rebalancing changes the AuC by less than 0.3 points"
    equal = judge(share("zhang_class", 0.5), share("zhang_class_rebal", 0.5))[same]
    assert equal["figure"] == {"value": 0, "low": 0, "high": 0}
    assert equal["verdict"] == "reproduced"
    apart = judge(share("zhang_class", 0.5), share("zhang_class_rebal", 0.9))[same]
    assert apart["verdict"] == "contradicted"


def test_a_row_by_itself_and_one_with_another_encoder(judge: Callable[..., Judged]) -> None:
    claim = "A: regression reaches a PSNR of 34 dB"
    for part, verdict in ((0.97, "reproduced"), (0.0, "contradicted")):
        one = judge(share("vgg16_regression on mobilenet_v2", part))[claim]
        assert one["verdict"] == verdict
        assert (one["row"], one["than"]) == ("vgg16_regression on mobilenet_v2", None)


def test_what_is_missing_is_named(judge: Callable[..., Judged]) -> None:
    found = judge(share("zhang_l2", 0.5), share("zhang_class (best decoding)", 0.9))
    assert found["B: classes above L2"]["verdict"] == "undecided"
    assert found["B: classes above L2"]["reason"] == "no row zhang_class"
    recognized = found["B: gray is recognized more often than L2"]
    assert recognized["reason"] == "top-1 was not measured"
    assert found["D: an accuracy of about 92.1 %"]["reason"] == "the report does not define it"
    assert found["E: colors are averaged: duller than the truth"]["reason"] == "no row strided"


def test_a_gan_is_compared_with_its_own_start(judge: Callable[..., Judged]) -> None:
    found = judge(share("strided_gan (start)", 0.2), share("strided_gan", 0.6), share("gan", 0.5))
    (pair,) = next(iter(found.values()))["stages"]
    assert (pair["one"], pair["other"]) == ("strided_gan", "strided_gan (start)")
    assert pair["differences"]["auc"]["low"] > 0
    assert pair["differences"]["cast"]["high"] < 0
    table = tables.stages({"stages": [pair]})
    assert table.head[1] == "AuC (%)"
    assert table.lines[0][0].text == "strided_gan less strided_gan (start)"
    assert table.lines[0][1].bold


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.2, "reproduced"),
        (-0.2, -0.1, "contradicted"),
        (-0.1, 0.2, "undecided"),
        (0.0, 0.2, "undecided"),
        (None, None, "undecided"),
    ],
)
def test_only_an_interval_on_one_side_decides(
    low: float | None, high: float | None, expected: str
) -> None:
    claim = Claim("B", "one above other", "2 and 1", "auc", "one", "other")
    assert claims.verdict(claim, {"value": 0.15, "low": low, "high": high}) == expected


def test_the_table_has_a_line_per_claim_and_a_column_per_set() -> None:
    figure = {"value": 1.234, "low": 1.0, "high": 1.5}

    def one(verdict: str, reason: str = "", **over: Any) -> dict[str, Any]:
        return {"verdict": verdict, "reason": reason, "row": "a on b", "than": "c",
                "figure": figure, **over}  # fmt: skip

    rows = [
        {"system": "B", "text": "a above c", "reported": "2 and 1", "metric": "auc",
         "sets": {"test": one("reproduced"), "val": one("undecided", "no row c", than=None)}},
        {"system": "D", "text": "92 %", "reported": "92", "metric": "",
         "sets": {"test": one("undecided", "why", row=None, than=None),
                  "val": one("undecided", "why", row=None, than=None)}},
    ]  # fmt: skip
    table = tables.claims({"claims": rows, "sets": {"test": {}, "val": {}}})
    assert table.head == ["system: claim", "reported", "rows here", "figure", "test", "val"]
    first, second = ([cell.markdown() for cell in line] for line in table.lines)
    assert first == ["B: a above c", "2 and 1", "a on b less c", "AuC (%)",
                     "**reproduced: +1.23** (+1.00 .. +1.50)", "undecided: no row c"]  # fmt: skip
    assert second == ["D: 92 %", "92", "-", "-", "undecided: why", "undecided: why"]


def test_claims_are_of_recipes_and_metrics_that_exist() -> None:
    """A renamed recipe would silently make its claims undecided for ever."""
    plain = {"truth", "gray", "random", "mean"}
    for claim in CLAIMS:
        if claim.untested:
            assert not (claim.metric or claim.row or claim.than)
            continue
        assert claim.metric in METRICS
        for recipe in {claim.row, claim.than} - {None, *plain}:
            assert find_recipe(f"{recipe}.yaml").is_file()
        assert claim.low < claim.high and (claim.than or claim.low > -math.inf)
    assert {claim.system for claim in CLAIMS} == set("ABCDE")
    assert len({(claim.system, claim.text) for claim in CLAIMS}) == len(CLAIMS)
