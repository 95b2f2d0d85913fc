"""Fixtures of the video tests; lets them import the helper modules beside this folder."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import video_factory
from fake_model import fake_colorizer

from pix2color.inference.colorizer import Colorizer


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    """A small fixed network."""
    return fake_colorizer()


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """A gray pan of 8 frames, 48 x 64. Shared: do not write into it."""
    return video_factory.to_gray(video_factory.shot("coffee", 8, step=2))
