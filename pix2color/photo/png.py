"""PNG at 8 and 16 bits. ISO/IEC 15948:2004.

Pillow cannot write 16-bit color and compresses on one core. Here bands of lines are filtered and
deflated in parallel and joined into one stream, as pigz does. The bands do not depend on the
number of cores, so neither do the bytes.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pix2color.photo.photo import Photo

RAW_EXIF = ("Raw profile type exif", "Raw profile type APP1")
_BAND = 2**21  # bytes of lines deflated at a time
_COLOR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_UP = 2  # the filter: each byte minus the one above
_LEVEL = 1  # higher levels take twice the time and save 4 % of the size
_ADLER = 65_521


def is_deep(image: Any) -> bool:
    """Whether Pillow would read an opened file's 16 bits per channel as 8."""
    tile = image.tile
    return bool(tile) and str(tile[0].args).endswith(";16B") and image.mode in ("RGB", "RGBA", "LA")


def half_images(image: Any, reopen: Callable[[], Any]) -> Iterator[Any]:
    """Images to be loaded whose samples hold the high and the low bytes of a deep image.

    Args:
        image: an opened file for which `is_deep`; it is changed.
        reopen: opens the same file again.
    """
    tile = image.tile[0]
    if tile.args == "LA;16B":  # four bytes per pixel: read as they are
        image.tile = [tile._replace(args="RGBA")]
        image._mode = "RGBA"
        yield image
        return
    yield image
    low = reopen()
    low.tile = [tile._replace(args=str(tile.args).replace(";16B", ";16L"))]
    yield low


def join_halves(halves: list[NDArray[Any]]) -> NDArray[Any]:
    """Pixels of the `half_images` -> H,W,2..4 uint16."""
    if len(halves) == 1:
        return halves[0][..., 0::2] << 8 | halves[0][..., 1::2]
    return halves[0] << 8 | halves[1]


def scale_key(image: Any, data: bytes) -> None:
    """Scale the transparent gray of a PNG of 2 or 4 bits to the 8 bits that Pillow reads."""
    depth, key = data[24], image.info.get("transparency")
    if image.mode == "L" and depth in (2, 4) and isinstance(key, int):
        image.info["transparency"] = key * 255 // (2**depth - 1)


def raw_exif(info: Mapping[Any, Any]) -> bytes | None:
    """The EXIF block from hexadecimal text, its form before the eXIf chunk was standardized."""
    for key in RAW_EXIF:
        text = str(info.get(key, "")).strip().split("\n", 2)  # name, length, digits
        if len(text) == 3:
            try:
                return bytes.fromhex(text[2])
            except ValueError:
                return None
    return None


def encode(photo: Photo, file: BinaryIO) -> None:
    """Write a Photo (its first page) with its metadata."""
    channels = (1 if photo.is_gray else 3) + (photo.alpha is not None)
    header = struct.pack(
        ">IIBBBBB", photo.width, photo.height, photo.bits, _COLOR_TYPE[channels], 0, 0, 0
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
            total = _adler32_combine(total, adler, length)
    _chunk(file, b"IDAT", struct.pack(">I", total))
    _chunk(file, b"IEND", b"")


def _metadata(photo: Photo, file: BinaryIO) -> None:
    if photo.icc:
        _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.icc))
    if photo.dpi:
        per_meter = [round(d / 0.0254) for d in photo.dpi]
        _chunk(file, b"pHYs", struct.pack(">IIB", *per_meter, 1))
    if photo.exif:
        _chunk(file, b"eXIf", photo.exif)
    if photo.xmp:
        _chunk(file, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + photo.xmp)
    for key, value in photo.encoder_settings.get("text", {}).items():
        keyword = key.encode("latin-1", "replace")[:79]
        _chunk(file, b"iTXt", keyword + b"\0\0\0\0\0" + value.encode())


def _chunk(file: BinaryIO, name: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + name)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))


def _band(photo: Photo, top: int, rows: int) -> tuple[bytes, int, int]:
    """Deflate some lines -> the data, and the checksum and length of the lines."""
    lines = _lines(photo, max(0, top - 1), top + rows)
    above = lines[:1] if top else np.zeros((1, lines.shape[1]), np.uint8)
    lines = lines[1:] if top else lines
    out = np.empty((len(lines), lines.shape[1] + 1), np.uint8)
    out[:, 0] = _UP
    np.subtract(lines[0], above[0], out=out[0, 1:])
    np.subtract(lines[1:], lines[:-1], out=out[1:, 1:])
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15, 9)
    last = top + rows >= photo.height
    data = compressor.compress(out.data) + compressor.flush(
        zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH
    )
    return data, zlib.adler32(out.data), out.size


def _lines(photo: Photo, top: int, bottom: int) -> NDArray[np.uint8]:
    """Rows of the photo as bytes: channels interleaved, big-endian."""
    band = photo.pixels[top:bottom]
    if photo.alpha is not None:
        color = band[..., None] if photo.is_gray else band
        band = np.concatenate((color, photo.alpha[top:bottom, :, None]), axis=2)
    band = np.ascontiguousarray(band, dtype=band.dtype.newbyteorder(">"))
    return band.view(np.uint8).reshape(len(band), -1)


def _adler32_combine(first: int, second: int, length: int) -> int:
    """Adler-32 of two pieces of data from each one's and the second's length (zlib's combine)."""
    length %= _ADLER
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = length * (first & 0xFFFF) + (first >> 16) + (second >> 16) - length
    return (high % _ADLER) << 16 | (low % _ADLER)
