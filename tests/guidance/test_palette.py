"""The palette of a reference photo."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from photo_lab import PHOTOS
from PIL import Image

from pix2color.errors import Pix2ColorError
from pix2color.guidance.guidance import Guidance
from pix2color.guidance.palette import match_palette, palette_of
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.prediction import Prediction
from pix2color.photo import profiles


def test_a_palette_changes_the_colors_towards_it(
    prediction: Prediction, colorizer: Colorizer
) -> None:
    green = Image.new("RGB", (64, 64), (40, 160, 60))
    palette = palette_of(green)
    assert float(palette.sum()) == pytest.approx(1)
    shares = []
    for strength in (0.0, 0.5, 1.0):
        p = match_palette(prediction, palette, strength).log_probabilities()
        p = np.exp(p).mean((1, 2))
        shares.append(float(p[palette > 0.01].sum()))
    own = prediction.log_probabilities()
    assert np.allclose(match_palette(prediction, palette, 0.0).log_probabilities(), own, atol=1e-3)
    assert shares[0] < shares[1] < shares[2] and shares[2] > 0.5
    with pytest.raises(Pix2ColorError, match=r"strength .* is in 0\.\.1, not 2"):
        Guidance(palette=palette, strength=2.0)


def test_a_reference_without_colors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Pix2ColorError, match="has no colors"):
        palette_of(PHOTOS / "camera.jpg")
    with pytest.raises(Pix2ColorError, match=r"reference .*none\.jpg"):
        palette_of(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(Pix2ColorError, match="not a photo of a format"):
        palette_of(tmp_path / "text.jpg")


def test_a_reference_is_read_as_any_other_photo(tmp_path: Path) -> None:
    """Its profile is applied, its orientation too, and a huge one is an error in plain words."""
    red = np.full((40, 60, 3), (140, 90, 60), np.uint8)
    swapped = np.ascontiguousarray(red[..., ::-1])
    Image.fromarray(red).save(tmp_path / "red.png")
    Image.fromarray(swapped).save(tmp_path / "swapped.png", icc_profile=_swapping_profile())
    palette = palette_of(tmp_path / "red.png")
    assert np.allclose(palette_of(tmp_path / "swapped.png"), palette, atol=0.05)
    assert np.allclose(palette_of(Image.open(tmp_path / "swapped.png")), palette, atol=0.05)
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    end = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + end)
    with pytest.raises(Pix2ColorError, match=r"reference .*bomb\.png.*above the limit"):
        palette_of(tmp_path / "bomb.png")


def _swapping_profile() -> bytes:
    """sRGB whose first channel is blue and whose last is red."""
    icc = bytearray(profiles.srgb_profile())
    (count,) = struct.unpack_from(">I", icc, 128)
    for i in range(count):
        place = 132 + 12 * i
        name = bytes(icc[place : place + 4])
        icc[place : place + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(name, name)
    return bytes(icc)
