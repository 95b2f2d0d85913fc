"""What a file says is what is read: alpha, orientation, metadata in unusual places."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile
from PIL.PngImagePlugin import PngInfo
from tiff_files import tiff

from pix2color.errors import PhotoError
from pix2color.photo import Limits, Photo, profiles, read, xmp
from pix2color.photo.formats import PHOTO_SUFFIXES

RANDOM = np.random.default_rng(0)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(array: np.ndarray, depth: int, kind: int, *chunks: bytes) -> bytes:
    """A PNG of one byte or two per sample, with further chunks before its pixels."""
    height, width = array.shape[:2]
    if depth == 16:
        rows = array.astype(">u2").reshape(height, -1).view(np.uint8)
    elif depth == 8:
        rows = array.reshape(height, -1)
    else:
        bits = (array[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_gray_of_a_png_is_transparent(depth: int) -> None:
    top = 2**depth - 1
    array = RANDOM.integers(0, top + 1, (9, 14)).astype(np.uint16 if depth == 16 else np.uint8)
    key = int(array[3, 4])
    photo = read(png(array, depth, 0, chunk(b"tRNS", struct.pack(">H", key))))
    assert photo.is_gray and photo.alpha is not None
    full = 65535 if depth == 16 else 255
    assert (photo.pixels == array.astype(int) * full // top).all()
    assert (photo.alpha == np.where(array == key, 0, full)).all()


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_color_of_a_png_is_transparent(depth: int) -> None:
    array = RANDOM.integers(0, 2**depth, (9, 14, 3))
    array = array.astype(np.uint16 if depth == 16 else np.uint8)
    array[5:, 5:] = array[0, 0]
    key = struct.pack(">3H", *(int(v) for v in array[0, 0]))
    photo = read(png(array, depth, 2, chunk(b"tRNS", key)))
    assert (photo.pixels == array).all() and photo.alpha is not None
    assert (photo.alpha == np.where((array == array[0, 0]).all(2), 0, 2**depth - 1)).all()


def test_alpha_in_the_fourth_byte_of_a_bmp() -> None:
    rgba = RANDOM.integers(0, 256, (9, 14, 4)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "BMP")
    photo = read(buffer.getvalue())
    assert (photo.pixels == rgba[..., :3]).all()
    assert photo.alpha is not None and (photo.alpha == rgba[..., 3]).all()
    rgba[..., 3] = 0  # as most writers leave the fourth byte
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "BMP")
    assert read(buffer.getvalue()).alpha is None


def test_every_listed_suffix_can_be_read(tmp_path: Path) -> None:
    rgb = RANDOM.integers(0, 256, (9, 14, 3)).astype(np.uint8)
    path = tmp_path / "photo.dib"
    Image.fromarray(rgb).save(path, "DIB")
    assert ".dib" in PHOTO_SUFFIXES and (read(path).pixels == rgb).all()


def test_pgm_of_16_bits() -> None:
    gray = RANDOM.integers(0, 65536, (9, 14)).astype(np.uint16)
    photo = read(b"P5 14 9 65535\n" + gray.astype(">u2").tobytes())
    assert photo.bits == 16 and (photo.pixels == gray).all()


ORIENTED = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_in_xmp_alone_is_applied(name: str) -> None:
    stored = np.arange(6 * 16 * 16, dtype=np.uint8).reshape(48, 32) // 8
    buffer = io.BytesIO()
    options: dict = {"lossless": True} if name == "WEBP" else {}
    if name == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", ORIENTED.decode())
        options["pnginfo"] = info
    elif name == "TIFF":
        options["tiffinfo"] = {700: ORIENTED}
    else:
        options["xmp"] = ORIENTED
    Image.fromarray(stored).save(buffer, name, **options)
    photo = read(buffer.getvalue())
    assert photo.pixels.shape[:2] == (32, 48)
    assert photo.xmp is not None and xmp.orientation(photo.xmp) == 1
    if name != "JPEG":
        assert (photo.pixels.reshape(32, 48, -1)[..., 0] == np.rot90(stored, -1)).all()


def test_exif_orientation_has_precedence_over_xmp() -> None:
    buffer, upright = io.BytesIO(), Image.Exif()
    upright[274] = 1
    Image.new("L", (48, 32)).save(buffer, "JPEG", exif=upright, xmp=ORIENTED)
    assert read(buffer.getvalue()).pixels.shape == (32, 48)


def test_exif_as_hexadecimal_text_in_a_png() -> None:
    block = Image.Exif()
    block[274], block[271] = 6, "maker"
    digits = block.tobytes().hex()
    lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    info = PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(digits) // 2:8d}\n{lines}\n", zip=True)
    buffer = io.BytesIO()
    Image.new("L", (48, 32)).save(buffer, "PNG", pnginfo=info)
    photo = read(buffer.getvalue())
    assert photo.pixels.shape == (48, 32)
    assert photo.exif is not None and b"maker" in photo.exif
    assert "text" not in photo.encoder_settings


def box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(data), name) + data


def test_jpeg_2000_gives_its_resolution_profile_exif_and_xmp() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (32, 48, 3)).astype(np.uint8)).save(buffer, "JPEG2000")
    data = buffer.getvalue()
    start = data.index(b"jp2h") - 4
    (size,) = struct.unpack_from(">I", data, start)
    header = data[start + 8 : start + size]
    color = header.index(b"colr") - 4
    (length,) = struct.unpack_from(">I", header, color)
    icc = profiles.srgb_profile()
    per_meter = box(b"res ", box(b"resc", struct.pack(">4HBB", 11811, 1, 11811, 1, 0, 0)))
    header = header[:color] + box(b"colr", b"\x02\0\0" + icc) + header[color + length :] + per_meter
    block = Image.Exif()
    block[271] = "maker"
    exif = block.tobytes().removeprefix(b"Exif\0\0")
    uuid = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
    whole = data[:start] + box(b"jp2h", header) + box(b"uuid", uuid + ORIENTED)
    photo = read(whole + box(b"uuid", b"JpgTiffExif->JP2" + exif) + data[start + size :])
    assert photo.icc == icc and photo.exif is not None and b"maker" in photo.exif
    assert photo.xmp is not None and photo.pixels.shape[:2] == (48, 32)
    assert photo.dpi == pytest.approx((300, 300), abs=0.1)


def test_lossless_webp_with_a_large_profile_is_known_as_lossless() -> None:
    for lossless in (True, False):
        buffer = io.BytesIO()
        icc = profiles.srgb_profile().ljust(9001, b"\0")
        Image.new("RGB", (20, 10)).save(buffer, "WEBP", lossless=lossless, icc_profile=icc)
        assert read(buffer.getvalue()).encoder_settings["lossless"] is lossless


def test_lab_outside_srgb_keeps_its_lightness() -> None:
    """Against littleCMS, which measures the result's L."""
    lightness, a, b = np.meshgrid(np.arange(13, 250, 26), (40, 128, 215), (40, 128, 215))
    lab = np.stack((lightness, a, b), -1).astype(np.uint8).reshape(1, -1, 3)
    for signed in (True, False):
        stored = lab ^ np.array((0, 128, 128), np.uint8) if signed else lab
        photo = read(tiff(stored, photometric=8 if signed else 9))
        back = ImageCms.profileToProfile(
            Image.fromarray(photo.pixels), ImageCms.createProfile("sRGB"),
            ImageCms.createProfile("LAB"), outputMode="LAB",
        )  # fmt: skip
        assert back is not None
        seen = np.asarray(back)[..., 0].astype(int)
        assert np.abs(seen - lab[..., 0]).max() <= 2  # of 255


def test_truncated_files_of_one_thread_do_not_pass_in_another() -> None:
    buffer = io.BytesIO()
    noise = RANDOM.integers(0, 256, (300, 400)).astype(np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    cut = buffer.getvalue()[:60_000]
    before = list(warnings.filters)

    def refused(_: int) -> bool:
        try:
            return read(cut) is None
        except PhotoError:
            return True

    def kept(_: int) -> bool:
        return "truncated" in read(cut, limits=Limits(on_truncated="keep")).notes[0]

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(job, i) for i in range(40) for job in (refused, kept)]
            assert all(job.result() for job in jobs)
    finally:
        sys.setswitchinterval(0.005)
    assert warnings.filters == before and not ImageFile.LOAD_TRUNCATED_IMAGES


def test_the_callers_array_stays_writable() -> None:
    gray, alpha = np.zeros((4, 5), np.uint8), np.ones((4, 5), np.uint8)
    photo = Photo(gray, alpha)
    gray[0, 0] = alpha[0, 0] = 7
    for array in (photo.pixels, photo.alpha):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
