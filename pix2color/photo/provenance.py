"""Provenance of a colored photo: EXIF and XMP name what predicted its colors."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pix2color._version import __version__
from pix2color.photo import containers, exif, xmp
from pix2color.photo.containers import JPEG_EXIF, JPEG_XMP
from pix2color.photo.photo import Photo

_NAME = "colors predicted by pix2color"


@dataclass(frozen=True)
class Provenance:
    """What predicted the colors of a photo."""

    weights: str
    """Digest of the weights file."""
    options: str
    """The decode options as text."""

    def text(self) -> str:
        """One line for EXIF's Software."""
        return f"{_NAME} {__version__}, weights {self.weights}, {self.options}"


def add_provenance(photo: Photo, provenance: Provenance) -> Photo:
    """The Photo, all pages, with its provenance in EXIF (Software) and XMP.

    The Software that was there follows ours; earlier provenance of ours is replaced. A container
    that cannot store it gets none, nor does a JPEG's EXIF or XMP that would exceed its segment: the
    user's metadata has precedence.
    """
    software = exif.software(photo.exif) or ""
    others = [part for part in software.split(" | ") if part and not part.startswith(_NAME)]
    properties = {
        "note": _NAME,
        "version": __version__,
        "weights": provenance.weights,
        "options": provenance.options,
    }
    block = exif.update(photo.exif, software=" | ".join([provenance.text(), *others]))
    packet = xmp.set_properties(photo.xmp, properties)
    supported = containers.supported_metadata(photo)
    jpeg = photo.format == "JPEG"
    return replace(
        photo,
        exif=block if "exif" in supported and not (jpeg and len(block) > JPEG_EXIF) else photo.exif,
        xmp=packet if "xmp" in supported and not (jpeg and len(packet) > JPEG_XMP) else photo.xmp,
        pages=tuple(add_provenance(page, provenance) for page in photo.pages),
    )
