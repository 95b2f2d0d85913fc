"""Writing photos in the container of their source, encoded as the source was."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from pix2color.errors import PhotoError
from pix2color.io import atomic_open
from pix2color.photo import jp2, jpeg, png
from pix2color.photo.containers import lost_metadata
from pix2color.photo.photo import Photo, Pixels


def write(photo: Photo, path: str | Path) -> tuple[str, ...]:
    """Write a photo with its metadata, atomically.

    `photo.format` alone decides on the container; the suffix of `path` is not looked at.

    Returns:
        One note for each kind of metadata that the container cannot store: none for a photo that
        was read from the same container.

    Raises:
        PhotoError: the file cannot be written, or the container cannot store such pixels.
    """
    with atomic_open_photo(Path(path)) as file:
        encode(photo, file)
    return lost_metadata(photo)


@contextlib.contextmanager
def atomic_open_photo(path: Path) -> Iterator[BinaryIO]:
    """`io.atomic_open` whose failure is a PhotoError."""
    try:
        with atomic_open(path) as file:
            yield file
    except OSError as error:
        raise PhotoError(f"cannot be written: {error.strerror or error}") from error


def encode(photo: Photo, file: BinaryIO) -> None:
    """Write a photo into an open file or `io.BytesIO`, which must seek and read.

    Raises:
        PhotoError: the container cannot store such pixels.
    """
    writers: dict[str, Callable[[Photo, BinaryIO], None]] = {
        "JPEG": _jpeg,
        "PNG": png.encode,
        "TIFF": _tiff,
        "WEBP": _webp,
        "GIF": png.encode,
        "BMP": _pillow_writer("BMP"),
        "PPM": _pillow_writer("PPM"),
        "TGA": _pillow_writer("TGA"),
        "JPEG2000": _jpeg2000,
        "AVIF": _avif,
    }
    if photo.format not in writers:
        raise PhotoError(f"no writer for {photo.format}; there are {', '.join(writers)}")
    try:
        writers[photo.format](photo, file)
    except (ValueError, struct.error, SystemError) as error:
        raise PhotoError(f"cannot be written as {photo.format}: {error}") from None


def to_pillow(photo: Photo) -> Image.Image:
    """The pixels (8 bits, or 16-bit gray) as a Pillow image.

    Raises PhotoError for 16-bit color, which Pillow does not have.
    """
    words = _rgbx_words(photo)
    if words is not None:
        return _rgbx_image(words).convert("RGB")
    pixels = photo.pixels
    if photo.bits == 16 and not (photo.is_gray and photo.alpha is None):
        raise PhotoError(f"{photo.format} with 16-bit color cannot be written; use PNG or TIFF")
    if photo.alpha is not None:
        color = pixels if pixels.ndim == 3 else pixels[..., None]
        pixels = np.concatenate((color, photo.alpha[..., None]), axis=2)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _rgbx_words(photo: Photo) -> Pixels | None:
    """The pixels' memory as H,W,4, where it is laid out so and there is no alpha.

    `inference.compose` returns 8-bit pixels as the first three of every four bytes of an array.
    None for any other view of such an array, such as a mirrored one.
    """
    pixels, words = photo.pixels, photo.pixels.base
    if (
        photo.alpha is not None
        or not isinstance(words, np.ndarray)
        or words.dtype != np.uint8
        or words.shape != (photo.height, photo.width, 4)
        or not words.flags.c_contiguous
        or pixels.strides != words.strides
        or pixels.ctypes.data != words.ctypes.data
    ):
        return None
    return words


def _rgbx_image(words: Pixels) -> Image.Image:
    """An RGBX image of `_rgbx_words`, or of some of its rows, without a copy."""
    height, width = words.shape[:2]
    return Image.frombuffer("RGBX", (width, height), words, "raw", "RGBX", 0, 1)


def _metadata(photo: Photo) -> dict[str, Any]:
    """Metadata options of Pillow's writers for WebP and AVIF."""
    options: dict[str, Any] = {}
    if photo.icc:
        options["icc_profile"] = photo.icc
    if photo.exif:
        options["exif"] = b"Exif\0\0" + photo.exif
    if photo.xmp:
        options["xmp"] = photo.xmp
    return options


def _jpeg(photo: Photo, file: BinaryIO) -> None:
    options = jpeg.options(photo)
    words = _rgbx_words(photo)
    if words is None:
        image = to_pillow(photo).convert("L" if photo.is_gray else "RGB")

    def rows_image(rows: slice) -> Image.Image:
        if words is not None:
            return _rgbx_image(words[rows])
        return image.crop((0, rows.start, photo.width, rows.stop))

    jpeg.encode(rows_image, (photo.width, photo.height), options, file)


def _tiff(photo: Photo, file: BinaryIO) -> None:
    from pix2color.photo import tiff

    tiff.encode(photo, file)


def _webp(photo: Photo, file: BinaryIO) -> None:
    lossless = bool(photo.encoder_settings.get("lossless"))
    quality = 80 if lossless else 95
    options = {"lossless": lossless, "quality": quality, "exact": True, **_metadata(photo)}
    to_pillow(photo).save(file, "WEBP", **options)


def _jpeg2000(photo: Photo, file: BinaryIO) -> None:
    bare = bool(photo.encoder_settings.get("codestream"))
    buffer = io.BytesIO()
    to_pillow(photo).save(buffer, "JPEG2000", no_jp2=bare)
    file.write(buffer.getvalue() if bare else jp2.with_metadata(buffer.getvalue(), photo))


def _avif(photo: Photo, file: BinaryIO) -> None:
    options = {"quality": 90, "subsampling": "4:4:4", **_metadata(photo)}
    to_pillow(photo).save(file, "AVIF", **options)


def _pillow_writer(name: str) -> Callable[[Photo, BinaryIO], None]:
    def write_plain(photo: Photo, file: BinaryIO) -> None:
        options = {"dpi": photo.dpi} if photo.dpi and name == "BMP" else {}
        to_pillow(photo).save(file, name, **options)

    return write_plain
