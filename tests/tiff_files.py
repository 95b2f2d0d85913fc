"""TIFF files of any layout, made for tests without the code under test.

Strips are compressed by Python's zlib and lzma, or by Pillow's libtiff as rows of bytes.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

COMPRESSIONS = {
    "none": 1, "rle": 2, "group3": 3, "group4": 4, "lzw": 5, "deflate": 8, "packbits": 32773,
    "old_deflate": 32946, "lzma": 34925, "zstd": 50000,
}  # fmt: skip
_PILLOW = {
    "rle": "tiff_ccitt", "group3": "group3", "group4": "group4", "lzw": "tiff_lzw",
    "packbits": "packbits", "zstd": "zstd",
}  # fmt: skip
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 12: 8}
_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 12: "d"}


def compressed(raw: bytes, name: str, columns: int = 0) -> bytes:
    """A strip; `columns` is the width in pixels for the bilevel codecs."""
    if name == "none":
        return raw
    if name in ("deflate", "old_deflate"):
        return zlib.compress(raw)
    if name == "lzma":
        return lzma.compress(raw)
    if name in ("rle", "group3", "group4"):
        rows = len(raw) // -(-columns // 8)
        image = Image.frombytes("1", (columns, rows), raw)
    else:
        image = Image.frombytes("L", (len(raw), 1), raw)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", compression=_PILLOW[name], strip_size=2**31 - 1)
    tags = TiffImageFile(io.BytesIO(buffer.getvalue())).tag_v2
    (start,), (size,) = tags[273], tags[279]
    return buffer.getvalue()[start : start + size]


def packed(array: np.ndarray, bits: int, order: str) -> bytes:
    """H,W,S values -> bytes of rows that each end with a whole byte."""
    if bits == 16:
        return array.astype(order + "u2").tobytes()
    if bits == 8:
        return array.astype(np.uint8).tobytes()
    rows = array.reshape(len(array), -1, 1).astype(np.uint16)
    each = (rows >> np.arange(bits - 1, -1, -1, dtype=np.uint16)) & 1
    return np.packbits(each.reshape(len(array), -1).astype(np.uint8), axis=1).tobytes()


def predicted(array: np.ndarray) -> np.ndarray:
    """Horizontal differences (TIFF 6.0, section 14)."""
    out = array.copy()
    out[:, 1:] -= array[:, :-1]
    return out


def strips_of(
    array: np.ndarray, *, bits: int, compression: str, separate: bool, order: str, predictor: bool,
    rows: int,
) -> list[bytes]:  # fmt: skip
    planes = [array[..., s : s + 1] for s in range(array.shape[2])] if separate else [array]
    out = []
    for plane in planes:
        for top in range(0, len(array), rows):
            strip = plane[top : top + rows]
            raw = packed(predicted(strip) if predictor else strip, bits, order)
            out.append(compressed(raw, compression, array.shape[1]))
    return out


def tiff(
    array: np.ndarray,
    *,
    photometric: int = 1,
    bits: int = 8,
    compression: str = "none",
    separate: bool = False,
    extra: tuple[int, ...] = (),
    orientation: int = 0,
    order: str = "<",
    predictor: bool = False,
    rows: int = 6,
    tags: tuple[tuple[int, int, tuple[Any, ...]], ...] = (),
    strips: list[bytes] | None = None,
    code: int = 0,
) -> bytes:
    """A TIFF of one page: H,W,S samples of `bits` bits in strips of `rows` rows.

    Args:
        tags: further ones as (code, type, values).
        strips: finished ones in place of the array's own.
        code: the compression's number, for strips of another kind.
    """
    height, width, samples = array.shape
    if strips is None:
        strips = strips_of(
            array, bits=bits, compression=compression, separate=separate, order=order,
            predictor=predictor, rows=rows,
        )  # fmt: skip
    entries: list[tuple[int, int, tuple[Any, ...]]] = [
        (256, 4, (width,)), (257, 4, (height,)), (258, 3, (bits,) * samples),
        (259, 3, (code or COMPRESSIONS[compression],)), (262, 3, (photometric,)),
        (273, 4, (0,) * len(strips)), (277, 3, (samples,)), (278, 4, (rows,)),
        (279, 4, tuple(map(len, strips))), (284, 3, (2 if separate else 1,)),
    ]  # fmt: skip
    if orientation:
        entries.append((274, 3, (orientation,)))
    if predictor:
        entries.append((317, 3, (2,)))
    if extra:
        entries.append((338, 3, extra))
    entries = sorted([*entries, *tags])
    place = 8 + 2 + 12 * len(entries) + 4
    sizes = {tag: _SIZES[kind] * len(values) for tag, kind, values in entries}
    place += sum(size + size % 2 for size in sizes.values() if size > 4)
    offsets = tuple(place + sum(map(len, strips[:i])) for i in range(len(strips)))
    body, beyond = b"", b""
    for tag, kind, values in entries:
        data = struct.pack(
            f"{order}{len(values)}{_FORMATS[kind]}", *(offsets if tag == 273 else values)
        )
        body += struct.pack(order + "HHI", tag, kind, len(values))
        if len(data) > 4:
            body += struct.pack(order + "I", 8 + 2 + 12 * len(entries) + 4 + len(beyond))
            beyond += data + bytes(len(data) % 2)
        else:
            body += data.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(order + "IH", 8, len(entries))
    return head + body + bytes(4) + beyond + b"".join(strips)


def joined(first: bytes, second: bytes) -> bytes:
    """Two little-endian TIFFs of one page as one of two pages (their offsets are moved)."""
    base = len(first) + len(first) % 2
    moved = bytearray(second[8:])
    (count,) = struct.unpack_from("<H", second, 8)
    for i in range(count):
        at = 2 + 12 * i
        tag, kind, number, value = struct.unpack_from("<HHII", moved, at)
        shift = base - 8
        if _SIZES[kind] * number > 4:
            if tag == 273:
                for n in range(number):
                    inner = value - 8 + 4 * n
                    (old,) = struct.unpack_from("<I", moved, inner)
                    struct.pack_into("<I", moved, inner, old + shift)
            struct.pack_into("<I", moved, at + 8, value + shift)
        elif tag == 273:
            struct.pack_into("<I", moved, at + 8, value + shift)
    head = bytearray(first.ljust(base, b"\0"))
    (count,) = struct.unpack_from("<H", first, 8)
    struct.pack_into("<I", head, 10 + 12 * count, base)
    return bytes(head + moved)
