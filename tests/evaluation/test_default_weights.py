"""What `evaluate` finds of the packaged weights on scikit-image's photos, pinned.

After new weights: run this file as a script and put what it prints into PINNED, after a look at the
photos. Five photos say little about quality (the model card has the figures that count), but they
say when something has changed.
"""

from __future__ import annotations

import sys

import pytest

from pix2color.config import Data
from pix2color.data.photos import ALL_PARTS, load_photos
from pix2color.evaluation import runner
from pix2color.evaluation.checkpoints import checkpoint_rows
from pix2color.evaluation.protocol import prepare

FAITHFUL = {"temperature": 1.0, "vividness": 0.0, "saturation": 1.0}
# Gains over gray in AuC (%), rebalanced AuC (%) and PSNR (dB); colourfulness over the truth's.
NAMES = ("auc", "auc_rebalanced", "psnr", "colourfulness_ratio")
TOLERANCE = (0.05, 0.1, 0.05, 0.01)
PINNED = {
    "default": (3.6922, 7.2097, 3.2377, 0.634),
    "default (faithful)": (4.907, 4.4598, 3.7038, 0.4121),
}


def measured() -> dict[str, tuple[float, ...]]:
    photos = load_photos(Data(side=176), parts=ALL_PARTS, keep_gray=True)
    squares = [prepare(photo, "center", crop=176) for photo in photos.photos]
    rows = checkpoint_rows(["default"], further={"faithful": FAITHFUL})
    evaluation = runner.evaluate_rows(squares, rows, timed=False, resamples=0)
    found = {}
    for result, (values, gains) in zip(evaluation.results, evaluation.figures(), strict=True):
        picked = [(values if name.endswith("ratio") else gains)[name].value for name in NAMES]
        found[result.row.name] = tuple(round(value, 4) for value in picked)
    return found


def test_figures_of_the_packaged_weights() -> None:
    found = measured()
    for row, wanted in PINNED.items():
        for name, value, expected, most in zip(NAMES, found[row], wanted, TOLERANCE, strict=True):
            assert value == pytest.approx(expected, abs=most), f"{row}: {name}"


if __name__ == "__main__":
    sys.stdout.write(f"{measured()}\n")
