"""The mark of a colored photo: its colors are guesses, and its metadata says whose."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pix2color._version import __version__
from pix2color.photo import containers, exif, xmp
from pix2color.photo.containers import JPEG_EXIF, JPEG_XMP
from pix2color.photo.photo import Photo

_NAME = "colors predicted by pix2color"


@dataclass(frozen=True)
class Provenance:
    """What colored a photo."""

    weights: str
    """Digest of the weights' file."""
    options: str
    """The decoding, as words."""

    def text(self) -> str:
        """One line for EXIF's Software."""
        return f"{_NAME} {__version__}, weights {self.weights}, {self.options}"


def add_provenance(photo: Photo, mark: Provenance) -> Photo:
    """The Photo, all pages, with the mark in EXIF (Software) and XMP.

    Software that was named before stays behind it; an older mark of ours is replaced. The mark is
    left out of a container that has no place for it, and of a JPEG's EXIF or XMP that would
    outgrow its segment by it: the user's metadata goes first.
    """
    before = exif.software(photo.exif)
    earlier = [part for part in (before or "").split(" | ") if part and not part.startswith(_NAME)]
    properties = {
        "note": _NAME,
        "version": __version__,
        "weights": mark.weights,
        "options": mark.options,
    }
    block = exif.update(photo.exif, software=" | ".join([mark.text(), *earlier]))
    packet = xmp.set_properties(photo.xmp, properties)
    places = containers.held(photo)
    jpeg = photo.format == "JPEG"
    return replace(
        photo,
        exif=block if "exif" in places and not (jpeg and len(block) > JPEG_EXIF) else photo.exif,
        xmp=packet if "xmp" in places and not (jpeg and len(packet) > JPEG_XMP) else photo.xmp,
        pages=tuple(add_provenance(page, mark) for page in photo.pages),
    )
