"""JPEG: the options for encoding a photo as its source was, and the metadata segments.

ISO/IEC 10918-1; EXIF 2.32; Adobe's XMP specification, part 3; Photoshop file formats, "image
resource blocks", which hold IPTC.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import IO, Any, BinaryIO

from PIL import Image

from pix2color import bands
from pix2color.errors import PhotoError
from pix2color.photo.containers import JPEG_EXIF, JPEG_SEGMENT, JPEG_XMP
from pix2color.photo.photo import Photo

_QUALITY = 95
_LONGEST_SIDE = 65_500
_BLOCK = 8  # rows of a block, and at 4:4:4 of a row of coded units
_STRIP_PIXELS = 2**21
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_THUMBNAILS = (1033, 1036)
"""Photoshop resources with a thumbnail, which would show the photo without colors."""
_SIZE_MARKERS, _SCAN_MARKER = (0xC0, 0xC1), 0xDA
_END = b"\xff\xd9"

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


def encode(
    rows_image: Callable[[slice], Image.Image],
    size: tuple[int, int],
    options: dict[str, Any],
    file: BinaryIO,
) -> None:
    """Write a JPEG; a large one in strips that are encoded on all cores at once.

    A strip is a restart interval: its prediction and its bits start anew. The file is the one that
    Pillow writes with a restart marker after as many rows.

    Args:
        rows_image: those rows of the image.
        size: width and height.
        options: of Pillow's writer (`options`).
        file: open for writing.
    """
    width, height = size
    blocks = max(1, _STRIP_PIXELS // width // _BLOCK)
    if height <= blocks * _BLOCK or options.get("progressive"):
        file.write(_encoded(rows_image(slice(0, height)), options))
        return
    coding: dict[str, Any] = {
        k: options[k] for k in ("subsampling", "qtables", "quality") if k in options
    }
    first = options | {"restart_marker_rows": blocks}

    def strip(top: int) -> bytes:
        rows = slice(top, min(top + blocks * _BLOCK, height))
        return _encoded(rows_image(rows), coding if top else first)

    strips = bands.in_parallel(strip, range(0, height, blocks * _BLOCK))
    head, scan = _header_sizes(strips[0])
    file.write(strips[0][: head + 5] + struct.pack(">H", height) + strips[0][head + 7 : scan])
    for number, data in enumerate(strips):
        if number:
            file.write(bytes((0xFF, 0xD0 + (number - 1) % 8)))
        file.write(memoryview(data)[_header_sizes(data)[1] : -2])
    file.write(_END)


def _encoded(image: Image.Image, options: dict[str, Any]) -> bytes:
    """An image as Pillow writes it into a file with a descriptor.

    Its encoder lets other threads run for such a file only, not for `io.BytesIO`.
    """
    with _temporary_file() as file:
        image.save(file, "JPEG", **options)
        file.seek(0)
        data = file.read()
    if not data.endswith(_END):  # Pillow misses a short write
        raise OSError(errno.ENOSPC, "no space left for temporary files")
    return data


def _temporary_file() -> IO[bytes]:
    """A file without a name, in memory where the system has such files."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("jpeg"), "w+b")
    return tempfile.TemporaryFile()


def _header_sizes(data: bytes) -> tuple[int, int]:
    """Where the segment with the image's size begins in a JPEG, and where its scan's data do."""
    offset = size = 2
    while True:
        marker, length = struct.unpack_from(">xBH", data, offset)
        if marker in _SIZE_MARKERS:
            size = offset
        offset += 2 + length
        if marker == _SCAN_MARKER:
            return size, offset
