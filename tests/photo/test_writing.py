"""Writing: full disks, several threads, views of arrays, and metadata that must not be lost."""

from __future__ import annotations

import io
import multiprocessing
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pix2color import bands
from pix2color.errors import PhotoError
from pix2color.photo import (
    Photo,
    Provenance,
    add_provenance,
    exif,
    jp2,
    jpeg,
    profiles,
    read,
    write,
)

MARK = Provenance("0123456789abcdef", "vividness 1")
FORMATS = {
    "JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp", "BMP": ".bmp", "PPM": ".ppm",
    "TGA": ".tga", "JPEG2000": ".jp2", "AVIF": ".avif",
}  # fmt: skip
XMP_ROOM = 65_504  # bytes that a JPEG's segment leaves for XMP
EXIF_ROOM = 65_527


def noise(height: int = 90, width: int = 120) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(name: str = "JPEG", array: np.ndarray | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise() if array is None else array).save(buffer, name, **options)
    return buffer.getvalue()


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """Marker and content of every segment of a JPEG before its scan."""
    found, place = [], 2
    while data[place + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, place + 2)
        found.append((data[place + 1], data[place + 4 : place + 2 + length]))
        place += 2 + length
    return found


def with_segments(data: bytes, extra: list[tuple[int, bytes]]) -> bytes:
    added = b"".join(struct.pack(">BBH", 0xFF, m, len(c) + 2) + c for m, c in extra)
    return data[:2] + added + data[2:]


def exif_of(length: int) -> bytes:
    """A block of so many bytes: orientation 6, Make, and filling."""
    block = Image.Exif()
    block[274], block[271] = 6, "maker"
    raw = block.tobytes().removeprefix(b"Exif\0\0")
    return raw + b"\xa5" * (length - len(raw))


def xmp_of(length: int) -> bytes:
    """A packet without padding of so many bytes."""
    start = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-'
        b'rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Description dc:title="'
    )
    end = b'"/></rdf:RDF></x:xmpmeta>'
    return start + b"t" * (length - len(start) - len(end)) + end


# --- disks and threads ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "channels"), [(1503, 1800, 3), (1503, 1800, 1), (300, 65_500, 3)]
)
def test_a_large_jpeg_is_the_one_that_a_single_encoder_writes(
    height: int, width: int, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, columns = np.ogrid[:height, :width]
    wave = (128 + 90 * np.sin(rows / 30 + columns / 25)).astype(np.uint8)
    pixels = wave if channels == 1 else np.stack((wave, wave[::-1], 255 - wave), axis=-1)
    photo = Photo(pixels, exif=exif_of(300), dpi=(300, 300), format="JPEG")
    for cores in (1, 2):
        monkeypatch.setattr(bands, "cores", lambda count=cores: count)
        write(photo, tmp_path / f"{cores}.jpg")
    data = (tmp_path / "1.jpg").read_bytes()
    assert (tmp_path / "2.jpg").read_bytes() == data
    (interval,) = [content for marker, content in segments(data) if marker == 0xDD]
    blocks, options = struct.unpack(">H", interval)[0], jpeg.options(photo)
    assert data == saved(array=pixels, restart_marker_blocks=blocks, **options)
    own, other = (Image.open(io.BytesIO(d)) for d in (data, saved(array=pixels, **options)))
    assert (np.asarray(own) == np.asarray(other)).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_writes_large_jpegs_too(tmp_path: Path) -> None:
    photo = Photo(noise(1500, 1600), format="JPEG")
    write(photo, tmp_path / "parent.jpg")  # starts the threads, which the child does not have
    child = multiprocessing.get_context("fork").Process(
        target=write, args=(photo, tmp_path / "child.jpg")
    )
    child.start()
    child.join(120)
    child.kill()
    assert (tmp_path / "child.jpg").read_bytes() == (tmp_path / "parent.jpg").read_bytes()


@pytest.mark.parametrize("missing", [1, 4000])
@pytest.mark.parametrize("name", FORMATS)
def test_a_disk_that_fills_is_an_error_and_leaves_nothing(
    name: str, missing: int, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")  # Windows has no such limit
    photo = Photo(noise(), format=name)
    write(photo, tmp_path / "whole")
    length = (tmp_path / "whole").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length - missing, before[1]))
    try:
        with pytest.raises(PhotoError, match="cannot be written"):
            write(photo, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in tmp_path.iterdir()] == ["whole"]


def test_threads_writing_photos_of_one_stem_do_not_mix_them(
    tmp_path: Path,
) -> None:
    lossless = [name for name in FORMATS if name not in ("JPEG", "WEBP", "AVIF")]
    photos = {
        tmp_path / f"p00{FORMATS[name]}": Photo(np.roll(noise(), 7 * i, 0), format=name)
        for i, name in enumerate(lossless)
    }
    with ThreadPoolExecutor(len(photos)) as pool:
        list(pool.map(lambda item: write(item[1], item[0]), photos.items()))
    assert sorted(tmp_path.iterdir()) == sorted(photos)
    for path, photo in photos.items():
        again = read(path)
        assert again.format == photo.format and (again.pixels == photo.pixels).all()


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "BMP", "TGA", "AVIF", "PPM", "JPEG2000"])
@pytest.mark.parametrize(
    "view",
    [
        lambda p: p,
        lambda p: p[:, ::-1],
        lambda p: p[::-1, ::-1],
        lambda p: p[..., ::-1],
    ],
    ids=["as it is", "mirrored", "turned", "BGR"],
)
def test_a_flipped_view_of_four_byte_pixels_is_written_flipped(
    name: str, view: Any, tmp_path: Path
) -> None:
    smooth = np.linspace(0, 255, 40 * 50 * 4).reshape(40, 50, 4).astype(np.uint8)
    smooth[..., 0] //= 2
    pixels = view(smooth[..., :3])
    expected = np.array(pixels)
    write(Photo(pixels, format=name), tmp_path / "out")
    seen = np.asarray(Image.open(tmp_path / "out").convert("RGB"))
    assert np.abs(seen.astype(int) - expected).mean() < 4


def test_four_two_byte_values_are_not_taken_for_four_bytes(tmp_path: Path) -> None:
    pixels = np.zeros((10, 12, 4), np.uint16)[..., :3]
    with pytest.raises(PhotoError, match="16-bit"):
        write(Photo(pixels, format="JPEG"), tmp_path / "out")


# --- metadata ------------------------------------------------------------------------------------


def resource_block(number: int, content: bytes, name: bytes = b"") -> bytes:
    title = bytes((len(name),)) + name
    title += b"\0" * (len(title) % 2)
    return (
        b"8BIM" + struct.pack(">H", number) + title + struct.pack(">I", len(content)) + content
        + b"\0" * (len(content) % 2)
    )  # fmt: skip


IPTC = resource_block(0x0404, b"\x1c\x02\x78\x00\x07caption", b"odd")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ([IPTC], [IPTC]),
        ([IPTC + resource_block(1036, b"a gray thumbnail") + IPTC], [IPTC + IPTC]),
        ([b"what no one can read"], [b"what no one can read"]),
        (
            [resource_block(0x0404, b"a" * 90_000)[:60_000], b"a" * 30_012],
            [resource_block(0x0404, b"a" * 90_000)[:60_000], b"a" * 30_012],
        ),
    ],
    ids=["one block", "thumbnail", "broken", "several segments"],
)
def test_iptc_of_a_jpeg_is_kept(source: list[bytes], expected: list[bytes], tmp_path: Path) -> None:
    head = b"Photoshop 3.0\0"
    data = with_segments(saved(), [(0xED, head + block) for block in source])
    assert write(add_provenance(read(data), MARK), tmp_path / "out.jpg") == ()
    written = segments((tmp_path / "out.jpg").read_bytes())
    assert [c for m, c in written if m == 0xED] == [head + block for block in expected]


def test_extended_xmp_of_a_jpeg_is_kept(tmp_path: Path) -> None:
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32
    extension = [(0xE1, head + struct.pack(">II", 100, i) + b"x" * 50) for i in (0, 50)]
    data = with_segments(saved(xmp=xmp_of(500)), extension)
    write(add_provenance(read(data), MARK), tmp_path / "out.jpg")
    written = (tmp_path / "out.jpg").read_bytes()
    assert [s for s in segments(written) if s in extension] == extension
    again = read(written)
    assert again.xmp is not None and b"tttt" in again.xmp and b"pix2color:version" in again.xmp


@pytest.mark.parametrize("length", [60_000, 65_210, XMP_ROOM])
def test_xmp_that_fills_a_segment_is_not_replaced_by_provenance(
    length: int, tmp_path: Path
) -> None:
    photo = read(saved(xmp=xmp_of(length)))
    assert write(add_provenance(photo, MARK), tmp_path / "out.jpg") == ()
    again = read(tmp_path / "out.jpg")
    assert again.xmp is not None and b"t" * 50_000 in again.xmp
    assert exif.software(again.exif) == MARK.text()


@pytest.mark.parametrize("length", [60_000, 65_300, EXIF_ROOM, EXIF_ROOM + 1, 150_000])
@pytest.mark.parametrize("name", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_large_exif_is_kept_in_every_container(name: str, length: int, tmp_path: Path) -> None:
    block = exif_of(length)
    photo = Photo(noise(), format=name, exif=exif.update(block, upright=True))
    write(add_provenance(photo, MARK), tmp_path / "out")
    again = Image.open(tmp_path / "out")
    assert again.getexif()[271] == "maker" and again.getexif().get(274, 1) == 1
    if name != "TIFF":  # whose directories are written, not the block's filling
        assert b"\xa5" * (length - 200) in again.info["exif"]


def test_resetting_the_orientation_makes_exif_no_longer() -> None:
    block = exif_of(EXIF_ROOM)
    edited = exif.update(block, upright=True)
    assert len(edited) == len(block) and exif.orientation(edited) == 1
    assert sum(a != b for a, b in zip(edited, block, strict=True)) == 1


@pytest.mark.parametrize("text", ["Jos\xe9 M\xfcller's scanner".encode(), b"Jos\xe9 in Latin-1"])
def test_an_earlier_software_tag_keeps_its_bytes(text: bytes) -> None:
    block = exif.update(None, software=text.decode("utf-8", "surrogateescape"))
    photo = add_provenance(Photo(noise(), format="JPEG", exif=block), MARK)
    assert photo.exif is not None and photo.exif.endswith(b" | " + text + b"\0")
    again = add_provenance(photo, MARK)
    assert again.exif is not None and again.exif.endswith(b"ness 1 | " + text + b"\0")
    assert again.exif.count(text) >= 1 and exif.software(again.exif) == exif.software(photo.exif)


@pytest.mark.parametrize(
    "array", [noise(), noise()[..., 0], noise()[..., 0].astype(np.uint16) * 257]
)
def test_jpeg_2000_keeps_profile_resolution_exif_and_xmp(array: np.ndarray, tmp_path: Path) -> None:
    block, packet = exif_of(500), xmp_of(500)
    photo = Photo(
        array, format="JPEG2000", icc=profiles.srgb_profile(), dpi=(300, 72.5), exif=block,
        xmp=packet,
    )  # fmt: skip
    assert write(photo, tmp_path / "out.jp2") == ()
    data = (tmp_path / "out.jp2").read_bytes()
    seen = Image.open(tmp_path / "out.jp2")
    assert seen.info["dpi"] == pytest.approx((300, 72.5), rel=1e-4)
    assert np.array_equal(np.asarray(seen), array)
    xmp_id = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
    for box in (
        b"colr\2\0\0" + profiles.srgb_profile(),
        b"uuidJpgTiffExif->JP2" + block,
        b"uuid" + xmp_id + packet,
    ):
        assert struct.pack(">I", len(box) + 4) + box in data
    assert jp2.metadata(data) == {"exif": block, "xmp": packet, "icc_profile": photo.icc}


@pytest.mark.parametrize("dpi", [0.02, 1, 299.99, 1663, 1665, 999_999])
def test_jpeg_2000_takes_any_resolution(dpi: float, tmp_path: Path) -> None:
    write(Photo(noise(), format="JPEG2000", dpi=(dpi, 300)), tmp_path / "out.jp2")
    assert Image.open(tmp_path / "out.jp2").info["dpi"] == pytest.approx((dpi, 300), rel=1e-4)


def test_a_bare_codestream_stays_one(tmp_path: Path) -> None:
    photo = add_provenance(read(saved("JPEG2000", no_jp2=True)), MARK)
    assert write(photo, tmp_path / "out.j2k") == ()  # nothing of the source is lost
    assert (tmp_path / "out.j2k").read_bytes().startswith(b"\xff\x4f\xff\x51")
    assert (read(tmp_path / "out.j2k").pixels == noise()).all()


def test_metadata_that_the_container_cannot_store_is_noted(tmp_path: Path) -> None:
    source = with_segments(saved(), [(0xED, b"Photoshop 3.0\0" + IPTC)])
    photo = replace(
        read(source), icc=profiles.srgb_profile(), exif=exif_of(500), xmp=xmp_of(70_000),
        dpi=(300.0, 300.0),
    )  # fmt: skip
    expected = {
        "JPEG": ["XMP of 70000 bytes"],
        "TGA": ["ICC profile", "EXIF", "XMP", "resolution", "IPTC"],
        "WEBP": ["resolution", "IPTC"],
    }
    for name, words in expected.items():
        notes = write(replace(photo, format=name), tmp_path / "out")
        assert len(notes) == len(words)
        assert all(word in note for word, note in zip(words, notes, strict=True))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1250"])
def test_text_of_tiff_tags_that_is_not_ascii_keeps_its_bytes(encoding: str, tmp_path: Path) -> None:
    text = "Jos\xe9 M\xfcller".encode(encoding)
    place = "?" * len(text)
    block = Image.Exif()
    for code in (305, 315, 33432):  # Software, Artist, Copyright
        block[code] = place
    block.get_ifd(34665)[0xA430] = place  # CameraOwnerName
    write(Photo(noise(), format="TIFF", exif=block.tobytes()[6:]), tmp_path / "in.tif")
    source = (tmp_path / "in.tif").read_bytes().replace(place.encode(), text)
    assert source.count(text) == 4
    write(add_provenance(read(source), MARK), tmp_path / "out.tif")
    data = (tmp_path / "out.tif").read_bytes()
    found = {}
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        for code in (305, 315, 33432):
            tag = file.pages[0].tags[code]
            found[code] = data[tag.valueoffset :][: tag.valuebytecount].rstrip(b"\0")
    assert found[315] == found[33432] == text
    assert found[305] == MARK.text().encode() + b" | " + text
    owner = Image.open(tmp_path / "out.tif").getexif().get_ifd(34665)[0xA430]
    assert (owner if isinstance(owner, bytes) else owner.encode("latin-1")) == text
