"""JPEG: the options for encoding a photo as its source was, and the metadata segments.

ISO/IEC 10918-1; EXIF 2.32; Adobe's XMP specification, part 3; Photoshop file formats, "image
resource blocks", which hold IPTC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from pix2color.errors import PhotoError
from pix2color.photo.containers import JPEG_EXIF, JPEG_SEGMENT, JPEG_XMP
from pix2color.photo.photo import Photo

_QUALITY = 95
_LONGEST_SIDE = 65_500
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_THUMBNAILS = (1033, 1036)
"""Photoshop resources with a thumbnail, which would show the photo without colors."""

Segment = tuple[int, bytes]
"""Number of the APPn segment, and its content."""


def preserved_segments(segments: Iterable[tuple[str, bytes]]) -> tuple[Segment, ...]:
    """The segments that a colored photo keeps unchanged.

    These are extended XMP, and the Photoshop resources (with IPTC) but for thumbnails.

    Args:
        segments: Pillow's `JpegImageFile.applist`.
    """
    extended = [(1, s) for name, s in segments if name == "APP1" and s.startswith(_XMP_EXTENSION)]
    blocks = [s for name, s in segments if name == "APP13" and s.startswith(_PHOTOSHOP)]
    resources = b"".join(block.removeprefix(_PHOTOSHOP) for block in blocks)
    reduced = _without_thumbnails(resources)
    if reduced != resources:
        size = JPEG_SEGMENT - len(_PHOTOSHOP)
        blocks = [_PHOTOSHOP + reduced[i : i + size] for i in range(0, len(reduced), size)]
    return (*extended, *((13, block) for block in blocks))


def _without_thumbnails(resources: bytes) -> bytes:
    """Photoshop resources but for thumbnails; unchanged if they cannot be parsed."""
    others, offset = [], 0
    while offset < len(resources):
        if resources[offset : offset + 4] != b"8BIM" or len(resources) < offset + 12:
            return resources
        (number,) = struct.unpack_from(">H", resources, offset + 4)
        name = (resources[offset + 6] + 2) // 2 * 2  # with its length, padded to an even number
        start = offset + 6 + name
        if len(resources) < start + 4:
            return resources
        (length,) = struct.unpack_from(">I", resources, start)
        end = start + 4 + length + length % 2
        if number not in _THUMBNAILS:
            others.append(resources[offset:end])
        offset = end
    return b"".join(others)


def metadata(photo: Photo) -> dict[str, Any]:
    """EXIF, XMP and the source's other segments as options of Pillow's writer.

    EXIF longer than one segment continues in the next ones, as Pillow and ExifTool read it. Longer
    XMP is left out (see `containers.lost_metadata`).
    """
    options: dict[str, Any] = {}
    segments: list[Segment] = []
    if photo.exif:
        options["exif"] = _EXIF + photo.exif[:JPEG_EXIF]
        pieces = range(JPEG_EXIF, len(photo.exif), JPEG_EXIF)
        segments += [(1, _EXIF + photo.exif[i : i + JPEG_EXIF]) for i in pieces]
    if photo.xmp and len(photo.xmp) <= JPEG_XMP:
        segments.append((1, _XMP + photo.xmp))
    segments += photo.encoder_settings.get("segments", ())
    if segments:
        options["extra"] = b"".join(
            struct.pack(">BBH", 0xFF, 0xE0 + number, len(content) + 2) + content
            for number, content in segments
        )
    return options


def options(photo: Photo) -> dict[str, Any]:
    """All options of Pillow's writer: 4:4:4, the source's tables, metadata.

    Raises:
        PhotoError: a side is longer than a JPEG's may be.
    """
    if max(photo.width, photo.height) > _LONGEST_SIDE:
        raise PhotoError(f"a JPEG side has at most {_LONGEST_SIDE} pixels")
    encoding: dict[str, Any] = {"subsampling": "4:4:4", **metadata(photo)}
    tables = photo.encoder_settings.get("tables")
    if tables:
        # A gray source has one table. It is used for chroma too, and finer than the usual one.
        encoding["qtables"] = [list(tables[k]) for k in sorted(tables)][:3]
    else:
        encoding["quality"] = _QUALITY
    if photo.icc:
        encoding["icc_profile"] = photo.icc
    if photo.dpi:
        encoding["dpi"] = photo.dpi
    for name in ("comment", "progressive"):
        if photo.encoder_settings.get(name):
            encoding[name] = photo.encoder_settings[name]
    return encoding
