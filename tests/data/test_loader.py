"""Batches are functions of a sample's number: nothing else decides what a training sees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from pix2color.color.lab import rgb_to_lab
from pix2color.config import DataConfig
from pix2color.data.loader import Batch, DeviceLoader, InMemorySource

DATA = DataConfig.model_validate({"crop": 24, "augment": {"p": 0.5}})


def make(
    photos: list[np.ndarray], *, data: DataConfig = DATA, seed: int = 0, world: int = 1
) -> DeviceLoader:
    source = InMemorySource(photos, data, seed=seed)
    return DeviceLoader(source, data, device=torch.device("cpu"), world=world)


@pytest.fixture
def batches(small_photos: list[np.ndarray]) -> Iterator[DeviceLoader]:
    made = make(small_photos)
    yield made
    made.close()


def assert_same(found: Batch, expected: Batch) -> None:
    torch.testing.assert_close(found.target_lab, expected.target_lab, rtol=0, atol=2e-3)
    torch.testing.assert_close(found.input_lightness, expected.input_lightness, rtol=0, atol=2e-3)


def joined(*parts: Batch) -> Batch:
    return Batch(
        torch.cat([p.input_lightness for p in parts]), torch.cat([p.target_lab for p in parts])
    )


def test_a_batch_holds_lightness_and_the_true_photo(batches: DeviceLoader) -> None:
    batch = batches.get(0, 6)
    assert batch.input_lightness.shape == (6, 1, 24, 24)
    assert batch.target_lab.shape == (6, 3, 24, 24)
    for lightness in (batch.input_lightness, batch.target_lab[:, :1]):
        assert float(lightness.min()) >= -1e-3 and float(lightness.max()) <= 100.001
    assert float(batch.target_lab[:, 1:].abs().max()) < 110


def test_batch_size_changes_nothing(batches: DeviceLoader) -> None:
    whole = batches.get(0, 8)
    assert_same(joined(batches.get(0, 4), batches.get(4, 4)), whole)
    assert_same(joined(*(batches.get(i, 1) for i in range(8))), whole)


def test_two_processes_share_what_one_would_see(small_photos: list[np.ndarray]) -> None:
    alone, first, second = (make(small_photos, world=world) for world in (1, 2, 2))
    for step in range(3):
        start = step * 8
        parts = (first.get(start, 4), second.get(start + 4, 4))
        assert_same(joined(*parts), alone.get(start, 8))


def test_resuming_anywhere_gives_the_same_bits(small_photos: list[np.ndarray]) -> None:
    running, resumed = make(small_photos), make(small_photos)
    seen = [running.get(first, 5) for first in range(0, 40, 5)]
    again = resumed.get(35, 5)
    assert torch.equal(again.target_lab, seen[-1].target_lab)
    assert torch.equal(again.input_lightness, seen[-1].input_lightness)


def test_jumping_about_gives_the_same_bits(batches: DeviceLoader) -> None:
    """What the thread gathered ahead on a wrong guess is never handed out."""
    order = [0, 4, 8, 0, 12, 4, 4, 8, 40, 44]
    first = {start: batches.get(start, 4) for start in order}
    for start in reversed(order):
        again = batches.get(start, 4)
        assert torch.equal(again.target_lab, first[start].target_lab)
        assert torch.equal(again.input_lightness, first[start].input_lightness)


def test_each_photo_comes_once_an_epoch_and_each_epoch_is_another(
    small_photos: list[np.ndarray],
) -> None:
    """Photos of one color each, so that a crop tells which photo it is from."""
    flat = [np.full((30, 30, 3), 20 * i + 40, np.uint8) for i in range(10)]
    plain = DATA.model_copy(update={"augment": DATA.augment.model_copy(update={"p": 0})})
    batches = make(flat, data=plain)
    orders = []
    for epoch in range(4):
        lightness = batches.get(10 * epoch, 10).target_lab[:, 0].mean((1, 2))
        orders.append(tuple(round(float(value), 2) for value in lightness))
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert len(set(orders[0])) == 10
    assert len(set(orders)) == 4
    real = make(small_photos)
    count = len(small_photos)
    assert not torch.equal(real.get(0, count).target_lab, real.get(count, count).target_lab)


def test_the_seed_decides_the_crops(small_photos: list[np.ndarray]) -> None:
    zero, again, one = (make(small_photos, seed=seed).get(0, 4) for seed in (0, 0, 1))
    assert torch.equal(zero.target_lab, again.target_lab)
    assert not torch.equal(zero.target_lab, one.target_lab)


def test_old_looks_are_put_on_what_is_seen_and_never_on_the_truth(
    small_photos: list[np.ndarray],
) -> None:
    never = DATA.model_copy(update={"augment": DATA.augment.model_copy(update={"p": 0})})
    always = DATA.model_copy(update={"augment": DATA.augment.model_copy(update={"p": 1})})
    plain, aged = (make(small_photos, data=data).get(0, 8) for data in (never, always))
    assert torch.equal(plain.input_lightness, plain.target_lab[:, :1])
    assert torch.equal(aged.target_lab, plain.target_lab)
    changed = (aged.input_lightness - aged.target_lab[:, :1]).abs().amax((1, 2, 3)) > 0
    assert bool(changed.all())


def test_a_whole_photo_is_its_own_crop() -> None:
    """Without any drawing, a batch is nothing but the photo in Lab."""
    photo = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    still = DataConfig.model_validate(
        {
            "crop": 24,
            "crop_scale": [1, 1],
            "crop_aspect": 1,
            "flip": False,
            "augment": {"p": 0},
        }
    )
    batch = make([photo], data=still).get(0, 2)
    expected = rgb_to_lab(torch.from_numpy(photo).movedim(-1, 0))
    for lab in batch.target_lab:
        torch.testing.assert_close(lab, expected, rtol=0, atol=5e-3)


def test_the_time_spent_waiting_is_counted(batches: DeviceLoader) -> None:
    before = batches.wait_seconds
    batches.get(0, 4)
    assert batches.wait_seconds > before >= 0
