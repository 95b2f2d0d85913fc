"""Lets tests here import `fake_model`, the small network beside this folder."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture(autouse=True, scope="module")
def _no_curves() -> Iterator[None]:
    """Drawing a run's curves takes longer than these trainings; tests/training draws them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pix2color.training.trainer.draw_curves", lambda folder: None)
        yield
