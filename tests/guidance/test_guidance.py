"""Hints, variants and confidence through the Colorizer."""

from __future__ import annotations

import numpy as np
import pytest
from fake_model import fake_colorizer
from photo_lab import PHOTOS, lab_of
from PIL import Image

from pix2color.errors import Pix2ColorError
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.prediction import Prediction

BLUE = "#2040ff"


def test_confidence_is_low_where_any_color_would_do(prediction: Prediction) -> None:
    logits = prediction.values.copy()
    logits[:, 0, 0] = prediction.log_prior
    logits[:, 0, 1] = -50
    logits[7, 0, 1] = 50
    sure = prediction.with_logits(logits).confidence()
    assert float(sure[0, 0]) == pytest.approx(0, abs=1e-3)
    assert float(sure[0, 1]) == pytest.approx(1, abs=1e-3)
    assert 0 <= float(sure.min()) <= float(sure.max()) <= 1


def test_weights_without_classes_say_so() -> None:
    colorizer = fake_colorizer()
    gray = np.full((60, 80), 120, np.uint8)
    for options in ({"variants": 3}, {"reference": Image.new("RGB", (8, 8), "red")}):
        with pytest.raises(Pix2ColorError, match="313 classes"):
            colorizer(gray, **options)
    with pytest.raises(Pix2ColorError, match="313 classes"):
        colorizer.confidence(gray)


def test_from_python(colorizer: Colorizer) -> None:
    image = Image.open(PHOTOS / "camera.jpg")
    plain = np.asarray(colorizer(image, input_size=64))
    red = colorizer(image, input_size=64, hints=[{"x": 100, "y": 40, "color": "tomato"}])
    assert isinstance(red, Image.Image)
    assert lab_of(np.asarray(red))[1, 40, 100] > lab_of(plain)[1, 40, 100] + 10
    variants = colorizer(image, input_size=64, variants=3)
    assert len(variants) == 3 and all(one.size == image.size for one in variants)
    assert np.array_equal(np.asarray(variants[0]), plain)
    sure = colorizer.confidence(image, input_size=64)
    assert sure.shape == plain.shape[:2] and 0 <= sure.min() < sure.max() <= 1
    with pytest.raises(Pix2ColorError, match="hints are for one image"):
        colorizer([image], hints=[{"x": 1, "y": 1, "color": BLUE}])
    with pytest.raises(Pix2ColorError, match="at least 1"):
        colorizer(image, variants=0)
