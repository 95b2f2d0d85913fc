"""Hints spread over a photo."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from photo_lab import lab_of

from pix2color.guidance.hints import Hint
from pix2color.guidance.propagation import propagate_hints
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.prediction import Prediction


def test_no_hint_changes_nothing(prediction: Prediction, colorizer: Colorizer) -> None:
    ab = prediction.ab(colorizer.decode)
    none = np.zeros(ab.shape[1:], np.float32)
    assert np.array_equal(propagate_hints(prediction, ab, none, np.zeros(ab.shape, np.float32)), ab)


def test_a_hint_is_met_and_fades(prediction: Prediction, colorizer: Colorizer) -> None:
    ab = prediction.ab(colorizer.decode)
    rows, columns = ab.shape[1:]
    coverage = np.zeros((rows, columns), np.float32)
    hint_ab = np.zeros((2, rows, columns), np.float32)
    y, x = rows // 2, columns // 2
    coverage[y, x], hint_ab[:, y, x] = 1, (20, -60)
    result = propagate_hints(prediction, ab, coverage, hint_ab)
    change = np.linalg.norm(result - ab, axis=0)
    assert result[:, y, x] == pytest.approx([20, -60], abs=2)
    assert change.sum() > 3 * change[y, x]  # its neighbors follow
    assert change[:, 0].max() < 0.15 * change.max()  # the border of the photo hardly does
    assert (result == propagate_hints(prediction, ab, coverage, hint_ab)).all()


def test_the_truth_at_more_points_is_nearer_to_it(colorizer: Colorizer) -> None:
    """What hints are for: each further true color makes the whole photo truer."""
    photo = skimage.data.astronaut()
    true = lab_of(photo)[1:]
    points = np.random.default_rng(0).integers(8, 500, (40, 2))
    errors = []
    for count in (0, 5, 40):
        hints = [
            Hint((float(true[0, y, x]), float(true[1, y, x])), ((float(x), float(y)),))
            for y, x in points[:count]
        ]
        out = colorizer(photo, hints=hints, input_size=96)
        errors.append(np.linalg.norm(lab_of(out)[1:] - true, axis=0).mean())
    assert errors[2] < 0.9 * errors[1] and errors[1] < 0.98 * errors[0]
