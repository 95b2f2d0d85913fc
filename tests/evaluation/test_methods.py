"""Baselines, and networks whose passes are shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pix2color.config import DecodeConfig
from pix2color.evaluation import methods, protocol
from pix2color.evaluation.methods import Batch, CachedPredictor


@pytest.fixture(scope="module")
def squares(small_photos: list[np.ndarray]) -> list[np.ndarray]:
    return [protocol.crop_photo(photo, "center", crop=48) for photo in small_photos]


@pytest.fixture(scope="module")
def batch(squares: list[np.ndarray]) -> Batch:
    return Batch.of(squares, range(4), "cpu")


def test_truth_and_gray_are_the_ends(batch: Batch) -> None:
    assert torch.equal(methods.truth().predict(batch), batch.ab)
    assert not methods.gray().predict(batch).any()


def test_random_takes_another_photos_colors_once(squares: list[np.ndarray], batch: Batch) -> None:
    drawn = methods.random(squares, seed=5).predict(batch)
    sources = [
        next(i for i in range(4) if torch.allclose(drawn[place], batch.ab[i], atol=1e-4))
        for place in range(4)
    ]
    assert sorted(sources) == [0, 1, 2, 3]
    assert all(place != source for place, source in enumerate(sources))
    assert torch.equal(methods.random(squares, seed=5).predict(batch), drawn)


def test_random_from_training_photos_fits_any_shape(small_photos: list[np.ndarray]) -> None:
    row = methods.random(small_photos[1:], seed=0, own=False)
    one = Batch.of([small_photos[0]] * 5, range(5), "cpu")
    assert row.predict(one).shape == one.ab.shape


def test_settings_share_a_pass_and_sizes_do_not(warm: Any, batch: Batch) -> None:
    network = CachedPredictor(warm)
    usual = network.method("usual", DecodeConfig(input_size=32))
    dull = network.method("dull", DecodeConfig(input_size=32, saturation=0.5))
    large = network.method("large", DecodeConfig(input_size=64))
    first = usual.predict(batch)
    assert torch.allclose(dull.predict(batch), first / 2, atol=1e-5)
    assert warm.passes == 1
    large.predict(batch)
    usual.predict(batch)
    assert warm.passes == 2
    usual.predict(batch.mirrored())
    assert warm.passes == 3


def test_a_row_colors_as_validation_does(warm: Any, batch: Batch) -> None:
    decode = DecodeConfig(input_size=32, temperature=0.5)
    found = CachedPredictor(warm).method("row", decode).predict(batch)
    assert torch.equal(found, protocol.predict_ab(warm, batch.lightness, decode))
