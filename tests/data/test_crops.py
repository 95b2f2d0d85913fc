"""Crops: the same pixels that a slow loop and Pillow would give, drawn for each photo alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pix2color.config import DataConfig
from pix2color.data.crops import CropParams, extract_crops, rng_for, sample_crops, stack_photos


def plan(*rows: tuple[float, float, float, float, bool]) -> CropParams:
    """Crops as (top, left, height, width, flip)."""
    top, left, height, width = torch.tensor([row[:4] for row in rows]).float().unbind(1)
    return CropParams(top, left, height, width, torch.tensor([row[4] for row in rows]), ())


def shares(start: float, length: float, source: int, target: int, size: int) -> np.ndarray:
    """One target pixel's triangle filter over the source pixels, by the book."""
    step = length / size
    middle = start + (target + 0.5) * step
    reach = max(step, 1.0)
    found = np.zeros(source)
    for pixel in range(source):
        if start < pixel + 0.5 < start + length:
            found[pixel] = max(0.0, 1 - abs(pixel + 0.5 - middle) / reach)
    return found / found.sum()


def slow_crop(
    photo: np.ndarray, top: float, left: float, height: float, width: float, flip: bool, size: int
) -> np.ndarray:
    """One crop, pixel by pixel: size,size,3 in 0..1."""
    out = np.zeros((size, size, 3))
    for y in range(size):
        rows = shares(top, height, photo.shape[0], y, size)
        for x in range(size):
            columns = shares(left, width, photo.shape[1], x, size)
            out[y, size - 1 - x if flip else x] = np.einsum(
                "h,w,hwc->c", rows, columns, photo / 255
            )
    return out


def rgb(crops: torch.Tensor, number: int = 0) -> np.ndarray:
    return crops[number].movedim(0, -1).numpy()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    "box",
    [
        (3.0, 10.0, 60.0, 60.0),
        (0.4, 7.3, 51.7, 40.2),
        (10.0, 5.5, 9.0, 9.0),  # enlarged
        (0.0, 0.0, 72.0, 72.0),
    ],
)
def test_crops_equal_the_slow_way(
    box: tuple[float, float, float, float], flip: bool, small_photos: list[np.ndarray]
) -> None:
    photo = small_photos[1]
    found = extract_crops(stack_photos([photo]), plan((*box, flip)), 16)
    np.testing.assert_allclose(rgb(found), slow_crop(photo, *box, flip, 16), atol=1e-5)


@pytest.mark.parametrize("size", [24, 48, 96])
def test_whole_photos_equal_pillow(size: int, small_photos: list[np.ndarray]) -> None:
    for photo in small_photos:
        height, width = photo.shape[:2]
        found = extract_crops(stack_photos([photo]), plan((0, 0, height, width, False)), size)
        image = Image.fromarray(photo).resize((size, size), Image.Resampling.BILINEAR)
        # Pillow rounds to 8 bits after the columns and again after the rows.
        assert np.abs(rgb(found) * 255 - np.asarray(image)).max() < 1.6


def test_photos_of_several_sizes_do_not_touch_each_other(small_photos: list[np.ndarray]) -> None:
    assert len({photo.shape for photo in small_photos}) > 1
    rows = [
        (0.0, 0.0, float(photo.shape[0]), float(photo.shape[1]), bool(i % 2))
        for i, photo in enumerate(small_photos)
    ]
    together = extract_crops(stack_photos(small_photos), plan(*rows), 32)
    for number, (photo, row) in enumerate(zip(small_photos, rows, strict=True)):
        alone = extract_crops(stack_photos([photo]), plan(row), 32)
        torch.testing.assert_close(together[number], alone[0], rtol=0, atol=1e-5)


def test_a_flipped_crop_is_the_mirrored_crop(small_photos: list[np.ndarray]) -> None:
    stacked = stack_photos([small_photos[0]] * 2)
    crops = extract_crops(stacked, plan((5, 9, 50, 44, False), (5, 9, 50, 44, True)), 24)
    torch.testing.assert_close(crops[1], crops[0].flip(-1), rtol=0, atol=1e-6)


def test_a_constant_photo_stays_constant() -> None:
    """Shares sum to 1 everywhere, and no zeros of the padding come in."""
    small = np.full((20, 30, 3), 255, np.uint8)
    large = np.zeros((50, 40, 3), np.uint8)
    crops = extract_crops(
        stack_photos([small, large]), plan((0, 0, 20, 30, False), (0, 0, 50, 40, True)), 16
    )
    torch.testing.assert_close(crops[0], torch.ones(3, 16, 16), rtol=0, atol=1e-6)
    assert float(crops[1].max()) == 0


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 500),
    width=st.integers(1, 500),
    epoch=st.integers(0, 2**31 - 1),
    index=st.integers(0, 2**31 - 1),
    least=st.floats(0.05, 1),
    aspect=st.floats(1, 3),
)
def test_a_drawn_crop_lies_inside_its_photo(
    height: int, width: int, epoch: int, index: int, least: float, aspect: float
) -> None:
    data = DataConfig(crop_scale=(least, 1.0), crop_aspect=aspect)
    draw = rng_for(0, epoch, index)
    drawn = sample_crops([(height, width)], [draw], data)
    top, left, h, w = (float(v) for v in (drawn.top, drawn.left, drawn.height, drawn.width))
    slack = 1e-4 * max(height, width)
    assert top >= 0 and left >= 0 and h >= 1 and w >= 1
    assert top + h <= height + slack and left + w <= width + slack
    side = min(height, width)
    assert max(h, w) <= max(2, side * aspect**0.5) + slack
    assert min(h, w) >= least * side / aspect**0.5 - slack


def test_a_crop_of_any_size_can_be_cut() -> None:
    for height, width in ((1, 1), (1, 9), (300, 2)):
        photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        for index in range(50):
            draws = [rng_for(0, 0, index)]
            drawn = sample_crops([(height, width)], draws, DataConfig(crop_scale=(0.05, 1.0)))
            assert bool(extract_crops(stack_photos([photo]), drawn, 8).isfinite().all())


def test_a_photo_s_crop_depends_on_seed_epoch_and_photo_alone() -> None:
    sizes = [(100, 120), (90, 80), (70, 200)]
    data = DataConfig()

    def drawn(seed: int, epoch: int, indices: list[int]) -> list[tuple[float, ...]]:
        draws = [rng_for(seed, epoch, i) for i in indices]
        one = sample_crops([sizes[i] for i in indices], draws, data)
        columns = (one.top, one.left, one.height, one.width, one.flip, one.seeds)
        return [tuple(float(value) for value in row) for row in zip(*columns, strict=True)]

    together = drawn(0, 3, [0, 1, 2])
    assert drawn(0, 3, [2, 0]) == [together[2], together[0]]
    assert drawn(0, 3, [0, 1, 2]) == together
    for other in (drawn(1, 3, [0, 1, 2]), drawn(0, 4, [0, 1, 2])):
        assert not set(other) & set(together)


def test_half_of_the_crops_are_mirrored_unless_it_is_off() -> None:
    draws = [rng_for(0, 0, index) for index in range(2000)]
    share = sample_crops([(60, 60)] * 2000, draws, DataConfig()).flip.float().mean()
    assert 0.46 < float(share) < 0.54
    draws = [rng_for(0, 0, index) for index in range(50)]
    assert not bool(sample_crops([(60, 60)] * 50, draws, DataConfig(flip=False)).flip.any())
