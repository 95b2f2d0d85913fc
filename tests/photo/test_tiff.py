"""TIFFs that are damaged, huge or of unusual colors, and the tags that must survive."""

from __future__ import annotations

import io
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from tiff_files import compressed, joined, tiff

from pix2color.errors import PhotoError
from pix2color.photo import Limits, Photo, profiles, read, write

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (24, 40, 1)).astype(np.uint8)
RGB = RANDOM.integers(0, 256, (24, 40, 3)).astype(np.uint8)


def test_a_page_of_very_many_samples_is_refused_from_its_header() -> None:
    header = tiff(np.zeros((2000, 1500, 1), np.uint8), compression="deflate", rows=2000)
    (count,) = struct.unpack_from("<H", header, 8)
    entries = [bytearray(header[10 + 12 * i : 22 + 12 * i]) for i in range(count)]
    for entry in entries:
        if entry[:2] == struct.pack("<H", 277):
            entry[8:10] = struct.pack("<H", 255)
    data = header[:10] + b"".join(entries) + header[10 + 12 * count :]
    with pytest.raises(PhotoError, match=r"255 samples per pixel.*above the limit"):
        read(data, limits=Limits(megapixels=4))


def test_very_many_pages_are_refused_before_they_are_read() -> None:
    directory = tiff(np.zeros((1, 1, 1), np.uint8))[8:]
    (count,) = struct.unpack_from("<H", directory, 0)
    size = 2 + 12 * count + 4
    pages = b"".join(
        directory[: size - 4] + struct.pack("<I", 8 + size * (i + 1)) for i in range(40_000)
    )
    with pytest.raises(PhotoError, match="more than 1000 pages"):
        read(b"II*\0\x08\0\0\0" + pages)


def test_a_cycle_of_pages_is_read_once() -> None:
    two = bytearray(joined(tiff(GRAY), tiff(GRAY)))
    (count,) = struct.unpack_from("<H", two, 8)
    (second,) = struct.unpack_from("<I", two, 10 + 12 * count)
    struct.pack_into("<I", two, second + 2 + 12 * count, 8)
    assert len(read(bytes(two)).pages) == 1


@pytest.mark.parametrize("damage", ["cut in its directory", "cut in its pixels", "bad pixels"])
def test_a_damaged_second_page_is_not_lost_silently(damage: str) -> None:
    first = tiff(GRAY, compression="lzw")
    whole = joined(first, tiff(GRAY[::-1], compression="lzw"))
    assert len(read(whole).pages) == 1
    if damage == "bad pixels":
        data = whole[:-300] + bytes(300)
    else:
        data = whole[: len(first) + 40] if damage == "cut in its directory" else whole[:-200]
    with pytest.raises(PhotoError, match="page 2"):
        read(data)
    photo = read(data, limits=Limits(on_truncated="keep"))
    assert (photo.pixels == GRAY[..., 0]).all() and not photo.pages
    assert "page 2" in photo.notes[0] and "only 1" in photo.notes[0]


def bilevel() -> np.ndarray:
    rows, columns = np.mgrid[:64, :100]
    return (((rows * 3 + columns) % 17 < 6) ^ (RANDOM.random((64, 100)) < 0.02)).astype(np.uint8)


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_broken_ccitt_is_refused_or_read_deterministically(
    compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    picture = bilevel()
    data = tiff(picture[..., None], bits=1, compression=compression, rows=64)
    size = len(compressed(np.packbits(picture, axis=1).tobytes(), compression, 100))
    refused = 0
    for _ in range(60):
        broken = bytearray(data)
        broken[len(data) - size + RANDOM.integers(size)] ^= 1 << int(RANDOM.integers(8))
        seen = []
        for value in (0x55, 0xFF):
            _dirt = [np.full(n, value, np.uint8) for n in (832, 6400, 13 * 64, 2 * 832)]
            del _dirt
            try:
                seen.append(read(bytes(broken)).pixels.tobytes())
            except PhotoError as error:
                seen.append(b"")
                assert "broken" in str(error)
        assert seen[0] == seen[1]
        refused += not seen[0]
    # libtiff passes over a broken line of Group 3 with a warning and finds the next one's start.
    assert refused > (40 if compression == "group4" else 0)
    assert capfd.readouterr().err == ""


def test_an_early_end_of_group_4_is_refused() -> None:
    picture = bilevel()
    half = compressed(np.packbits(picture[:20], axis=1).tobytes(), "group4", 100)
    data = tiff(picture[..., None], bits=1, compression="group4", rows=64, strips=[half])
    with pytest.raises(PhotoError, match="CCITT data end before"):
        read(data)


def test_other_output_on_stderr_is_kept(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    from pix2color.photo import tiff_pixels

    decompress = tiff_pixels._decompressed

    def with_a_word(*args: object) -> bytes:
        os.write(2, b"a progress bar\n")
        return decompress(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(tiff_pixels, "_decompressed", with_a_word)
    read(tiff(GRAY, compression="lzw", rows=24))
    assert capfd.readouterr().err == "a progress bar\n"


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zstd", "deflate", "lzma"])
def test_damaged_strips_are_errors_without_output_on_stderr(
    compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    strip = compressed(RGB.tobytes(), compression)
    damaged = [strip[: len(strip) // 2]]
    if compression == "lzw":
        damaged.append(strip[:200] + b"\xff" * (len(strip) - 200))
    for bad in damaged:
        with pytest.raises(PhotoError, match="broken"):
            read(tiff(RGB, photometric=2, compression=compression, rows=24, strips=[bad]))
    assert capfd.readouterr().err == ""


def test_tifffile_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PhotoError):
        read(tiff(GRAY)[:60])
    logging.getLogger("tifffile").error("of no file")
    assert capfd.readouterr().err == ""


def ycbcr(across: int, down: int) -> tuple[bytes, np.ndarray]:
    """Data units of a smooth picture with its chroma reduced, and the picture as Pillow has it."""
    rows, columns = np.mgrid[:24, :40]
    smooth = np.stack((rows * 5, columns * 4, 200 - rows * 3 - columns), -1).astype(np.uint8)
    values = np.asarray(Image.fromarray(smooth).convert("YCbCr"))
    luma = values[..., 0].reshape(24 // down, down, 40 // across, across).swapaxes(1, 2)
    chroma = values[::down, ::across, 1:]
    units = np.concatenate(
        (luma.reshape(24 // down, 40 // across, -1), chroma), axis=2, dtype=np.uint8
    )
    shown = np.dstack((values[..., :1], chroma.repeat(down, 0).repeat(across, 1)))
    rgb = Image.fromarray(np.ascontiguousarray(shown), "YCbCr").convert("RGB")
    return units.tobytes(), np.asarray(rgb)


@pytest.mark.parametrize("icc", [False, True])
@pytest.mark.parametrize("compression", ["none", "lzw"])
@pytest.mark.parametrize("sampling", [(1, 1), (2, 1), (2, 2)])
def test_ycbcr_with_any_sampling(sampling: tuple[int, int], compression: str, icc: bool) -> None:
    raw, shown = ycbcr(*sampling)
    tags: tuple = ((530, 3, sampling),)
    if icc:
        tags = (*tags, (34675, 7, tuple(profiles.srgb_profile())))
    data = tiff(
        np.zeros((24, 40, 3), np.uint8), photometric=6, compression=compression, rows=24,
        strips=[compressed(raw, compression)], tags=tags,
    )  # fmt: skip
    photo = read(data)
    assert np.abs(photo.pixels.astype(int) - shown).max() <= 2
    assert (photo.icc is not None) == icc and not photo.notes


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_strips_are_read_as_pillow_reads_them(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", compression="jpeg", quality=95)
    theirs = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
    pixels = read(buffer.getvalue()).pixels
    theirs = theirs[..., 0] if mode == "L" else theirs
    assert np.abs(pixels.astype(int) - theirs).max() <= 1


def test_a_jpeg_file_within_a_tiff_of_the_old_kind() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG", quality=95)
    start, data = 0, b""
    for _ in range(2):  # once to learn where the JPEG file comes to lie
        data = tiff(
            RGB, photometric=6, code=6, rows=24, strips=[buffer.getvalue()],
            tags=((513, 4, (start,)),),
        )  # fmt: skip
        start = data.index(b"\xff\xd8\xff")
    assert (read(data).pixels == np.asarray(Image.open(buffer))).all()


def test_an_unnamed_fourth_channel_is_alpha() -> None:
    rgba = RANDOM.integers(0, 256, (24, 40, 4)).astype(np.uint8)
    photo = read(tiff(rgba, photometric=2))
    assert photo.alpha is not None and (photo.alpha == rgba[..., 3]).all()
    assert (photo.pixels == rgba[..., :3]).all()


@pytest.mark.parametrize("colors", [2, 16, 256])
def test_palettes_are_read_as_pillow_reads_them(colors: int) -> None:
    image = Image.fromarray(RGB).quantize(colors)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", compression="packbits")
    assert (read(buffer.getvalue()).pixels == np.asarray(image.convert("RGB"))).all()


def test_tiles_are_joined() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, RGB, photometric="rgb", tile=(16, 16), compression="zlib")
    assert (read(buffer.getvalue()).pixels == RGB).all()


def test_bits_in_reversed_order() -> None:
    strip = compressed(GRAY.tobytes(), "lzw")
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in strip)
    data = tiff(GRAY, compression="lzw", rows=24, strips=[turned], tags=((266, 3, (2,)),))
    assert (read(data).pixels == GRAY[..., 0]).all()


def test_cmyk_of_16_bits_is_read_in_8_with_a_note() -> None:
    cmyk = RANDOM.integers(0, 65536, (24, 40, 4)).astype(np.uint16)
    photo = read(tiff(cmyk, photometric=5, bits=16, compression="lzw"))
    assert photo.bits == 8 and "16 bits was read in 8" in photo.notes[0]
    eight = Image.fromarray(np.rint(cmyk / 257).astype(np.uint8), "CMYK").convert("RGB")
    assert (photo.pixels == np.asarray(eight)).all()


def test_signed_pixels_are_read_unless_they_are_below_zero() -> None:
    values = RANDOM.integers(0, 32768, (24, 40, 1)).astype(np.uint16)
    tags = ((339, 3, (2,)),)
    assert (read(tiff(values, bits=16, tags=tags)).pixels == values[..., 0]).all()
    values[3, 3] = 65535
    with pytest.raises(PhotoError, match="below zero"):
        read(tiff(values, bits=16, tags=tags))


def test_a_broken_exif_directory_leaves_the_others(tmp_path: Path) -> None:
    block = Image.Exif()
    block.get_ifd(0x8769)[36867] = "1999:12:31 23:59:59"
    block.get_ifd(0x8825)[1] = "N"
    exif = block.tobytes().removeprefix(b"Exif\0\0")
    write(Photo(GRAY[..., 0], format="TIFF", exif=exif), tmp_path / "a.tif")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        place = file.pages[0].tags[34853].valueoffset
    for offset in (2**31, len(data) - 3):
        struct.pack_into("<I", data, place, offset)
        photo = read(bytes(data))
        _has_date(photo)


def _has_date(photo: Photo) -> None:
    assert photo.exif is not None
    seen = Image.Exif()
    seen.load(b"Exif\0\0" + photo.exif)
    assert seen.get_ifd(0x8769)[36867] == "1999:12:31 23:59:59"


def test_texts_of_any_encoding_and_geotiff_tags_survive(tmp_path: Path) -> None:
    tags = (
        (315, 2, tuple("José Müller".encode() + b"\0")),
        (33432, 2, tuple("© Zoë".encode("latin-1") + b"\0")),
        (33550, 12, (0.5, 0.5, 0.0)),
        (33922, 12, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0)),
        (34735, 3, (1, 1, 0, 1, 1024, 0, 1, 1)),
        (34737, 2, tuple(b"NAD27|\0")),
        (42113, 2, tuple(b"-9999\0")),
    )
    write(read(tiff(GRAY, tags=tags, order=">")), tmp_path / "out.tif")
    raw = (tmp_path / "out.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        for code, kind, values in tags:
            tag = file.pages[0].tags[code]
            if kind == 2:
                found = tuple(raw[tag.valueoffset : tag.valueoffset + tag.count])
            else:
                found = tuple(tag.value)
            assert found == values and tag.dtype == kind


def test_lab_pixels_ignore_their_profile() -> None:
    lab = np.full((24, 40, 3), (128, 0, 0), np.uint8)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    photo = read(tiff(lab, photometric=8, tags=((34675, 7, tuple(icc)),)))
    assert (photo.pixels == photo.pixels[0, 0, 0]).all() and 118 < photo.pixels[0, 0, 0] < 121
