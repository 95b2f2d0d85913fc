"""What the packaged weights must do, on scikit-image's five photos; for any new weights too.

Five photos say little about how good the colors are (the model card has the figures that count).
So nothing is compared with an earlier value: a gain over gray must be above 0 by its own bootstrap
interval, and the amount of color must lie between gray and the true photos'.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pix2color.color.lab import rgb_to_lab
from pix2color.config import DataConfig
from pix2color.data.dataset import ALL_SPLITS, load_photos
from pix2color.evaluation import evaluator, methods
from pix2color.evaluation.bootstrap import ConfidenceInterval
from pix2color.evaluation.checkpoint_methods import checkpoint_methods
from pix2color.evaluation.protocol import crop_photo
from pix2color.inference import preprocess

FAITHFUL = {"temperature": 1.0, "vividness": 0.0, "saturation": 1.0, "calibration": 0.0}
DEFAULT = "default"
EXPECTED = "default (faithful)"

Figures = dict[str, tuple[dict[str, ConfidenceInterval], dict[str, ConfidenceInterval]]]


@pytest.fixture(scope="module")
def off_lightness() -> dict[str, float]:
    """Row -> the greatest difference of the pictures' L from the true L; filled by `figures`."""
    return {}


@pytest.fixture(scope="module")
def figures(off_lightness: dict[str, float]) -> Figures:
    """Row -> its figures, and their gains over the gray photo, on the same resampled photos."""

    def hook(
        row: methods.Method, batch: methods.Batch, rgb: torch.Tensor, ab: torch.Tensor
    ) -> None:
        off = float((rgb_to_lab(rgb)[:, :1] - batch.lightness).abs().max())
        off_lightness[row.name] = max(off, off_lightness.get(row.name, 0.0))

    photos = load_photos(DataConfig(cache_size=176), splits=ALL_SPLITS, keep_gray=True)
    squares = [crop_photo(photo, "center", crop=176) for photo in photos.photos]
    compared = checkpoint_methods([DEFAULT], variants={"faithful": FAITHFUL})
    found = evaluator.evaluate_methods(squares, compared, timed=False, resamples=200, hook=hook)
    names = [result.method.name for result in found.results]
    return dict(zip(names, found.figures(), strict=True))


@pytest.mark.parametrize(
    ("row", "figure"),
    [
        (DEFAULT, "auc"), (DEFAULT, "auc_rebalanced"), (DEFAULT, "psnr"),
        (EXPECTED, "auc"), (EXPECTED, "auc_rebalanced"), (EXPECTED, "psnr"),
    ],
)  # fmt: skip
def test_colors_are_nearer_to_the_truth_than_gray(row: str, figure: str, figures: Figures) -> None:
    gain = figures[row][1][figure]
    assert gain.low > 0, f"{row}: {figure} gains {gain}"


def test_lightness_is_the_photo_s(figures: Figures, off_lightness: dict[str, float]) -> None:
    assert set(off_lightness) == set(figures)
    # The gray value and then each channel are rounded to 8 bits: a code value together.
    code_value = float(np.diff(preprocess.lightness_table(8)).max())
    assert max(off_lightness.values()) < 1.1 * code_value


def test_the_default_has_between_a_third_of_the_true_colorfulness_and_all(figures: Figures) -> None:
    found = figures[DEFAULT][0]["colorfulness_ratio"]
    assert found.low > 0 and found.value > 1 / 3 and found.high < 1, str(found)


def test_vividness_buys_rare_colors_with_mean_error(figures: Figures) -> None:
    vivid, expected = figures[DEFAULT][0], figures[EXPECTED][0]
    assert vivid["colorfulness_ratio"].value > expected["colorfulness_ratio"].value
    assert vivid["auc_rebalanced"].value > expected["auc_rebalanced"].value
    assert vivid["auc"].value < expected["auc"].value
