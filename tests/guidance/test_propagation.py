"""Hints spread over a photo."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from photo_lab import lab_of
from PIL import Image

from pix2color.guidance.hints import Hint, rasterize
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


def test_a_fine_grid_takes_hints_as_a_coarse_one_does() -> None:
    """Networks that give a color per pixel have 65,536 cells and more: hints spread in seconds."""
    gray = np.asarray(Image.fromarray(skimage.data.camera()).resize((256, 256)), np.float32)
    lightness = gray / 255 * 100
    features = np.stack((lightness, *np.indices((256, 256)))).astype(np.float32)
    values = np.zeros((2, 256, 256), np.float32)
    fine = Prediction(values, lightness, lightness, features=features)
    hint = Hint((20.0, -60.0), ((128.0, 64.0),), radius=8)
    ab = propagate_hints(fine, values, *rasterize([hint], (256, 256), (256, 256)))
    assert ab.shape == (2, 256, 256)
    assert ab[:, 62:67, 126:131].mean(axis=(1, 2)) == pytest.approx([20, -60], abs=3)
    assert np.hypot(*ab)[-8:].max() < 0.3 * np.hypot(20, 60)
