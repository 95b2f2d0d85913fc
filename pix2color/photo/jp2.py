"""Metadata of JP2 files that Pillow does not read: profile, EXIF, XMP. ISO/IEC 15444-1, annex I."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_EXIF = b"JpgTiffExif->JP2"
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def metadata(data: bytes) -> dict[str, Any]:
    """exif, xmp and icc_profile of a file, as far as it has them; a bare codestream has none."""
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


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of the boxes that follow each other, up to one that cannot be."""
    place = 0
    while place + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        head = 8
        if size == 1 and place + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, place + 8)
            head = 16
        elif size == 0:  # to the end of the file
            size = len(data) - place
        if size < head or place + size > len(data):
            return
        yield name, data[place + head : place + size]
        place += size
