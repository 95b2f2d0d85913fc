"""The Photo: an image and its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pix2color.errors import PhotoError

Pixels = NDArray[Any]
"""uint8 or uint16; `Photo` checks which."""


@dataclass(frozen=True)
class Limits:
    """What `read` refuses. The size is checked in the header, before memory is allocated."""

    megapixels: float = 300.0
    """Most pixels, all pages together."""
    on_truncated: Literal["error", "keep"] = "error"
    """A file that ends too early is an error, or is read as far as possible with a note."""


@dataclass(frozen=True, eq=False)
class Photo:
    """One upright photo with the metadata of its file.

    The arrays are read-only views of the caller's, which must not change afterwards.

    Raises:
        PhotoError: an array of another type or shape.
    """

    pixels: Pixels
    """H,W (gray) or H,W,3 (RGB) in the space of `icc`: uint8 in 0..255 or uint16 in 0..65535."""
    alpha: Pixels | None = None
    """H,W opacity, 0 is transparent; of the dtype and range of `pixels`, not premultiplied."""
    icc: bytes | None = None
    """ICC profile of the pixels, a matrix with curves; None: sRGB, or gray with its curve."""
    exif: bytes | None = None
    """EXIF as a TIFF block, without the "Exif" marker; its orientation is 1 or absent."""
    xmp: bytes | None = None
    """XMP packet, in its own encoding."""
    dpi: tuple[float, float] | None = None
    """Horizontal and vertical resolution in dots per inch."""
    format: str = "PNG"
    """Name of the container, as `formats.detect_format` returns it; `write` uses it."""
    encoder_settings: Mapping[str, Any] = field(default_factory=dict)
    """How the source was encoded, read-only; `write` does the same: quantization tables,
    compression, comments."""
    pages: tuple[Photo, ...] = ()
    """The pages after this one (TIFF)."""
    notes: tuple[str, ...] = ()
    """What a user should know about how the file was read, one line each."""

    def __post_init__(self) -> None:
        _check(self.pixels, self.alpha)
        for name in ("pixels", "alpha"):
            array: Pixels | None = getattr(self, name)
            if array is not None:  # a view: the caller's array stays writable
                array = array.view()
                array.flags.writeable = False
                object.__setattr__(self, name, array)
        object.__setattr__(self, "encoder_settings", MappingProxyType(dict(self.encoder_settings)))

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def bits(self) -> int:
        """8 or 16 per channel."""
        return int(self.pixels.dtype.itemsize * 8)

    @property
    def is_gray(self) -> bool:
        """Whether it has one channel."""
        return self.pixels.ndim == 2


def _check(pixels: Pixels, alpha: Pixels | None) -> None:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise PhotoError(f"pixels must be uint8 or uint16, not {pixels.dtype}")
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise PhotoError(f"pixels must be H,W or H,W,3, not {pixels.shape}")
    if 0 in pixels.shape:
        raise PhotoError("the photo has no pixels")
    if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
        raise PhotoError("alpha must be H,W of the pixels' type")
