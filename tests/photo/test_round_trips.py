"""Reading and writing: every format, depth and piece of metadata, judged by independent readers."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from pix2color.errors import PhotoError
from pix2color.photo import Limits, Photo, exif, profiles, read, write, xmp

SHAPE = (37, 53)


def gray(bits: int = 8) -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    values = (rows * 3 + columns * 2) / 216
    noise = np.random.default_rng(0).uniform(0, 0.02, SHAPE)
    top = 2**bits - 1
    return np.rint((values * 0.9 + noise) * top).astype(np.uint8 if bits == 8 else np.uint16)


def color(bits: int = 8) -> np.ndarray:
    g = gray(bits)
    return np.stack((g, g[::-1], g[:, ::-1]), axis=-1)


def png_bytes(array: np.ndarray, kind: int) -> bytes:
    """A 16-bit PNG, made here so that reading is not tested against our own writer."""
    height, width = array.shape[:2]
    lines = array.astype(">u2").reshape(height, -1).view(np.uint8).reshape(height, -1)
    raw = b"".join(b"\0" + line.tobytes() for line in lines)

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


def lzw_tiff(array: np.ndarray) -> bytes:
    """A 16-bit RGB TIFF with LZW, which tifffile alone cannot read: literal codes only."""
    data = array.astype("<u2").tobytes()
    codes: list[int] = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    strip = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    height, width = array.shape[:2]
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 8 + 2 + 12 * 9 + 4),
        (259, 3, 1, 5), (262, 3, 1, 2), (273, 4, 1, 8 + 2 + 12 * 9 + 4 + 6),
        (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(strip)),
    ]  # fmt: skip
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + b"\0\0\0\0"
        + struct.pack("<HHH", 16, 16, 16) + strip
    )  # fmt: skip


def saved(array: np.ndarray, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, name, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP", "PPM", "WEBP", "JPEG2000"])
def test_lossless_formats_keep_every_pixel(name: str, tmp_path: Path) -> None:
    options = {"lossless": True} if name == "WEBP" else {}
    photo = read(saved(color(), name, **options))
    assert (photo.pixels == color()).all()
    write(photo, tmp_path / "out")
    again = read(tmp_path / "out")
    assert (again.pixels == color()).all()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out").convert("RGB")), color())


@pytest.mark.parametrize("kind", [0, 2, 4, 6])
def test_16_bit_png_keeps_every_bit(kind: int, tmp_path: Path) -> None:
    layers = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    base = np.dstack((color(16), gray(16)[::-1]))
    array = base[..., [0, 1, 2, 3][:layers]] if layers > 2 else base[..., [0, 3][:layers]]
    photo = read(png_bytes(array, kind))
    assert photo.bits == 16
    expected = array[..., :3] if layers >= 3 else array[..., 0]
    assert (photo.pixels == expected).all()
    if layers in (2, 4):
        assert photo.alpha is not None and (photo.alpha == array[..., -1]).all()
    write(photo, tmp_path / "out.png")
    again = read(tmp_path / "out.png")
    assert (again.pixels == photo.pixels).all() and again.bits == 16
    eight = np.asarray(Image.open(tmp_path / "out.png").convert("RGB" if layers > 2 else "I"))
    assert eight.shape[:2] == SHAPE


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("layers", [1, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_keeps_depth_alpha_and_compression(
    compression: str | None, layers: int, bits: int, tmp_path: Path
) -> None:
    array = np.dstack((color(bits), gray(bits)[::-1]))[..., :layers].squeeze()
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, array, photometric="minisblack" if layers == 1 else "rgb", compression=compression,
        extrasamples=["unassalpha"] if layers == 4 else None, resolution=(300, 300),
    )  # fmt: skip
    photo = read(buffer.getvalue())
    assert photo.bits == bits and photo.dpi == (300, 300)
    write(photo, tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        page = file.pages[0]
        assert (page.asarray() == array).all()
        assert (int(page.compression) == 1) == (compression is None)


def test_lzw_tiff_of_16_bits_keeps_every_bit() -> None:
    photo = read(lzw_tiff(color(16)))
    assert photo.bits == 16
    assert (photo.pixels == color(16)).all()


def test_white_is_zero_tiff_and_planes() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, 255 - gray(), photometric="miniswhite")
    assert (read(buffer.getvalue()).pixels == gray()).all()
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, np.moveaxis(color(16), -1, 0), photometric="rgb", planarconfig="separate"
    )
    assert (read(buffer.getvalue()).pixels == color(16)).all()


def test_tiff_pages_are_kept_in_order(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(gray(), photometric="minisblack", description="first")
        writer.write(color(16), photometric="rgb", compression="zlib")
        writer.write(gray()[:20], photometric="minisblack")
    photo = read(buffer.getvalue())
    assert len(photo.pages) == 2
    write(photo, tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert [page.shape for page in file.pages] == [SHAPE, (*SHAPE, 3), (20, SHAPE[1])]
        assert (file.pages[1].asarray() == color(16)).all()
        assert file.pages[0].description == "first"


def test_tiff_metadata_survives(tmp_path: Path) -> None:
    block = Image.Exif()
    block[271] = "Camera maker"
    block[315] = "Photographer"
    block.get_ifd(0x8769)[33434] = (1, 250)
    block.get_ifd(0x8769)[36867] = "1999:12:31 23:59:59"
    packet = xmp.set_properties(None, {"k": "v"})
    photo = Photo(
        gray(16), format="TIFF", exif=block.tobytes().removeprefix(b"Exif\0\0"), xmp=packet,
        dpi=(600, 300), icc=profiles.srgb_profile(), encoder_settings={"compression": "zlib"},
    )  # fmt: skip
    write(photo, tmp_path / "a.tif")
    again = read(tmp_path / "a.tif")
    assert again.xmp == packet and again.dpi == (600, 300) and again.icc == photo.icc
    seen = Image.open(tmp_path / "a.tif").getexif()
    assert seen[271] == "Camera maker" and seen[315] == "Photographer"
    assert seen.get_ifd(0x8769)[36867] == "1999:12:31 23:59:59"
    write(again, tmp_path / "b.tif")
    second = Image.open(tmp_path / "b.tif").getexif()
    assert second.get_ifd(0x8769)[36867] == "1999:12:31 23:59:59"


def test_palette_bilevel_cmyk_and_gray_alpha_become_gray_or_rgb() -> None:
    palette = Image.fromarray(color()).quantize(64)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    assert (read(buffer.getvalue()).pixels == np.asarray(palette.convert("RGB"))).all()
    bilevel = Image.fromarray(gray()).convert("1")
    for name in ("PNG", "TIFF"):
        buffer = io.BytesIO()
        bilevel.save(buffer, name)
        assert (read(buffer.getvalue()).pixels == np.asarray(bilevel.convert("L"))).all()
    cmyk = Image.fromarray(color()).convert("CMYK")
    for name in ("JPEG", "TIFF"):
        buffer = io.BytesIO()
        cmyk.save(buffer, name, quality=95)
        photo = read(buffer.getvalue())
        assert photo.format == name and photo.pixels.shape == (*SHAPE, 3)
        assert np.abs(photo.pixels.astype(int) - np.asarray(cmyk.convert("RGB"))).mean() < 4
    photo = read(saved(np.dstack((gray(), gray()[::-1])), "PNG"))
    assert photo.is_gray and photo.alpha is not None and (photo.alpha == gray()[::-1]).all()


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_once(turn: int, name: str, tmp_path: Path) -> None:
    block = Image.Exif()
    block[274] = turn
    block[271] = "maker"
    upright = np.asarray(Image.fromarray(gray()))
    inverse = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6, 1: 1}[turn]
    methods = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    stored = Image.fromarray(upright)
    if turn != 1:
        stored = stored.transpose(Image.Transpose(methods[inverse]))
    options: dict[str, Any] = {"lossless": True} if name == "WEBP" else {}
    path = tmp_path / "in"
    stored.save(path, name, exif=block, **options)
    photo = read(path)
    assert photo.pixels.shape[:2] == SHAPE
    assert np.abs(photo.pixels.reshape(*SHAPE, -1)[..., 0].astype(int) - upright).mean() < 6
    write(photo, tmp_path / "out")
    seen = Image.open(tmp_path / "out")
    assert seen.size == SHAPE[::-1] and seen.getexif().get(274, 1) == 1
    assert seen.getexif()[271] == "maker"


def test_jpeg_keeps_tables_progression_comment_dpi_exif_xmp_icc(tmp_path: Path) -> None:
    block = Image.Exif()
    block[271] = "maker"
    block.get_ifd(0x8769)[37500] = b"maker note" * 20
    packet = xmp.set_properties(None, {"k": "v"})
    data = saved(
        color(), "JPEG", quality=37, progressive=True, comment=b"scanned", dpi=(240, 240),
        exif=block, xmp=packet, icc_profile=profiles.srgb_profile(),
    )  # fmt: skip
    photo = read(data)
    write(photo, tmp_path / "out.jpg")
    before, after = Image.open(io.BytesIO(data)), Image.open(tmp_path / "out.jpg")
    assert after.quantization == before.quantization
    assert after.info["progressive"] and after.info["comment"] == b"scanned"
    assert after.info["dpi"] == (240, 240)
    assert after.info["exif"] == before.info["exif"]
    assert after.info["icc_profile"] == profiles.srgb_profile()
    assert after.info["xmp"] == packet
    assert [layer[1:3] for layer in after.layer] == [(1, 1)] * 3  # 4:4:4


def test_png_keeps_text_and_resolution(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Title", "a photo")
    info.add_itxt("Author", "Zoë")
    for array, path in ((gray(), "8.png"), (color(16), "16.png")):
        if array.dtype == np.uint8:
            data = saved(array, "PNG", pnginfo=info, dpi=(300, 300))
            photo = read(data)
        else:
            photo = Photo(
                array,
                encoder_settings={"text": {"Title": "a photo", "Author": "Zoë"}},
                dpi=(300, 300),
            )
        write(photo, tmp_path / path)
        seen = Image.open(tmp_path / path)
        seen.load()
        assert seen.text == {"Title": "a photo", "Author": "Zoë"}
        assert seen.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_png_of_many_bands_is_one_valid_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pix2color.photo import png

    array = np.random.default_rng(0).integers(0, 65536, (50, 31, 3), dtype=np.uint16)
    for size in (1, 500, 2**21):
        monkeypatch.setattr(png, "_BAND", size)
        for pixels in (array, (array >> 8).astype(np.uint8)):
            write(Photo(pixels.copy(), format="PNG"), tmp_path / "out.png")
            assert (read(tmp_path / "out.png").pixels == pixels).all()
            data = (tmp_path / "out.png").read_bytes()
            place, stream = 8, b""
            while place < len(data):
                (length,) = struct.unpack_from(">I", data, place)
                if data[place + 4 : place + 8] == b"IDAT":
                    stream += data[place + 8 : place + 8 + length]
                place += 12 + length
            assert len(zlib.decompress(stream)) == 50 * (1 + 31 * 3 * pixels.itemsize)


def test_exif_edits_keep_all_other_bytes_in_place() -> None:
    block = Image.Exif()
    block[271], block[274] = "maker", 6
    block.get_ifd(0x8769)[37500] = b"absolute offsets live here"
    raw = block.tobytes().removeprefix(b"Exif\0\0")
    edited = exif.update(raw, upright=True, software="pix2color 1.2 (abc)")
    assert edited[8 : len(raw)] == raw[8:]
    seen = Image.Exif()
    seen.load(b"Exif\0\0" + edited)
    assert seen[274] == 1 and seen[271] == "maker" and seen[305] == "pix2color 1.2 (abc)"
    assert seen.get_ifd(0x8769)[37500] == b"absolute offsets live here"
    assert exif.software(edited) == "pix2color 1.2 (abc)" and exif.orientation(edited) == 1


@pytest.mark.parametrize("junk", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"])
def test_exif_that_cannot_be_read_is_replaced(junk: bytes) -> None:
    assert exif.orientation(junk) == 1
    assert exif.software(exif.update(junk, software="x y z")) == "x y z"


def test_xmp_provenance_is_written_once() -> None:
    once = xmp.set_properties(None, {"version": "1", "options": 'a<b>"c"'})
    twice = xmp.set_properties(once, {"version": "2"})
    assert twice.count(b"pix2color:version=") == 1 and b'pix2color:version="2"' in twice
    import xml.dom.minidom

    xml.dom.minidom.parseString(once.split(b"?>", 1)[1].rsplit(b"<?", 1)[0])


def test_table_profiles_are_converted_and_broken_ones_noted() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (lab, b"no profile" * 30):
        photo = read(saved(gray(), "PNG", icc_profile=profile))
        assert photo.icc is None and "ICC" in photo.notes[0]
        assert (photo.pixels == gray()).all()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"these are words, not a photo", "not a photo"),
        (saved(gray(), "JPEG")[:-300], "truncated"),
        (saved(gray(), "PNG")[:-300], "truncated"),
        (saved(gray(), "TIFF")[:-300], "broken"),
        (saved(gray(), "WEBP")[:100], "broken"),
        (b"\xff\xd8\xff" + bytes(50), "broken"),
        (b"II*\0" + bytes(50), "broken"),
        (b"\x89PNG\r\n\x1a\n", "broken"),
    ],
)
def test_bad_files_are_errors_of_one_line(data: bytes, words: str) -> None:
    with pytest.raises(PhotoError, match=words) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="no such file"):
        read(tmp_path / "none.jpg")


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_truncated_files_are_read_with_a_note_if_allowed(name: str) -> None:
    data = saved(gray(), name)
    photo = read(data[: len(data) * 2 // 3], limits=Limits(on_truncated="keep"))
    assert photo.pixels.shape == SHAPE and "truncated" in photo.notes[0]
    with pytest.raises(PhotoError):
        read(data[: len(data) * 2 // 3])


def test_bombs_are_refused_from_the_header() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    bomb += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with pytest.raises(
        PhotoError, match=r"3600 megapixels.*limit of 300.*raise max_megapixels to 3600"
    ):
        read(bomb)


def test_animations_are_refused() -> None:
    frames = [Image.fromarray(gray()), Image.fromarray(gray()[::-1])]
    for name in ("GIF", "PNG", "WEBP"):
        buffer = io.BytesIO()
        frames[0].save(buffer, name, save_all=True, append_images=frames[1:])
        with pytest.raises(PhotoError, match="animation of 2 frames"):
            read(buffer.getvalue())


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pix2color.photo import writing

    target = tmp_path / "deep" / "out.png"
    write(Photo(gray()), target)
    before = target.read_bytes()

    def full_disk(photo: Photo, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "encode", full_disk)
    with pytest.raises(PhotoError, match="No space left"):
        write(Photo(gray()[::-1].copy()), target)
    assert target.read_bytes() == before
    assert list(target.parent.iterdir()) == [target]


def test_photo_is_immutable_and_checked() -> None:
    photo = Photo(gray())
    with pytest.raises(ValueError, match="read-only"):
        photo.pixels[0, 0] = 1
    with pytest.raises(PhotoError, match="uint8 or uint16"):
        Photo(gray().astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(PhotoError, match="no pixels"):
        Photo(np.zeros((0, 5), np.uint8))
    settings = {"progressive": True}
    photo = Photo(gray(), encoder_settings=settings)
    settings["progressive"] = False
    assert photo.encoder_settings["progressive"]
    with pytest.raises(TypeError):
        photo.encoder_settings["progressive"] = False  # type: ignore[index]
