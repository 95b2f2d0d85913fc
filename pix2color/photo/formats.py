"""Formats of photos, identified by their first bytes, and the containers of colored photos."""

from __future__ import annotations

import re

PHOTO_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".dib", ".gif",
     ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpx", ".avif")
)  # fmt: skip
"""Suffixes of the photos in a folder; how a file is read depends on its content."""

UNSUPPORTED_SUFFIXES = frozenset(
    (".heic", ".heif", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2", ".pef",
     ".psd", ".psb", ".xcf", ".jxl", ".pdf", ".svg")
)  # fmt: skip
"""Suffixes of photos that cannot be read: a run names them, and ignores any other file."""

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (8, b"WEBP", "WEBP"),
    (0, b"BM", "BMP"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
)
_DIB_HEADERS = tuple(bytes((size, 0, 0, 0)) for size in (12, 40, 52, 56, 64, 108, 124))

_CONTAINERS = {
    # A palette of 256 colors cannot hold a colored photo; a gray map cannot hold any.
    ".gif": ".png",
    ".pgm": ".ppm",
    ".pbm": ".ppm",
}


def detect_format(head: bytes, suffix: str = "") -> str | None:
    """The format of a file, from its first 16 bytes; None where it cannot be read.

    The suffix matters for TGA and DIB alone, which have no signature.
    """
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    if re.match(rb"P[1-6]\s", head):
        return "PPM"
    if suffix.lower() == ".tga" and len(head) >= 16:
        return "TGA"
    if suffix.lower() == ".dib" and head[:4] in _DIB_HEADERS:
        return "BMP"
    return None


def webp_is_lossless(data: bytes) -> bool:
    """Whether the image of a WebP file is lossless."""
    offset = 12
    while offset + 8 <= len(data):
        name, size = (
            data[offset : offset + 4],
            int.from_bytes(data[offset + 4 : offset + 8], "little"),
        )
        if name in (b"VP8L", b"VP8 "):
            return name == b"VP8L"
        offset += 8 + size + size % 2
    return False


def output_suffix(suffix: str) -> str:
    """The suffix of the colored file: the source's, unless that container cannot store RGB."""
    return _CONTAINERS.get(suffix.lower(), suffix)
