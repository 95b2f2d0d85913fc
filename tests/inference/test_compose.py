"""The lightness promise, the gamut, the bands."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pix2color import bands
from pix2color.color import icc_matrix, lab_numpy
from pix2color.color.lab import gray_to_lightness, rgb_to_lab, rgb_to_lightness
from pix2color.inference import compose, preprocess
from pix2color.photo import Photo


def lab_of(pixels: np.ndarray) -> np.ndarray:
    """Lab of sRGB pixels, 3,H,W."""
    rgb = torch.from_numpy(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max)
    return rgb_to_lab(rgb.permute(2, 0, 1)).numpy()


LIMIT = {np.uint8: 0.5, np.uint16: 0.01}


def lightness_of(pixels: np.ndarray) -> np.ndarray:
    """L of sRGB pixels through pix2color.color.lab, which the code under test does not use."""
    rgb = torch.from_numpy(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max)
    return rgb_to_lightness(rgb.permute(2, 0, 1))[0].numpy()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_lightness_stays_whatever_the_color(kind: type, data: st.DataObject) -> None:
    codes = data.draw(hnp.arrays(kind, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
    seed = data.draw(st.integers(0, 2**32 - 1))
    ab = np.random.default_rng(seed).uniform(-110, 110, (2, 3, 4)).astype(np.float32)
    out = compose.compose_rgb(codes, ab)
    expected = np.take(preprocess.lightness_table(codes.itemsize * 8), codes)
    assert out.dtype == kind and out.shape == (*codes.shape, 3)
    assert np.abs(lightness_of(out) - expected).max() <= LIMIT[kind]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_lightness_with_every_hue_keeps_it(kind: type) -> None:
    top = np.iinfo(kind).max
    codes = np.repeat(np.linspace(0, top, 256).round().astype(kind)[:, None], 360, axis=1)
    angle = np.deg2rad(np.arange(360))
    for chroma in (10, 40, 130):
        ab = (chroma * np.stack((np.cos(angle), np.sin(angle))))[:, None, :].astype(np.float32)
        out = compose.compose_rgb(codes, ab)
        expected = np.take(preprocess.lightness_table(codes.itemsize * 8), codes)
        assert np.abs(lightness_of(out) - expected).max() <= LIMIT[kind]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_no_color_gives_back_the_gray(kind: type) -> None:
    codes = np.arange(65536).reshape(256, 256).astype(kind)
    out = compose.compose_rgb(codes, np.zeros((2, 1, 1), np.float32))
    assert (out == codes[..., None]).all()


def test_colors_inside_the_gamut_come_out_as_asked() -> None:
    codes = np.full((20, 30), 128, np.uint16) * 257
    ab = np.array((20.0, -15.0), np.float32).reshape(2, 1, 1)
    out = compose.compose_rgb(codes, ab)
    lab = rgb_to_lab(torch.from_numpy(out / np.float32(65535)).permute(2, 0, 1))
    assert np.abs(lab[1:].numpy() - ab).max() < 0.05


def test_bands_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (200, 150)).astype(np.uint8)
    ab = np.random.default_rng(1).uniform(-60, 60, (2, 9, 7)).astype(np.float32)
    whole = compose.compose_rgb(codes, ab)
    for pixels in (150, 1000, 7777):
        monkeypatch.setattr(bands, "BAND_PIXELS", pixels)
        again = compose.compose_rgb(codes, ab)
        # Colors are rounded to steps, and Pillow takes a band's place in single precision: a
        # rounding may tip over, no more.
        difference = np.abs(lab_of(again) - lab_of(whole))
        assert difference.max() < 3 and difference.mean() < 0.3


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (192, 256)),
        (1, 1, (192, 192)),
        (192, 192, (192, 192)),
        (3000, 2000, (288, 192)),
        (333, 333, (192, 192)),
    ],
)
def test_network_size(height: int, width: int, expected: tuple[int, int]) -> None:
    assert preprocess.network_size(height, width, 192) == expected


def test_network_size_of_panoramas_is_bounded() -> None:
    for shape in ((100, 100_000), (1, 60_000), (60_000, 1)):
        height, width = preprocess.network_size(*shape, 192)
        assert height >= 1 and width >= 1 and height * width <= 16.4 * 192**2


def adobe_rgb() -> icc_matrix.ColorSpace:
    """Adobe RGB (1998): its published primaries, adapted to D50, and gamma 2.19921875."""
    steps = np.linspace(0, 1, 4096)
    to_srgb = np.array(((1.39836, -0.39836, 0.0), (0.0, 1.0, 0.0), (0.0, -0.04293, 1.04293)))
    return icc_matrix.ColorSpace((steps**2.19921875,) * 3, to_srgb)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_lightness_stays_in_another_space(kind: type) -> None:
    own = adobe_rgb()
    top = np.iinfo(kind).max
    rng = np.random.default_rng(0)
    codes = rng.integers(0, top + 1, (50, 60)).astype(kind)
    ab = rng.uniform(-80, 80, (2, 5, 6)).astype(np.float32)
    out = compose.compose_rgb(codes, ab, own)
    linear = np.stack([own.decode(c, out[..., c] / top) for c in range(3)], axis=-1)
    f = lab_numpy.lab_f(np.clip(linear @ own.luminance, 0, 1))
    expected = np.take(preprocess.lightness_table(codes.itemsize * 8), codes)
    assert np.abs(116 * f - 16 - expected).max() <= LIMIT[kind]


def test_gray_codes_of_color_have_its_lightness() -> None:
    rng = np.random.default_rng(0)
    for kind in (np.uint8, np.uint16):
        pixels = rng.integers(0, np.iinfo(kind).max + 1, (64, 64, 3)).astype(kind)
        codes = preprocess.gray_values(Photo(pixels.copy()))
        ours = np.take(preprocess.lightness_table(codes.itemsize * 8), codes)
        # Half a gray code, which is at most 0.25 of L in 8 bits.
        assert np.abs(ours - lightness_of(pixels)).max() < (0.25 if kind is np.uint8 else 0.002)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_lightness_stays_when_a_color_photo_is_recolored(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for kind in (np.uint8, np.uint16):
        pixels = rng.integers(0, np.iinfo(kind).max + 1, (24, 24, 3)).astype(kind)
        ab = rng.uniform(-110, 110, (2, 3, 3)).astype(np.float32)
        out = compose.compose_rgb(preprocess.gray_values(Photo(pixels.copy())), ab)
        assert np.abs(lightness_of(out) - lightness_of(pixels)).max() <= LIMIT[kind]


def test_gray_codes_of_gray_are_its_pixels() -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.shares_memory(preprocess.gray_values(Photo(gray)), gray)
    rgb = np.repeat(gray[..., None], 3, axis=-1)
    assert (preprocess.gray_values(Photo(rgb)) == gray).all()


def test_tables_agree_with_color() -> None:
    codes = torch.arange(256) / 255
    expected = gray_to_lightness(codes).numpy()
    assert np.abs(preprocess.lightness_table(8) - expected).max() < 1e-4


def test_reduction_is_the_same_at_8_and_16_bits() -> None:
    rng = np.random.default_rng(0)
    gray = np.cumsum(rng.normal(0, 1, (300, 400)), axis=1)
    eight = ((gray - gray.min()) / np.ptp(gray) * 255).astype(np.uint8)
    small = preprocess.resize_lightness(eight, (48, 64))
    fine = preprocess.resize_lightness(eight.astype(np.uint16) * 257, (48, 64))
    assert small.shape == (48, 64) and np.abs(small - fine).max() < 1.0


def test_sepia_is_not_color_but_a_photo_is(photos: dict[str, np.ndarray]) -> None:
    codes = preprocess.gray_values(Photo(photos["chelsea"].copy()))
    sepia = compose.compose_rgb(codes, np.array((8.0, 22.0), np.float32).reshape(2, 1, 1))
    assert not preprocess.is_colored(Photo(sepia))
    assert not preprocess.is_colored(Photo(codes.copy()))
    for name in ("astronaut", "coffee"):
        assert preprocess.is_colored(Photo(photos[name].copy()))
