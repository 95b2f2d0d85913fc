"""Photographs as files: pixels and everything else of a file that must survive coloring.

`read` and `write` go through `Photo`, an immutable value. This package needs numpy and Pillow alone
(tifffile for TIFF, on first use), so that photos can be read before torch has been imported.
"""

from __future__ import annotations

from pix2color.photo.formats import PHOTO_SUFFIXES
from pix2color.photo.photo import Limits, Photo
from pix2color.photo.provenance import Provenance, add_provenance
from pix2color.photo.reading import read
from pix2color.photo.writing import write

__all__ = ["PHOTO_SUFFIXES", "Limits", "Photo", "Provenance", "add_provenance", "read", "write"]
