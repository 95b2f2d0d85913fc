"""JPEG: encoding as the source was encoded, and the segments of its metadata.

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
"""Photoshop's resources that would show the photo as it was."""

Segment = tuple[int, bytes]
"""Number of the APPn segment, and its content."""


def kept_segments(segments: Iterable[tuple[str, bytes]]) -> tuple[Segment, ...]:
    """The segments that a colored photo takes over as they are.

    These are extended XMP, and Photoshop's resources with IPTC but without their thumbnails.

    Args:
        segments: Pillow's `JpegImageFile.applist`.
    """
    kept = [(1, s) for name, s in segments if name == "APP1" and s.startswith(_XMP_EXTENSION)]
    blocks = [s for name, s in segments if name == "APP13" and s.startswith(_PHOTOSHOP)]
    resources = b"".join(block.removeprefix(_PHOTOSHOP) for block in blocks)
    others = _without_thumbnails(resources)
    if others != resources:
        room = JPEG_SEGMENT - len(_PHOTOSHOP)
        blocks = [_PHOTOSHOP + others[i : i + room] for i in range(0, len(others), room)]
    return (*kept, *((13, block) for block in blocks))


def _without_thumbnails(resources: bytes) -> bytes:
    """Photoshop's resources but for thumbnails; all of them where they cannot be read."""
    kept, place = [], 0
    while place < len(resources):
        if resources[place : place + 4] != b"8BIM" or len(resources) < place + 12:
            return resources
        (number,) = struct.unpack_from(">H", resources, place + 4)
        name = (resources[place + 6] + 2) // 2 * 2  # with its length, padded to an even number
        start = place + 6 + name
        if len(resources) < start + 4:
            return resources
        (length,) = struct.unpack_from(">I", resources, start)
        end = start + 4 + length + length % 2
        if number not in _THUMBNAILS:
            kept.append(resources[place:end])
        place = end
    return b"".join(kept)


def metadata(photo: Photo) -> dict[str, Any]:
    """EXIF, XMP and the source's other segments as options of Pillow's writer.

    EXIF that is longer than a segment goes on in the next ones, as Pillow and ExifTool read it.
    XMP that is longer is left out (see `containers.left_out`).
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
    chosen: dict[str, Any] = {"subsampling": "4:4:4", **metadata(photo)}
    tables = photo.encoder_settings.get("tables")
    if tables:
        # One table, of a gray source, serves the colors too: finer than the usual chroma table.
        chosen["qtables"] = [list(tables[k]) for k in sorted(tables)][:3]
    else:
        chosen["quality"] = _QUALITY
    if photo.icc:
        chosen["icc_profile"] = photo.icc
    if photo.dpi:
        chosen["dpi"] = photo.dpi
    for name in ("comment", "progressive"):
        if photo.encoder_settings.get(name):
            chosen[name] = photo.encoder_settings[name]
    return chosen
