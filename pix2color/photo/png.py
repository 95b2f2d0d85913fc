"""PNG with 16 bits a channel, which Pillow cannot write in colour. ISO/IEC 15948:2004."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pix2color.photo.photo import Photo

_ROWS = 256  # filtered and compressed at a time
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_UP = 2  # the filter: each byte minus the one above


def encode(photo: Photo, file: BinaryIO, *, level: int = 4) -> None:
    """Write a Photo (its first page) as PNG at its own depth."""
    pixels = photo.pixels if photo.pixels.ndim == 3 else photo.pixels[..., None]
    channels = pixels.shape[2] + (photo.alpha is not None)
    header = struct.pack(
        ">IIBBBBB", photo.width, photo.height, photo.bits, _COLOUR_TYPE[channels], 0, 0, 0
    )
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", header)
    if photo.icc:
        _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.icc))
    if photo.dpi:
        per_metre = [round(d / 0.0254) for d in photo.dpi]
        _chunk(file, b"pHYs", struct.pack(">IIB", *per_metre, 1))
    if photo.exif:
        _chunk(file, b"eXIf", photo.exif)
    if photo.xmp:
        _chunk(file, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + photo.xmp)
    for key, value in photo.settings.get("text", {}).items():
        _chunk(file, b"iTXt", key.encode("latin-1", "replace") + b"\0\0\0\0\0" + value.encode())
    squeeze = zlib.compressobj(level)
    for rows in _filtered(pixels, photo.alpha):
        data = squeeze.compress(rows)
        if data:
            _chunk(file, b"IDAT", data)
    _chunk(file, b"IDAT", squeeze.flush())
    _chunk(file, b"IEND", b"")


def _chunk(file: BinaryIO, name: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + name)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))


def _filtered(pixels: NDArray, alpha: NDArray | None) -> Iterator[bytes]:
    """Bands of scan lines, each with its filter byte."""
    height = pixels.shape[0]
    above: NDArray[np.uint8] | None = None
    for top in range(0, height, _ROWS):
        band = pixels[top : top + _ROWS]
        if alpha is not None:
            band = np.concatenate((band, alpha[top : top + _ROWS, :, None]), axis=2)
        big_endian = np.ascontiguousarray(band.astype(band.dtype.newbyteorder(">")))
        lines = big_endian.view(np.uint8).reshape(len(band), -1)
        first = np.zeros((1, lines.shape[1]), np.uint8) if above is None else above
        out = np.empty((len(lines), lines.shape[1] + 1), np.uint8)
        out[:, 0] = _UP
        np.subtract(lines, np.concatenate((first, lines[:-1])), out=out[:, 1:])
        above = lines[-1:]
        yield out.tobytes()
