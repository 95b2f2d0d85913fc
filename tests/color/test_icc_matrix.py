"""ICC profiles: parsed ones against Pillow's color management, odd ones refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from icc_profiles import ADOBE, adobe_rgb, fixed, gamma_tag, gray_gamma, profile
from PIL import Image, ImageCms

from pix2color.color import icc_matrix
from pix2color.color.lab_numpy import linear_to_srgb
from pix2color.photo import profiles


def test_adobe_rgb_agrees_with_littlecms() -> None:
    icc = adobe_rgb()
    own = icc_matrix.parse_icc(icc)
    assert own is not None and not own.is_srgb and not own.is_gray
    rgb = np.random.default_rng(0).integers(40, 216, (32, 32, 3)).astype(np.uint8)
    linear = np.stack([own.decode(c, rgb[..., c] / 255) for c in range(3)], axis=-1)
    ours = linear_to_srgb(np.clip(linear @ own.matrix.T, 0, 1)) * 255
    theirs = ImageCms.profileToProfile(
        Image.fromarray(rgb),
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    inside = (ours > 1).all(-1) & (ours < 254).all(-1)
    difference = np.abs(ours - np.asarray(theirs).astype(float))[inside]
    assert difference.max() < 2.0 and inside.mean() > 0.5


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_gray_gammas(gamma: float) -> None:
    own = icc_matrix.parse_icc(gray_gamma(gamma))
    assert own is not None and own.is_gray
    steps = np.linspace(0, 1, 50)
    assert np.allclose(own.decode(0, steps), steps ** (round(gamma * 256) / 256), atol=1e-4)
    assert np.allclose(own.encode(0, own.decode(0, steps)), steps, atol=2e-3)


def test_srgb_itself_takes_the_exact_path() -> None:
    own = icc_matrix.parse_icc(profiles.srgb_profile())
    assert own is not None and own.is_srgb


@pytest.mark.parametrize("cut", [0, 40, 131, 140, 200, 300])
def test_broken_profiles_are_none(cut: int) -> None:
    assert icc_matrix.parse_icc(adobe_rgb()[:cut]) is None


def test_curve_tables_that_turn_back_are_none() -> None:
    bad = b"curv\0\0\0\0" + struct.pack(">I4H", 4, 0, 60000, 30000, 65535)
    assert icc_matrix.parse_icc(profile(b"GRAY", {b"kTRC": bad})) is None


@pytest.mark.parametrize("kind", range(5))
def test_parametric_curves(kind: int) -> None:
    values = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0.0, 0.0)
    count = (1, 3, 4, 5, 7)[kind]
    body = struct.pack(f">{count}i", *(round(v * 65536) for v in values[:count]))
    tag = b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + body
    own = icc_matrix.parse_icc(profile(b"GRAY", {b"kTRC": tag}))
    assert own is not None
    if kind >= 3:
        assert own.is_srgb


def para(kind: int, *values: float) -> bytes:
    body = struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + body


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_a_curve_without_a_slope_is_set_aside_with_a_note(kind: int) -> None:
    """Such a profile must not cost the photo, which would be called broken."""
    count = (1, 3, 4, 5, 7)[kind]
    icc = profile(b"GRAY", {b"kTRC": para(kind, *(2.2, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0)[:count])})
    assert icc_matrix.parse_icc(icc) is None
    gray = np.arange(200, dtype=np.uint8).reshape(10, 20)
    pixels, left, notes = profiles.normalize_profile(gray, icc)
    assert (pixels == gray).all() and left is None and "cannot be used" in notes[0]


@pytest.mark.parametrize("column", [b"rXYZ", b"gXYZ", b"bXYZ", None])
def test_primaries_of_zero_are_set_aside(column: bytes | None) -> None:
    """They would make pixels that are not a number."""
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(fixed, ADOBE), strict=True))
    zero = {name: fixed((0.0, 0.0, 0.0)) for name in ([column] if column else tags)}
    curves = {name: gamma_tag(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")}
    icc = profile(b"RGB ", tags | zero | curves)
    rgb = np.arange(240, dtype=np.uint8).reshape(8, 10, 3)
    pixels, left, notes = profiles.normalize_profile(rgb, icc)
    assert (pixels == rgb).all() and left is None and "cannot be used" in notes[0]
