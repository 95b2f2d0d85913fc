"""Reversible JPEGs: the scan comes back bit for bit."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_model import fake_colorizer
from PIL import Image

from pix2color.color.lab import gray_to_lightness, rgb_to_lightness
from pix2color.errors import PhotoError, WeightsError
from pix2color.jobs import lossless_jpeg
from pix2color.photo import Limits, Photo, Provenance

jpeglib = pytest.importorskip("jpeglib", reason="the lossless-jpeg extra is not installed")


def gray(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 6, (height, width))
    wave = 127 + 100 * np.sin(rows / 11) * np.cos(columns / 9)
    return np.clip(wave + noise, 0, 255).astype(np.uint8)


def jpeg(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", **options)
    return file.getvalue()


def coefficients(data: bytes) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jpg"
        path.write_bytes(data)
        return jpeglib.read_dct(str(path))


def luma(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.draft("L", image.size)
    return np.array(image)


def colored(data: bytes, mark: Provenance | None = None) -> bytes:
    colorizer = fake_colorizer()
    return lossless_jpeg.colorize(data, colorizer.colorize, provenance=mark, limits=Limits())


KINDS: dict[str, dict[str, Any]] = {
    "baseline": {"quality": 80},
    "progressive": {"quality": 70, "progressive": True},
    "restart markers": {"quality": 60, "restart_marker_rows": 1},
    "fine": {"quality": 98},
    "coarse": {"quality": 20},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(64, 96), (61, 83), (1, 1), (9, 200)])
def test_the_scan_comes_back_bit_for_bit(kind: str, shape: tuple[int, int]) -> None:
    source = jpeg(gray(*shape), **KINDS[kind])
    result = colored(source)
    assert Image.open(io.BytesIO(result)).mode == "RGB"
    back = lossless_jpeg.restore_gray(result)
    before, between, after = (coefficients(d) for d in (source, result, back))
    for found in (between, after):
        assert np.array_equal(found.Y, before.Y) and np.array_equal(found.qt[0], before.qt[0])
    assert Image.open(io.BytesIO(back)).mode == "L"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(back))), luma(source))


def test_colors_are_there_and_in_gamut() -> None:
    source = jpeg(gray(120, 160), quality=90)
    rgb = np.asarray(Image.open(io.BytesIO(colored(source)))).astype(int)
    assert np.ptp(rgb, axis=-1).max() > 25
    own = 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]
    # Clipping of decoded colors would show as a change of luma.
    assert np.abs(own - luma(source)).mean() < 0.6


def test_lightness_moves_little() -> None:
    source = jpeg(gray(120, 160), quality=95)
    rgb = torch.from_numpy(np.array(Image.open(io.BytesIO(colored(source))))).permute(2, 0, 1)
    expected = gray_to_lightness(torch.from_numpy(luma(source)))
    difference = (rgb_to_lightness(rgb)[0] - expected).abs()
    assert difference.mean() < 3


def test_a_color_photo_gives_up_its_old_colors(photos: dict[str, np.ndarray]) -> None:
    source = jpeg(photos["chelsea"], quality=85, subsampling="4:2:0")
    result = colored(source)
    assert np.array_equal(luma(result), luma(source))


@pytest.mark.parametrize("turn", [1, 3, 6, 8, 5])
def test_turned_photos_and_metadata(turn: int) -> None:
    block = Image.Exif()
    block[274], block[271] = turn, "maker"
    source = jpeg(gray(64, 96), exif=block, dpi=(300, 300), comment=b"scan", quality=90)
    result = colored(source, Provenance("w", "o"))
    seen = Image.open(io.BytesIO(result))
    assert seen.getexif()[274] == turn and seen.getexif()[271] == "maker"
    assert "pix2color" in seen.getexif()[305] and seen.info["dpi"] == (300, 300)
    assert np.array_equal(luma(result), luma(source))


def test_iptc_and_xmp_stay_there_and_back() -> None:
    iptc = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x78\0\x03abc"
    packet = b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"> kept </r:RDF>'
    segment = b"\xff\xed" + (len(iptc) + 2).to_bytes(2, "big") + iptc
    source = jpeg(gray(40, 50), extra=segment, xmp=packet)
    result = colored(source, Provenance("0123456789abcdef", "vividness 1"))
    for data in (result, lossless_jpeg.restore_gray(result)):
        assert segment in data
        assert b" kept " in Image.open(io.BytesIO(data)).info["xmp"]


def test_other_files_are_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(gray(20, 20)).save(file, "PNG")
    with pytest.raises(PhotoError, match="only a JPEG"):
        colored(file.getvalue())
    with pytest.raises(PhotoError, match="no color"):
        lossless_jpeg.restore_gray(jpeg(gray(20, 20)))
    with pytest.raises(PhotoError):
        colored(jpeg(gray(200, 200))[:900])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        torch.OutOfMemoryError("CUDA out of memory."),
        WeightsError("these weights predict ab, not 313 classes"),
    ],
)
def test_errors_of_the_network_are_not_blamed_on_the_jpeg(error: Exception) -> None:
    def paint(photo: Photo) -> Photo:
        raise error

    with pytest.raises(type(error)) as caught:
        lossless_jpeg.colorize(jpeg(gray(20, 20)), paint, provenance=None, limits=Limits())
    assert caught.value is error
