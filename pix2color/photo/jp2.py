"""The boxes of a JP2 file that hold metadata: profile, resolution, EXIF, XMP.

Pillow reads only the resolution and writes none of them. ISO/IEC 15444-1, annex I.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from pix2color.photo.photo import Photo

_EXIF = b"JpgTiffExif->JP2"
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_ICC_METHOD = 2  # of the colr box: a restricted ICC profile
_LARGEST_TERM = 65_535


def metadata(data: bytes) -> dict[str, Any]:
    """The exif, xmp and icc_profile that a file has; a bare codestream has none."""
    info: dict[str, Any] = {}
    for name, body in _boxes(data):
        if name == b"uuid" and body[:16] == _EXIF:
            info["exif"] = body[16:].removeprefix(b"Exif\0\0")
        elif name == b"uuid" and body[:16] == _XMP:
            info["xmp"] = body[16:]
        elif name == b"jp2h":
            for inner, content in _boxes(body):
                if inner == b"colr" and content[:1] in (b"\x02", b"\x03"):  # methods: ICC
                    info["icc_profile"] = content[3:]
    return info


def with_metadata(data: bytes, photo: Photo) -> bytes:
    """A JP2 file with the Photo's profile, resolution, EXIF and XMP.

    Args:
        data: a JP2 file as Pillow writes it.
    """
    pieces = []
    for kind, content in _boxes(data):
        if kind == b"jp2c":  # metadata precedes the codestream
            if photo.exif:
                pieces.append(_box(b"uuid", _EXIF + photo.exif))
            if photo.xmp:
                pieces.append(_box(b"uuid", _XMP + photo.xmp))
        pieces.append(_box(kind, _header(content, photo) if kind == b"jp2h" else content))
    return b"".join(pieces)


def _header(content: bytes, photo: Photo) -> bytes:
    """The header's boxes with the profile in offset of the named space, and the resolution."""
    pieces = []
    for kind, inner in _boxes(content):
        if kind == b"colr" and photo.icc:
            inner = bytes((_ICC_METHOD, 0, 0)) + photo.icc
        pieces.append(_box(kind, inner))
    if photo.dpi:
        across, down = (_ratio(d) for d in photo.dpi)
        numbers = (*down[:2], *across[:2], down[2], across[2])
        pieces.append(_box(b"res ", _box(b"resc", struct.pack(">4H2b", *numbers))))
    return b"".join(pieces)


def _ratio(dpi: float) -> tuple[int, int, int]:
    """Dots per meter as numerator, denominator (16 bits each) and exponent of ten."""
    dots, exponent = dpi / 0.0254, 0
    while dots > _LARGEST_TERM:
        dots, exponent = dots / 10, exponent + 1
    ratio = Fraction(dots).limit_denominator(max(1, int(_LARGEST_TERM / max(dots, 1))))
    return ratio.numerator, ratio.denominator, exponent


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of consecutive boxes, up to the first broken one."""
    offset = 0
    while offset + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, offset)
        head = 8
        if size == 1 and offset + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, offset + 8)
            head = 16
        elif size == 0:  # to the end of the file
            size = len(data) - offset
        if size < head or offset + size > len(data):
            return
        yield name, data[offset + head : offset + size]
        offset += size


def _box(kind: bytes, content: bytes) -> bytes:
    length = len(content) + 8
    if length < 2**32:
        return struct.pack(">I4s", length, kind) + content
    return struct.pack(">I4sQ", 1, kind, length + 8) + content
