"""Which metadata each container has a place for, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping

from pix2color.photo.photo import Photo

_ALL = frozenset(("icc", "exif", "xmp", "dpi"))
_NAMES = {"icc": "ICC profile", "exif": "EXIF", "xmp": "XMP", "dpi": "resolution"}
_HELD: Mapping[str, frozenset[str]] = {
    "JPEG": _ALL,
    "PNG": _ALL,
    "TIFF": _ALL,
    "GIF": _ALL,  # is written as PNG
    "JPEG2000": _ALL,
    "WEBP": _ALL - {"dpi"},
    "AVIF": _ALL - {"dpi"},
    "BMP": frozenset(("dpi",)),
    "PPM": frozenset(),
    "TGA": frozenset(),
}
JPEG_SEGMENT = 65_533
"""Bytes of content that one segment of a JPEG holds."""
JPEG_EXIF = JPEG_SEGMENT - len(b"Exif\0\0")
JPEG_XMP = JPEG_SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0")


def held(photo: Photo) -> frozenset[str]:
    """Names of the Photo's fields of metadata (icc, exif, xmp, dpi) that its container can hold."""
    if photo.format == "JPEG2000" and photo.encoder_settings.get("codestream"):
        return frozenset()
    return _HELD.get(photo.format, frozenset())


def left_out(photo: Photo) -> tuple[str, ...]:
    """Notes, in plain words, on metadata of the Photo that its container cannot hold."""
    what = f"a {photo.format} file"
    places = held(photo)
    notes = [
        f"its {name} is left out: {what} has no place for it"
        for field, name in _NAMES.items()
        if getattr(photo, field) and field not in places
    ]
    if photo.format == "JPEG" and photo.xmp and len(photo.xmp) > JPEG_XMP:
        notes.append(f"its XMP of {len(photo.xmp)} bytes is left out: {what} holds {JPEG_XMP}")
    if photo.format != "JPEG" and photo.encoder_settings.get("segments"):
        notes.append(f"its IPTC or extended XMP is left out: {what} has no place for it")
    return tuple(notes)
