"""PNG at 8 and 16 bits. ISO/IEC 15948:2004.

Pillow cannot write 16-bit colour, and compresses on one core. Here bands of lines are filtered and
deflated side by side and joined into one stream, as pigz does; the bands do not depend on the
number of cores, so neither do the bytes.
"""

from __future__ import annotations

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pix2color.photo.photo import Photo

_BAND = 2**21  # bytes of lines deflated at a time
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_UP = 2  # the filter: each byte minus the one above
_LEVEL = 1  # higher ones take twice as long for 4 % of the size
_ADLER = 65_521


def encode(photo: Photo, file: BinaryIO) -> None:
    """Write a Photo (its first page) with its metadata."""
    channels = (1 if photo.gray else 3) + (photo.alpha is not None)
    header = struct.pack(
        ">IIBBBBB", photo.width, photo.height, photo.bits, _COLOUR_TYPE[channels], 0, 0, 0
    )
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", header)
    _metadata(photo, file)
    rows = max(1, _BAND // (photo.width * channels * photo.bits // 8))
    tops = range(0, photo.height, rows)
    total = 1
    _chunk(file, b"IDAT", b"\x78\x01")
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1, len(tops))) as pool:
        for data, adler, length in pool.map(lambda top: _band(photo, top, rows), tops):
            _chunk(file, b"IDAT", data)
            total = _joined(total, adler, length)
    _chunk(file, b"IDAT", struct.pack(">I", total))
    _chunk(file, b"IEND", b"")


def _metadata(photo: Photo, file: BinaryIO) -> None:
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
        keyword = key.encode("latin-1", "replace")[:79]
        _chunk(file, b"iTXt", keyword + b"\0\0\0\0\0" + value.encode())


def _chunk(file: BinaryIO, name: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + name)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))


def _band(photo: Photo, top: int, rows: int) -> tuple[bytes, int, int]:
    """Some lines deflated: the data, the checksum of what was deflated, and its length."""
    lines = _lines(photo, max(0, top - 1), top + rows)
    above = lines[:1] if top else np.zeros((1, lines.shape[1]), np.uint8)
    lines = lines[1:] if top else lines
    out = np.empty((len(lines), lines.shape[1] + 1), np.uint8)
    out[:, 0] = _UP
    np.subtract(lines[0], above[0], out=out[0, 1:])
    np.subtract(lines[1:], lines[:-1], out=out[1:, 1:])
    squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15, 9)
    last = top + rows >= photo.height
    data = squeeze.compress(out.data) + squeeze.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
    return data, zlib.adler32(out.data), out.size


def _lines(photo: Photo, top: int, bottom: int) -> NDArray[np.uint8]:
    """Rows of the photo as the bytes of PNG: channels beside each other, big-endian."""
    band = photo.pixels[top:bottom]
    if photo.alpha is not None:
        colour = band[..., None] if photo.gray else band
        band = np.concatenate((colour, photo.alpha[top:bottom, :, None]), axis=2)
    band = np.ascontiguousarray(band, dtype=band.dtype.newbyteorder(">"))
    return band.view(np.uint8).reshape(len(band), -1)


def _joined(first: int, second: int, length: int) -> int:
    """Adler-32 of two pieces of data from each one's and the second's length (zlib's combine)."""
    rest = length % _ADLER
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = rest * (first & 0xFFFF) + (first >> 16) + (second >> 16) - rest
    return (high % _ADLER) << 16 | (low % _ADLER)
