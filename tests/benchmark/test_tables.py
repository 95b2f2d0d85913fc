"""Tables from small trees made by hand: what is bold, what is missing, what is said."""

from __future__ import annotations

from typing import Any

import pytest

from pix2color.benchmark import tables
from pix2color.benchmark.tables import Cell, Table
from pix2color.benchmark.train import Outcome

Interval = tuple[float | None, float | None, float | None]


def row(name: str, *, primary: bool = True, **figures: Interval) -> dict[str, Any]:
    ends = ("value", "low", "high")
    return {
        "name": name,
        "primary": primary,
        "milliseconds": 12.4 if primary else None,
        "figures": {key: dict(zip(ends, v, strict=True)) for key, v in figures.items()},
        "gains": {key: dict(zip(ends, v, strict=True)) for key, v in figures.items()},
    }


def a_set(*rows: dict[str, Any], **unmeasured: str) -> dict[str, Any]:
    most = (100.0, 100.0, 100.0)
    return {
        "photos": 9,
        "protocol": {"text": "center squares"},
        "data": {"text": "9 photos of 10 files", "digest": "abc"},
        "measured_with": {"classifier": "mobilenet_v2"},
        "unmeasured": {key: [text, f"why {text}"] for key, text in unmeasured.items()},
        "bootstrap": {"resamples": 20},
        "rebalanced_bins": 77,
        "neighbors": [],
        "rows": [row("truth", primary=False, **dict.fromkeys(rows[0]["figures"], most)), *rows],
    }  # fmt: skip


def recipe(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name, "title": name, "status": "done", "reason": "", "note": "", "digest": "d1",
        "parent": None, "code": "c1", "encoder": "",
        "samples": 1200, "seconds": 90.0, "parent_samples": 0, "parent_seconds": 0.0, "rate": 13.3,
        "trainable": 12345, "frozen": 0, **changes,
    }  # fmt: skip


def bold(one: dict[str, Any]) -> dict[str, list[str]]:
    """Column -> the rows that are bold in it."""
    table = tables.figures(one)
    return {
        head: [line[0].text for line in table.lines if line[column].bold]
        for column, head in enumerate(table.head)
    }


def tree(*recipes: dict[str, Any], **sets: Any) -> dict[str, Any]:
    return {
        "versions": {"torch": "2"},
        "plan": {
            "budget": {"minutes": 5.0, "samples": None},
            "gan_budget_fraction": 0.4,
            "defaults": {},
            "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        },
        "data": {"train": 1000, "validation": 32, "digest": "abc", "toy": False},
        "recipes": list(recipes),
        "sets": sets,
    }


# Bold


def test_the_best_is_bold_where_its_interval_stands_apart() -> None:
    apart = a_set(row("one", auc=(80, 79, 81)), row("two", auc=(83, 82, 84)))
    assert bold(apart)["AuC (%)"] == ["two"]
    near = a_set(row("one", auc=(80, 79, 82)), row("two", auc=(83, 82, 84)))
    assert bold(near)["AuC (%)"] == []
    # The second by value is apart; the third, with a wide interval, is not.
    wide = a_set(
        row("one", auc=(80, 79, 81)), row("two", auc=(83, 82, 84)), row("three", auc=(70, 50, 82.5))
    )
    assert bold(wide)["AuC (%)"] == []


def test_the_lowest_is_the_best_where_less_is_better() -> None:
    apart = a_set(row("one", lpips=(0.2, 0.19, 0.21)), row("two", lpips=(0.1, 0.09, 0.11)))
    assert bold(apart)["LPIPS"] == ["two"]
    near = a_set(row("one", lpips=(0.2, 0.11, 0.25)), row("two", lpips=(0.1, 0.09, 0.11)))
    assert bold(near)["LPIPS"] == []


def test_only_trained_recipes_are_the_best() -> None:
    one = a_set(row("one", auc=(80, 79, 81)), row("two", auc=(83, 82, 84)))
    assert all("truth" not in names for names in bold(one).values())
    alone = a_set(row("one", auc=(80, 79, 81)), row("gray", primary=False, auc=(70, 69, 71)))
    assert bold(alone)["AuC (%)"] == []  # there is nothing to be better than


def test_no_way_is_better_in_colorfulness() -> None:
    one = a_set(row("one", colorfulness=(20, 19, 21)), row("two", colorfulness=(40, 39, 41)))
    assert bold(one)["colorfulness CF"] == []


def test_a_figure_without_an_interval_makes_nothing_bold() -> None:
    one = a_set(row("one", auc=(80, None, None)), row("two", auc=(83, 82, 84)))
    assert bold(one)["AuC (%)"] == []
    none = a_set(row("one", auc=(80, None, None)), row("two", auc=(83, None, None)))
    assert bold(none)["AuC (%)"] == []
    # One that has no value at all does not take part.
    lost = a_set(
        row("one", auc=(80, 79, 81)), row("two", auc=(83, 82, 84)), row("x", auc=(None, None, None))
    )
    assert bold(lost)["AuC (%)"] == ["two"]


# Cells


def test_a_cell_holds_the_value_and_its_interval() -> None:
    one = a_set(row("one", auc=(80.126, 79.004, 81)), row("two", auc=(None, None, None)))
    cells = {line[0].text: line[1] for line in tables.figures(one).lines}
    assert cells["one"] == Cell("80.13", "79.00 .. 81.00")
    assert cells["truth"] == Cell("100.00")  # no interval where it has no width
    assert cells["two"] == Cell("-")
    assert cells["one"].markdown() == "80.13 (79.00 .. 81.00)"
    assert Cell("1", "0 .. 2", True).markdown() == "**1** (0 .. 2)"


def test_figures_that_are_missing_say_so() -> None:
    one = a_set(row("one", auc=(80, 79, 81)), lpips="no backbone: give FILE")
    table = tables.figures(one)
    assert table.head[-1] == "LPIPS"
    assert {line[-1].text for line in table.lines} == {"no backbone: give FILE"}
    said = tables.explanations(tree(recipe("one"), test=one))
    assert "LPIPS: why no backbone: give FILE" in said


def test_fid_stands_beside_the_rows_that_have_it() -> None:
    one = a_set(row("one", auc=(80, 79, 81)), row("two", auc=(80, 79, 81)))
    assert "FID" not in tables.figures(one).head
    one["rows"][1]["figures"]["fid"] = {"value": 12.34, "low": None, "high": None}
    table = tables.figures(one)
    assert [line[table.head.index("FID")].text for line in table.lines] == ["-", "12.3", "-"]


def test_gains_are_signed_and_have_no_line_of_gray() -> None:
    one = a_set(
        row("gray", primary=False, auc=(0, 0, 0)),
        row("one", auc=(1.5, 0.5, 2)),
        row("two", auc=(-1.5, -2, -0.001)),
    )
    table = tables.gains(one)
    found = {line[0].text: (line[1].text, line[1].interval) for line in table.lines}
    assert found["one"] == ("+1.50", "+0.50 .. +2.00")
    assert found["two"] == ("-1.50", "-2.00 .. 0.00")
    assert "gray" not in found


def test_failures_that_were_not_measured_have_no_table() -> None:
    one = a_set(row("one", auc=(80, 79, 81)))
    assert tables.failures(one) is None
    one = a_set(row("one", patchiness=(3.21, 3, 4), bleeding=(None, None, None)))
    table = tables.failures(one)
    assert table is not None
    assert table.head == ["", "patchiness in segments (ab)", "contrast leaked at edges (%)"]
    assert [cell.text for cell in table.lines[1]] == ["one", "3.21", "-"]


# Training


def test_how_each_recipe_was_trained() -> None:
    rows = [row("one", auc=(80, 79, 81)), row("one_gan", auc=(80, 79, 81))]
    whole = tree(
        recipe("lost", status="diverged", reason="20 steps | <in> a row"),
        recipe("one", note="mobilenet_v2 in place of vgg16"),
        recipe("one_gan", parent="one", parent_samples=800),
        test=a_set(*rows),
    )
    lines = [[cell.text for cell in line] for line in tables.training(whole).lines]
    assert lines[0] == ["lost", "diverged", *["-"] * 6, "20 steps | <in> a row"]
    assert lines[1] == ["one", "done", "12,345", "0", "1,200", "1.5", "13.3", "12",
                        "mobilenet_v2 in place of vgg16"]  # fmt: skip
    assert lines[2][4] == "1,200 (800 as one)"
    text = tables.training(whole).markdown()
    assert len({line.replace(r"\|", "").count("|") for line in text.splitlines()}) == 1
    assert "&lt;in>" in text and "<in>" not in text  # Markdown would take it for a tag


def test_a_cell_stays_on_its_line() -> None:
    table = Table(["", "x"], [[Cell("one"), Cell("two\nlines")]])
    assert len(table.markdown().splitlines()) == 3


@pytest.mark.parametrize(
    ("minutes", "samples", "said"),
    [
        (5.0, None, "trained for 5 minutes of training steps each"),
        (None, 12_000, "trained for 12,000 samples each"),
        (5.0, 12_000, "trained for 5 minutes of training steps or 12,000 samples each"),
    ],
)
def test_the_summary_says_what_was_equal(
    minutes: float | None, samples: int | None, said: str
) -> None:
    whole = tree(recipe("one"), recipe("two", status="diverged"), test=a_set(row("one")))
    whole["plan"]["budget"] = {"minutes": minutes, "samples": samples}
    text = tables.summary(whole)
    assert text.startswith(f"1 of 2 recipes {said} on the same 1,000 photos")
    assert "smoke" not in text
    whole["data"]["toy"] = True
    assert "a smoke test" in tables.summary(whole)


def test_the_protocol_is_written_down() -> None:
    said = "\n".join(tables.explanations(tree(recipe("one"), test=a_set(row("one")))))
    for text in ("60% / 20% / 20%", "after 60% of", "20 resamples", "77 color bins",
                 "test: 9 photos of 10 files; digest abc.", "classifier: mobilenet_v2.",
                 "one: config d1, code c1.", "torch 2.",
                 "averaged where the recipe averages"):  # fmt: skip
        assert text in said


@pytest.mark.parametrize(
    ("half_life", "said"),
    [(0, "without averaging"), (1000, "averaged with a half-life of 1,000 samples by every")],
)
def test_how_weights_are_averaged_is_said(half_life: int, said: str) -> None:
    whole = tree(recipe("one"), test=a_set(row("one")))
    whole["plan"]["defaults"] = {"optim": {"ema_half_life_samples": half_life}}
    assert said in "\n".join(tables.explanations(whole))


def test_the_classifier_is_named_where_its_accuracy_is_shown() -> None:
    """And the rows that started from it, which have an advantage."""
    own, other = recipe("unet", encoder="mobilenet_v2"), recipe("vgg", encoder="vgg16")
    one = a_set(row("unet", top1=(50, 45, 55)), row("vgg", top1=(50, 45, 55)))
    said = tables.classifier_note(tree(own, other, test=one), one)
    assert said.startswith("top-1 and top-5 are read by mobilenet_v2. unet start from")
    assert "vgg" not in said
    plain = a_set(row("unet", auc=(80, 79, 81)))
    assert tables.classifier_note(tree(own, test=plain), plain) == ""


# Neighbors


def test_only_a_difference_that_excludes_nought_is_bold() -> None:
    def pair(one: str, other: str, low: float, high: float) -> dict[str, Any]:
        figure = {"value": (low + high) / 2, "low": low, "high": high}
        return {"one": one, "other": other, "differences": {"auc": figure}}

    one = a_set(row("one"))
    one["neighbors"] = [pair("a", "b", 0.1, 0.5), pair("b", "c", -0.1, 0.5), pair("c", "d", -2, -1)]
    table = tables.neighbors(one)
    assert table.head == ["", "AuC (%)"]
    assert [(line[0].text, line[1].text, line[1].bold) for line in table.lines] == [
        ("a less b", "+0.30", True),
        ("b less c", "+0.20", False),
        ("c less d", "-1.50", True),
    ]


def test_a_row_with_another_encoder_is_named_so() -> None:
    assert Outcome("vgg16_regression", "done").title == "vgg16_regression"
    named = Outcome("vgg16_regression", "done", substitute_encoder="mobilenet_v2")
    assert named.title == "vgg16_regression on mobilenet_v2"
