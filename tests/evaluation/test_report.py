"""Reports: what stands in the files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2color.evaluation import protocol, report
from pix2color.evaluation.evaluator import Evaluation, evaluate_methods
from pix2color.evaluation.groups import Grouping
from pix2color.evaluation.methods import Method
from pix2color.evaluation.report import Context


@pytest.fixture(scope="module")
def evaluation(small_photos: list[np.ndarray]) -> Evaluation:
    squares = [protocol.crop_photo(photo, "center", crop=40) for photo in small_photos]
    half = Method.from_ab(
        "half", lambda batch: batch.ab / 2, primary=True, metadata={"decode": {"input_size": 192}}
    )
    dull = Method.from_ab("dull", lambda batch: batch.ab / 4)
    return evaluate_methods(squares, [half, dull], num_images=2, resamples=20)


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(
        protocol={"name": "center", "crop": 40, "text": "center squares"},
        data={"text": "4 of 4 files", "digest": "abc"},
        names=[f"photos/{i}.png" for i in range(4)],
        measured_with={"classifier": "none"},
        skipped_metrics={"lpips": ("no backbone: mend", "it is missing because")},
        notes=["A note."],
        groupings=[Grouping("source", {"some": [0, 2], "others": [1, 3]})],
    )


def test_files_are_written_whole(evaluation: Evaluation, context: Context, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "report"
    tree = report.write(folder, evaluation, context)
    assert sorted(path.name for path in folder.iterdir()) == [
        "grid.png",
        "groups.csv",
        "metrics.json",
        "photos.csv",
        "report.md",
        "shares.png",
    ]
    assert json.loads((folder / "metrics.json").read_text()) == tree
    lines = (folder / "photos.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 * 4
    assert lines[0].startswith("photo,method,auc,psnr")
    assert lines[1].startswith("photos/0.png,truth,100")


def test_the_tree_holds_figures_gains_and_groups(evaluation: Evaluation, context: Context) -> None:
    tree = report.to_dict(evaluation, context)
    assert [row["name"] for row in tree["rows"]] == ["truth", "gray", "half", "dull"]
    half, gray = tree["rows"][2], tree["rows"][1]
    gain = half["figures"]["auc"]["value"] - gray["figures"]["auc"]["value"]
    assert half["gains"]["auc"]["value"] == pytest.approx(gain)
    assert half["gains"]["auc"]["low"] <= gain <= half["gains"]["auc"]["high"]
    (grouping,) = tree["groupings"]
    some, others = grouping["groups"]
    assert grouping["by"] == "source" and [some["name"], others["name"]] == ["some", "others"]
    assert some["photos"] + others["photos"] == tree["photos"]
    values = [group["rows"][2]["figures"]["auc"]["value"] for group in (some, others)]
    assert values[0] != values[1]
    assert sum(values) / 2 == pytest.approx(half["figures"]["auc"]["value"])
    assert tree["bootstrap"]["resamples"] == 20


def test_the_tree_holds_the_shares_of_colors_of_each_row(
    evaluation: Evaluation, context: Context
) -> None:
    tree = report.to_dict(evaluation, context)
    assert tree["cast"]["bands"] == 10 and tree["cast"]["kinds"][0] == "neutral"
    shares = {row["name"]: np.array(row["color_shares"]) for row in tree["rows"]}
    assert all(one.shape == (10, 7) and abs(one.sum() - 1) < 1e-5 for one in shares.values())
    assert shares["gray"][:, 1:].sum() == 0
    for row in tree["rows"]:
        difference = np.abs(shares[row["name"]] - shares["truth"]).sum()
        assert row["figures"]["cast"]["value"] == pytest.approx(50 * difference, abs=1e-3)
    half = tree["rows"][2]["figures"]["cast"]
    assert half["low"] < half["value"] < half["high"]
    some = tree["groupings"][0]["groups"][0]
    assert some["rows"][2]["figures"]["cast"]["value"] != half["value"]


def test_the_picture_of_shares_is_linked_and_explained(
    evaluation: Evaluation, context: Context, tmp_path: Path
) -> None:
    report.write(tmp_path, evaluation, context)
    page = (tmp_path / "report.md").read_text()
    assert "](shares.png)" in page and "atan2(b, a)" in page
    picture = Image.open(tmp_path / "shares.png")
    assert picture.width > 400 and len(picture.convert("RGB").getcolors(1 << 20) or []) > 50


def test_rows_that_are_not_featured_make_no_picture_of_shares(
    evaluation: Evaluation, context: Context, tmp_path: Path
) -> None:
    plain = evaluation.select(np.arange(4))
    plain = dataclasses.replace(plain, results=[*plain.results[:2], plain.results[3]])
    report.write(tmp_path, plain, context)
    assert not (tmp_path / "shares.png").exists()
    assert "shares.png" not in (tmp_path / "report.md").read_text()


def test_the_page_says_what_is_missing_and_why(evaluation: Evaluation, context: Context) -> None:
    page = report.markdown(report.to_dict(evaluation, context))
    assert page.count("no backbone: mend") == 4  # a cell a row
    assert "LPIPS: it is missing because" in page
    for text in (
        "A note.",
        "11x11 Gaussian",
        "20 resamples",
        "bins that hold",
        "## half by source",
    ):
        assert text in page
    assert "half: input_size 192." in page
    assert "| gray | 0.00 (0.00 .. 0.00)" in page


def test_the_grid_shows_gray_featured_rows_and_truth(evaluation: Evaluation) -> None:
    columns = report.primary_images(evaluation)
    assert list(columns) == ["gray", "half", "truth"]
    sheet = report.grid(columns)
    assert isinstance(sheet, Image.Image)
    assert sheet.width == 3 * 192 and sheet.height > 2 * 192
    middle = np.asarray(sheet)[20 + 21, [21, 2 * 192 + 21]].astype(int)
    assert np.ptp(middle[0]) <= 2 < np.ptp(middle[1])


def test_long_names_fit_their_column(evaluation: Evaluation) -> None:
    pictures = evaluation.images["gray"]
    assert report.grid({"a very long name of a row, again and again": pictures}).width == 192
