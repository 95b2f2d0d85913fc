"""Which metadata each container format can store, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping

from pix2color.photo.photo import Photo

_ALL = frozenset(("icc", "exif", "xmp", "dpi"))
_NAMES = {"icc": "ICC profile", "exif": "EXIF", "xmp": "XMP", "dpi": "resolution"}
_SUPPORTED: Mapping[str, frozenset[str]] = {
    "JPEG": _ALL,
    "PNG": _ALL,
    "TIFF": _ALL,
    "GIF": _ALL,  # written as PNG
    "JPEG2000": _ALL,
    "WEBP": _ALL - {"dpi"},
    "AVIF": _ALL - {"dpi"},
    "BMP": frozenset(("dpi",)),
    "PPM": frozenset(),
    "TGA": frozenset(),
}
JPEG_SEGMENT = 65_533
"""Largest content of one JPEG segment, in bytes."""
JPEG_EXIF = JPEG_SEGMENT - len(b"Exif\0\0")
JPEG_XMP = JPEG_SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0")


def supported_metadata(photo: Photo) -> frozenset[str]:
    """Names of the metadata fields (icc, exif, xmp, dpi) that the Photo's container can store."""
    if photo.format == "JPEG2000" and photo.encoder_settings.get("codestream"):
        return frozenset()
    return _SUPPORTED.get(photo.format, frozenset())


def lost_metadata(photo: Photo) -> tuple[str, ...]:
    """One note for each kind of the Photo's metadata that its container cannot store."""
    container = f"a {photo.format} file"
    supported = supported_metadata(photo)
    notes = [
        f"its {name} is left out: {container} cannot store it"
        for field, name in _NAMES.items()
        if getattr(photo, field) and field not in supported
    ]
    if photo.format == "JPEG" and photo.xmp and len(photo.xmp) > JPEG_XMP:
        notes.append(f"its XMP of {len(photo.xmp)} bytes is left out: {container} holds {JPEG_XMP}")
    if photo.format != "JPEG" and photo.encoder_settings.get("segments"):
        notes.append(f"its IPTC or extended XMP is left out: {container} cannot store it")
    return tuple(notes)
