"""Every format of photos: what is written is read again, and files that are wrong are refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageCms

from pix2color.errors import PhotoError
from pix2color.photo import PHOTO_SUFFIXES, Limits, Photo, read, write
from pix2color.photo.formats import detect_format, output_suffix
from pix2color.photo.reading import page_sizes

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@dataclass(frozen=True)
class Format:
    """What a container keeps of a Photo."""

    suffixes: tuple[str, ...]
    lossless: bool = True
    gray: bool = True
    deep: bool = False
    """16 bits."""
    alpha: bool = False
    icc: bool = False
    dpi: bool = False
    written_as: str = ""
    """The format of the colored file, where it is another one."""


FORMATS = {
    "JPEG": Format((".jpg", ".jpeg", ".jpe", ".jfif"), lossless=False, icc=True, dpi=True),
    "PNG": Format((".png",), deep=True, alpha=True, icc=True, dpi=True),
    "TIFF": Format((".tif", ".tiff"), deep=True, alpha=True, icc=True, dpi=True),
    "WEBP": Format((".webp",), lossless=False, gray=False, alpha=True, icc=True),
    "BMP": Format((".bmp",), dpi=True),
    "GIF": Format((".gif",), written_as="PNG"),
    "PPM": Format((".ppm", ".pgm", ".pbm", ".pnm")),
    "TGA": Format((".tga",), alpha=True),
    "JPEG2000": Format((".jp2", ".j2k", ".jpx")),
    "AVIF": Format((".avif",), lossless=False, gray=False, alpha=True, icc=True),
}
KINDS = ("gray", "RGB", "gray 16", "RGB 16", "RGB alpha")
CASES = [
    (name, kind)
    for name, form in FORMATS.items()
    for kind in KINDS
    if (form.deep or "16" not in kind) and (form.alpha or "alpha" not in kind)
]


def picture(kind: str, height: int = 37, width: int = 53) -> Photo:
    """A smooth photo, so that formats with losses lose little."""
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    most, dtype = (65535, np.uint16) if "16" in kind else (255, np.uint8)
    planes = (0.2 + 0.6 * rows, 0.8 - 0.6 * columns, 0.5 + 0.4 * rows * columns)
    stack = np.stack(planes, axis=2) if kind.startswith("RGB") else planes[0]
    alpha = (np.round((0.3 + 0.6 * columns) * most)).astype(dtype) if "alpha" in kind else None
    return Photo(np.round(stack * most).astype(dtype), alpha=alpha)


def written(photo: Photo, name: str, folder: Path) -> Path:
    path = folder / f"photo{FORMATS[name].suffixes[0]}"
    write(replace(photo, format=name), path)
    return path


def plain(photo: Photo) -> np.ndarray:
    """Pixels as H,W,3 in 0..1, so that gray that became RGB compares."""
    pixels = photo.pixels.astype(float) / np.iinfo(photo.pixels.dtype).max
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def test_every_writer_and_every_suffix_is_here(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="no writer for HEIC") as caught:
        write(replace(picture("RGB"), format="HEIC"), tmp_path / "a.heic")
    assert set(re.findall(r"[A-Z]+\d*", str(caught.value).partition("there are")[2])) == set(
        FORMATS
    )
    assert list(tmp_path.iterdir()) == []
    listed = {suffix for form in FORMATS.values() for suffix in form.suffixes}
    assert listed == PHOTO_SUFFIXES - {".dib"}  # a bitmap without its file's header


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_is_written_is_read_again(name: str, kind: str, tmp_path: Path) -> None:
    form, photo = FORMATS[name], picture(kind)
    path = written(photo, name, tmp_path)
    data = path.read_bytes()
    found = read(path)
    assert detect_format(data[:16], path.suffix) == found.format == (form.written_as or name)
    assert (found.height, found.width, found.bits) == (photo.height, photo.width, photo.bits)
    assert found.is_gray == (photo.is_gray and form.gray)
    off = np.abs(plain(found) - plain(photo))
    assert float(off.max()) == 0 if form.lossless else float(off.mean()) < 0.02
    if photo.alpha is None:
        assert found.alpha is None
    else:
        assert found.alpha is not None
        near = np.abs(found.alpha.astype(float) - photo.alpha)
        assert float(near.max()) == 0 if form.lossless else float(near.mean()) < 4
    assert found.notes == ()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (16, 3)])
def test_the_smallest_photos(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    photo = picture("RGB", *size)
    path = written(photo, name, tmp_path)
    found = read(path)
    assert found.pixels.shape == photo.pixels.shape
    assert page_sizes(path.read_bytes(), path.suffix) == [(photo.width, photo.height)]
    assert float(np.abs(plain(found) - plain(photo)).mean()) < 0.05


@pytest.mark.parametrize("name", FORMATS)
def test_metadata_that_the_container_can_store_survives(name: str, tmp_path: Path) -> None:
    form = FORMATS[name]
    photo = replace(picture("RGB"), icc=ICC, dpi=(300.0, 300.0))
    found = read(written(photo, name, tmp_path))
    if form.icc:
        assert found.icc == ICC
    if form.dpi:
        assert found.dpi == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("name", FORMATS)
def test_the_colored_file_has_a_suffix_that_can_be_read(name: str) -> None:
    for suffix in FORMATS[name].suffixes:
        assert output_suffix(suffix) in PHOTO_SUFFIXES
        assert output_suffix(output_suffix(suffix)) == output_suffix(suffix)


@pytest.mark.parametrize("name", FORMATS)
def test_truncated_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = written(picture("RGB"), name, tmp_path)
    data = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(PhotoError) as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_large_photos_are_refused_from_the_header(name: str, tmp_path: Path) -> None:
    path = written(picture("RGB", 40, 50), name, tmp_path)
    read(path, limits=Limits(megapixels=0.002))
    with pytest.raises(PhotoError, match="megapixels"):
        read(path, limits=Limits(megapixels=0.0019))


@pytest.mark.parametrize("name", FORMATS)
def test_a_failed_write_leaves_the_old_file(name: str, tmp_path: Path) -> None:
    """A format that cannot hold the photo: 16-bit color, or a side beyond the container's."""
    path = tmp_path / "photo"
    path.write_bytes(b"before")
    photo = replace(picture("RGB 16"), format=name)
    if FORMATS[name].deep or FORMATS[name].written_as:
        write(photo, path)
        assert read(path).bits == 16
    else:
        with pytest.raises(PhotoError, match="16-bit"):
            write(photo, path)
        assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
