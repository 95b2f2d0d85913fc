"""Baselines, and networks whose passes are shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pix2color.config import Decode
from pix2color.evaluation import protocol, rows
from pix2color.evaluation.rows import Batch, Network


@pytest.fixture(scope="module")
def squares(small_photos: list[np.ndarray]) -> list[np.ndarray]:
    return [protocol.prepare(photo, "center", crop=48) for photo in small_photos]


@pytest.fixture(scope="module")
def batch(squares: list[np.ndarray]) -> Batch:
    return Batch.of(squares, range(4), "cpu")


def test_truth_and_gray_are_the_ends(batch: Batch) -> None:
    assert torch.equal(rows.truth().colour(batch), batch.ab)
    assert not rows.gray().colour(batch).any()


def test_random_takes_another_photos_colours_once(squares: list[np.ndarray], batch: Batch) -> None:
    drawn = rows.random(squares, seed=5).colour(batch)
    sources = [
        next(i for i in range(4) if torch.allclose(drawn[place], batch.ab[i], atol=1e-4))
        for place in range(4)
    ]
    assert sorted(sources) == [0, 1, 2, 3]
    assert all(place != source for place, source in enumerate(sources))
    assert torch.equal(rows.random(squares, seed=5).colour(batch), drawn)


def test_random_from_training_photos_fits_any_shape(small_photos: list[np.ndarray]) -> None:
    row = rows.random(small_photos[1:], seed=0, own=False)
    one = Batch.of([small_photos[0]] * 5, range(5), "cpu")
    assert row.colour(one).shape == one.ab.shape


def test_settings_share_a_pass_and_sizes_do_not(warm: Any, batch: Batch) -> None:
    network = Network(warm)
    usual = network.row("usual", Decode(size=32))
    dull = network.row("dull", Decode(size=32, saturation=0.5))
    large = network.row("large", Decode(size=64))
    first = usual.colour(batch)
    assert torch.allclose(dull.colour(batch), first / 2, atol=1e-5)
    assert warm.passes == 1
    large.colour(batch)
    usual.colour(batch)
    assert warm.passes == 2
    usual.colour(batch.mirrored())
    assert warm.passes == 3


def test_a_row_colours_as_validation_does(warm: Any, batch: Batch) -> None:
    decode = Decode(size=32, temperature=0.5)
    found = Network(warm).row("row", decode).colour(batch)
    assert torch.equal(found, protocol.predict_ab(warm, batch.lightness, decode))
