"""Hints, variants and confidence through the Colorizer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_model import fake_colorizer, halving
from photo_lab import PHOTOS, lab_of
from PIL import Image

from pix2color.errors import Pix2ColorError
from pix2color.guidance.guidance import Guidance
from pix2color.guidance.hints import Hint
from pix2color.guidance.palette import palette_of
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


def test_a_calibration_leaves_the_colors_of_hints_alone(
    prediction: Prediction, colorizer: Colorizer, astronaut_gray: np.ndarray
) -> None:
    """Cells that are hinted keep what the user states; others are calibrated."""
    calibrated = replace(prediction, calibration=halving("of these"))
    y, x = (side // 2 for side in astronaut_gray.shape)
    guidance = Guidance(hints=(Hint((20.0, -60.0), points=((x, y),), radius=12),))
    cell = tuple(side // 2 for side in prediction.grid)
    for share in (0.0, 0.5, 1.0):
        decode = colorizer.decode.model_copy(update={"calibration": share})
        [ab] = guidance.apply(calibrated, decode, astronaut_gray.shape)
        assert ab[:, *cell] == pytest.approx([20, -60], abs=2)
        plain = prediction.ab(colorizer.decode)
        corner = np.s_[:, :3, :3]
        np.testing.assert_allclose(ab[corner], (1 - share / 2) * plain[corner], atol=2)


def test_a_palette_takes_the_place_of_the_calibration_by_its_strength(
    prediction: Prediction, colorizer: Colorizer
) -> None:
    calibrated = replace(prediction, calibration=halving("of these"))
    decode = colorizer.decode.model_copy(update={"calibration": 1.0})
    palette = palette_of(Image.new("RGB", (64, 64), (40, 160, 60)))
    size = (96, 96)
    for strength in (0.0, 0.5, 1.0):
        guidance = Guidance(palette=palette, strength=strength)
        [plain] = guidance.apply(prediction, decode, size)
        [ab] = guidance.apply(calibrated, decode, size)
        np.testing.assert_allclose(ab, plain * (1 + strength) / 2, rtol=1e-4, atol=1e-3)


def test_variants_are_calibrated_like_the_photo(
    prediction: Prediction, colorizer: Colorizer
) -> None:
    calibrated = replace(prediction, calibration=halving("of these"))
    decode = colorizer.decode.model_copy(update={"calibration": 1.0})
    first, *others = Guidance(variants=3).apply(calibrated, decode, (96, 96))
    assert np.array_equal(first, calibrated.ab(decode))
    plain = Guidance(variants=3).apply(prediction, decode, (96, 96))
    most = max(np.hypot(*ab).mean() for ab in plain)
    assert len(others) == 2 and all(np.hypot(*ab).mean() < 0.75 * most for ab in others)
