"""Reading and writing photo files: pixels and everything else that must survive coloring.

`read` returns a `Photo`, an immutable value, and `write` takes one. The package imports numpy and
Pillow alone (tifffile for TIFF, on first use), so photos can be read before torch is imported.
"""

from __future__ import annotations

from pix2color.photo.formats import PHOTO_SUFFIXES
from pix2color.photo.photo import Limits, Photo
from pix2color.photo.provenance import Provenance, add_provenance
from pix2color.photo.reading import read
from pix2color.photo.writing import encode, write

__all__ = [
    "PHOTO_SUFFIXES",
    "Limits",
    "Photo",
    "Provenance",
    "add_provenance",
    "encode",
    "read",
    "write",
]
