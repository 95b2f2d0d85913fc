"""The packaged weights and one photo's prediction; lets tests here import `fake_model`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pix2color.inference import preprocess
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.prediction import Prediction
from pix2color.photo import read

sys.path.insert(0, str(Path(__file__).parents[1]))
ASTRONAUT = Path(__file__).parents[2] / "photos/astronaut.jpg"


@pytest.fixture(scope="session")
def colorizer() -> Colorizer:
    return Colorizer.from_pretrained(device="cpu")


@pytest.fixture(scope="session")
def astronaut_gray() -> np.ndarray:
    return preprocess.gray_values(read(ASTRONAUT))


@pytest.fixture(scope="session")
def prediction(colorizer: Colorizer, astronaut_gray: np.ndarray) -> Prediction:
    """Without the calibration of the weights; tests that need one bring their own."""
    return replace(colorizer.predict(astronaut_gray, 96, features=True), calibration=None)
