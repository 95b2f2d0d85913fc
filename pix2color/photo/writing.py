"""Photo -> file, in the source's container and as it was encoded."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from pix2color.errors import PhotoError
from pix2color.photo import png
from pix2color.photo.files import whole
from pix2color.photo.photo import Photo

_JPEG_QUALITY = 95
_JPEG_SIDE = 65_500
_SEGMENT = 65_500  # bytes of metadata that one JPEG segment holds


def write(photo: Photo, path: str | Path) -> None:
    """Write a photo with all its metadata: whole or not at all.

    The container is the photo's `format`; the name's ending is the caller's business.

    Raises:
        PhotoError: the disk does not take it, or the container cannot hold it.
    """
    with whole(Path(path)) as file:
        encode(photo, file)


def encode(photo: Photo, file: BinaryIO) -> None:
    """Write a photo into an open file (which must seek)."""
    writers: dict[str, Callable[[Photo, BinaryIO], None]] = {
        "JPEG": _jpeg,
        "PNG": png.encode,
        "TIFF": _tiff,
        "WEBP": _webp,
        "GIF": png.encode,
        "BMP": _plain("BMP"),
        "PPM": _plain("PPM"),
        "TGA": _plain("TGA"),
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

    Raises PhotoError for 16-bit colour, which Pillow does not have.
    """
    shared = _shared(photo)
    if shared is not None:
        return shared.convert("RGB")
    pixels = photo.pixels
    if photo.bits == 16 and not (photo.gray and photo.alpha is None):
        raise PhotoError(f"{photo.format} with 16-bit colour cannot be written; use PNG or TIFF")
    if photo.alpha is not None:
        colour = pixels if pixels.ndim == 3 else pixels[..., None]
        pixels = np.concatenate((colour, photo.alpha[..., None]), axis=2)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _shared(photo: Photo) -> Image.Image | None:
    """Pixels that lie four bytes apart (inference.full_size) as an RGBX image, without a copy."""
    words = photo.pixels.base
    shape = (photo.height, photo.width, 4)
    if photo.alpha is not None or words is None or getattr(words, "shape", None) != shape:
        return None
    return Image.frombuffer("RGBX", (photo.width, photo.height), words, "raw", "RGBX", 0, 1)


def _metadata(photo: Photo) -> dict[str, Any]:
    """What Pillow's writers share."""
    options: dict[str, Any] = {}
    if photo.icc:
        options["icc_profile"] = photo.icc
    if photo.exif:
        options["exif"] = b"Exif\0\0" + photo.exif
    if photo.xmp:
        options["xmp"] = photo.xmp
    if photo.dpi:
        options["dpi"] = photo.dpi
    return options


def _jpeg(photo: Photo, file: BinaryIO) -> None:
    if max(photo.width, photo.height) > _JPEG_SIDE:
        raise PhotoError(f"a JPEG side has at most {_JPEG_SIDE} pixels")
    options = _metadata(photo)
    for name in ("exif", "xmp"):
        if len(options.get(name, b"")) > _SEGMENT:
            del options[name]
    tables = photo.settings.get("tables")
    if tables:
        # One table, of a gray source, serves the colours too: finer than the usual chroma table.
        options["qtables"] = [list(tables[k]) for k in sorted(tables)][:3]
    else:
        options["quality"] = _JPEG_QUALITY
    if photo.settings.get("comment"):
        options["comment"] = photo.settings["comment"]
    if photo.settings.get("progressive"):
        options["progressive"] = True
    image = _shared(photo) or to_pillow(photo).convert("L" if photo.gray else "RGB")
    image.save(file, "JPEG", subsampling="4:4:4", **options)


def _tiff(photo: Photo, file: BinaryIO) -> None:
    from pix2color.photo import tiff

    tiff.encode(photo, file)


def _webp(photo: Photo, file: BinaryIO) -> None:
    lossless = bool(photo.settings.get("lossless"))
    options = _metadata(photo)
    options.pop("dpi", None)
    to_pillow(photo).save(
        file, "WEBP", lossless=lossless, quality=80 if lossless else 95, exact=True, **options
    )


def _jpeg2000(photo: Photo, file: BinaryIO) -> None:
    to_pillow(photo).save(file, "JPEG2000")


def _avif(photo: Photo, file: BinaryIO) -> None:
    options = _metadata(photo)
    options.pop("dpi", None)
    to_pillow(photo).save(file, "AVIF", quality=90, subsampling="4:4:4", **options)


def _plain(name: str) -> Callable[[Photo, BinaryIO], None]:
    def write_plain(photo: Photo, file: BinaryIO) -> None:
        options = {"dpi": photo.dpi} if photo.dpi and name == "BMP" else {}
        to_pillow(photo).save(file, name, **options)

    return write_plain
