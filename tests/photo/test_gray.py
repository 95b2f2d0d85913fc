"""The rule that says whether a photo has colors."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import lab2rgb

from pix2color.color import icc_matrix
from pix2color.photo.gray import is_gray


def ramp(a: float, b: float) -> np.ndarray:
    """L from 30 to 80 in one tone: 100,90,3 uint8."""
    lab = np.stack(np.broadcast_arrays(np.linspace(30, 80, 100)[:, None], a, b), -1)
    return (lab2rgb(np.repeat(lab, 90, 1)) * 255).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("chroma", "gray"), [((0, 0), True), ((3, 2), True), ((6, 0), False), ((0, -20), False)]
)
@pytest.mark.parametrize("bits", [8, 16])
def test_chroma_above_the_threshold_is_color(
    chroma: tuple[int, int], gray: bool, bits: int
) -> None:
    pixels = ramp(*chroma)
    assert is_gray(pixels if bits == 8 else pixels.astype(np.uint16) * 257, 5.0) is gray


def test_colored_noise_is_gray_and_a_colored_corner_is_not() -> None:
    noise = np.random.default_rng(0).normal(128, 12, (480, 480, 3)).clip(0, 255).astype(np.uint8)
    for ignore_tone in (False, True):
        assert is_gray(noise, ignore_tone=ignore_tone)
    noise[:200, :200] = (200, 30, 30)
    assert not is_gray(noise)


def test_the_tone_of_a_sepia_print_is_color_unless_it_is_ignored(
    photos: dict[str, np.ndarray],
) -> None:
    for sepia in (ramp(8, 22), ramp(0, -20)):
        assert not is_gray(sepia)
        assert is_gray(sepia, ignore_tone=True)
    for name in ("astronaut", "coffee", "chelsea"):
        assert not is_gray(photos[name], ignore_tone=True)


def test_chroma_is_measured_in_the_space_of_the_pixels() -> None:
    muted = np.full((20, 20, 3), 128, np.uint8)
    muted[..., 0] += 8
    vivid = icc_matrix.ColorSpace(None, np.array(((3, -1, -1), (-1, 3, -1), (-1, -1, 3.0))))
    assert is_gray(muted, 5.0)
    assert not is_gray(muted, 5.0, space=vivid)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 3000, 3), (2, 2)])
def test_photos_of_any_size_are_measured(shape: tuple[int, ...]) -> None:
    assert is_gray(np.full(shape, 90, np.uint8))
