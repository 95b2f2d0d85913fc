"""Color: scikit-image is the reference; gradients, precision and the gamut mapping are ours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import skimage.color
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pix2color.color import lab_numpy
from pix2color.color.lab import (
    gray_to_lightness,
    lab_to_rgb,
    lab_to_rgb_in_gamut,
    lightness_to_gray,
    rgb_to_lab,
    rgb_to_lightness,
)

BLACK_GRAY_WHITE = (0.0, 1e-6, 0.04045, 0.0031308, 0.5, 1.0)


def grid(step: int) -> np.ndarray:
    """Every step-th 8-bit color, 0 and 255 included: 1,N,3 uint8."""
    side = np.unique(np.append(np.arange(0, 256, step), 255)).astype(np.uint8)
    return np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1).reshape(1, -1, 3)


def planes(pixels: np.ndarray) -> Tensor:
    """H,W,3 -> 3,H,W."""
    return torch.from_numpy(pixels).movedim(-1, 0)


def one(*values: float) -> Tensor:
    """A single color: 3,1,1."""
    return torch.tensor(values).view(3, 1, 1)


def test_rgb_to_lab_agrees_with_scikit_image_on_a_dense_grid() -> None:
    colors = grid(5)
    expected = skimage.color.rgb2lab(colors)
    found = rgb_to_lab(planes(colors)).movedim(0, -1).numpy()
    assert np.abs(found - expected).max() < 0.02


def test_lab_to_rgb_agrees_with_scikit_image_on_a_dense_grid() -> None:
    lab = skimage.color.rgb2lab(grid(5)).astype(np.float32)
    found = lab_to_rgb(planes(lab)).movedim(0, -1).numpy()
    assert np.abs(found - skimage.color.lab2rgb(lab)).max() < 1e-3


def test_eight_bit_colors_come_back_exactly(photos: dict[str, np.ndarray]) -> None:
    for colors in (grid(3), *photos.values()):
        there = planes(colors)
        back = (lab_to_rgb(rgb_to_lab(there)) * 255).round().to(torch.uint8)
        assert torch.equal(back, there)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.74, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
        ((1, 1, 1), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
    ],
)
def test_known_colors(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    found = rgb_to_lab(one(*map(float, rgb))).flatten()
    np.testing.assert_allclose(found, lab, atol=0.01)


def test_lightness_alone_is_the_first_plane(photos: dict[str, np.ndarray]) -> None:
    photo = planes(photos["astronaut"])
    torch.testing.assert_close(rgb_to_lightness(photo), rgb_to_lab(photo)[:1], rtol=0, atol=1e-4)


def test_every_8_bit_gray_comes_back_from_its_lightness() -> None:
    gray = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    lightness = gray_to_lightness(gray)
    assert torch.equal((lightness_to_gray(lightness) * 255).round().to(torch.uint8), gray)
    as_photo = rgb_to_lightness(gray.expand(3, -1, -1))
    torch.testing.assert_close(lightness, as_photo, rtol=0, atol=1e-3)


def test_the_gray_of_a_lightness_has_that_lightness() -> None:
    lightness = torch.linspace(0, 100, 1001).view(1, 1, -1)
    gray = lightness_to_gray(lightness)
    assert float(gray.min()) >= 0 and float(gray.max()) <= 1
    torch.testing.assert_close(
        rgb_to_lightness(gray.expand(3, -1, -1)), lightness, rtol=0, atol=1e-2
    )
    # L / 100 is something else: mid gray would be off by 9 levels of 255.
    assert float((gray * 255)[0, 0, 500]) == pytest.approx(118.91, abs=0.02)


def test_batches_single_photos_and_integers_are_the_same(photos: dict[str, np.ndarray]) -> None:
    whole = planes(photos["chelsea"])
    batch = torch.stack((whole, whole.flip(-1)))
    found = rgb_to_lab(batch)
    for same in (
        torch.stack((rgb_to_lab(whole), rgb_to_lab(whole.flip(-1)))),
        rgb_to_lab(batch / 255),
    ):
        torch.testing.assert_close(found, same, rtol=0, atol=1e-3)


CONVERSIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "rgb_to_lab": (rgb_to_lab, 1.0),
    "rgb_to_lightness": (rgb_to_lightness, 1.0),
    "gray_to_lightness": (gray_to_lightness, 1.0),
    "lab_to_rgb": (lab_to_rgb, 100.0),
    "lightness_to_gray": (lightness_to_gray, 100.0),
    "lab_to_rgb_in_gamut": (lab_to_rgb_in_gamut, 100.0),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_gradients_are_finite_from_black_to_white(name: str) -> None:
    convert, full = CONVERSIONS[name]
    values = full * torch.tensor(BLACK_GRAY_WHITE).view(1, 1, -1).repeat(3, 1, 1)
    if name in ("lab_to_rgb", "lab_to_rgb_in_gamut"):
        values[1:] = 0.0
    values.requires_grad_()
    convert(values).sum().backward()
    assert values.grad is not None
    assert bool(values.grad.isfinite().all())


@pytest.mark.parametrize("name", CONVERSIONS)
def test_float32_even_inside_autocast(name: str, photos: dict[str, np.ndarray]) -> None:
    convert, full = CONVERSIONS[name]
    values = full * planes(photos["coffee"][:32, :32]).float() / 255
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = convert(values)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, convert(values))


def test_without_clipping_foreign_colors_keep_a_gradient() -> None:
    for clip in (True, False):
        lab = one(20.0, -80.0, 90.0).requires_grad_()
        rgb = lab_to_rgb(lab, clip=clip)
        rgb[0].sum().backward()  # red is far below 0 here
        assert lab.grad is not None
        assert bool((lab.grad != 0).any()) is not clip


# The gamut mapping


@settings(max_examples=200, deadline=None)
@given(
    lightness=st.floats(0, 100, width=32),
    a=st.floats(-150, 150, width=32),
    b=st.floats(-150, 150, width=32),
)
def test_gamut_mapping_keeps_lightness(lightness: float, a: float, b: float) -> None:
    rgb = lab_to_rgb_in_gamut(one(lightness, a, b))
    assert float(rgb.min()) >= 0 and float(rgb.max()) <= 1
    assert float(rgb_to_lightness(rgb)) == pytest.approx(lightness, abs=0.02)


def test_gamut_mapping_leaves_colors_of_srgb_alone(photos: dict[str, np.ndarray]) -> None:
    for colors in (grid(15), *photos.values()):
        there = planes(colors)
        back = (lab_to_rgb_in_gamut(rgb_to_lab(there)) * 255).round().to(torch.uint8)
        assert torch.equal(back, there)


def test_gamut_mapping_lowers_chroma_no_further_than_needed() -> None:
    """A color that is changed ends on the gamut's surface: a channel is 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    lab = torch.rand(3, 40, 40, generator=generator) * torch.tensor((90, 240, 240)).view(3, 1, 1)
    lab = lab + torch.tensor((5, -120, -120)).view(3, 1, 1)
    rgb = lab_to_rgb_in_gamut(lab)
    changed = ((rgb - lab_to_rgb(lab, clip=False)).abs() > 1e-3).any(dim=0)
    assert 0.3 < float(changed.float().mean()) < 1
    on_surface = ((rgb < 1e-4) | (rgb > 1 - 1e-4)).any(dim=0)
    assert bool(on_surface[changed].all())


def test_gamut_mapping_keeps_the_side_of_the_color() -> None:
    """It never passes through gray to the opposite hue."""
    lab = one(50.0, 120.0, -130.0)
    _, a, b = rgb_to_lab(lab_to_rgb_in_gamut(lab)).flatten().tolist()
    assert a > 10 and b < -10


def test_there_is_no_color_beyond_black_and_white() -> None:
    for lightness in (-5.0, 0.0, 100.0, 105.0):
        rgb = lab_to_rgb_in_gamut(one(lightness, 60.0, -40.0)).flatten()
        assert torch.allclose(rgb, torch.full((3,), float(lightness > 50)), atol=1e-5)


# numpy against torch


def dense_lab() -> np.ndarray:
    """L 0..100, a and b -120..120: 1,N,3 float32."""
    axes = np.linspace(0, 100, 51), np.linspace(-120, 120, 49), np.linspace(-120, 120, 49)
    lab = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return lab.reshape(1, -1, 3).astype(np.float32)


def both(numpy: Callable[..., np.ndarray], torchs: Callable[..., Tensor], x: np.ndarray) -> float:
    """The largest difference of a formula's two versions on values H,W,3."""
    return float(np.abs(numpy(x) - torchs(planes(x)).movedim(0, -1).numpy()).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_and_torch_agree_on_a_dense_grid(dtype: type) -> None:
    lab = dense_lab().astype(dtype)
    assert both(lab_numpy.lab_to_rgb, lab_to_rgb, lab) < 1e-4
    assert both(lab_numpy.lab_to_rgb_in_gamut, lab_to_rgb_in_gamut, lab) < 1e-4
    assert lab_numpy.lab_to_rgb(lab).dtype == dtype
    rgb = (grid(5) / 255).astype(dtype)
    # 1e-4 of an RGB step of 1/100; a and b are 500 and 200 times a difference of cube roots.
    assert both(lab_numpy.rgb_to_lab, rgb_to_lab, rgb) < 1e-3
    gray = np.linspace(0, 1, 4097).astype(dtype)
    linear = lab_numpy.srgb_to_linear(gray)
    np.testing.assert_allclose(lab_numpy.linear_to_srgb(linear), gray, rtol=0, atol=1e-6)
    t = torch.from_numpy(gray).view(1, 1, -1)
    lightness = gray_to_lightness(t).flatten().numpy()
    np.testing.assert_allclose(116 * lab_numpy.lab_f(linear) - 16, lightness, rtol=0, atol=1e-4)
    f = lab_numpy.lab_f(linear)
    np.testing.assert_allclose(lab_numpy.lab_f_inverse(f), linear, rtol=0, atol=2e-6)
