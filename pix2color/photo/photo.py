"""The Photo: pixels and everything that must survive coloring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pix2color.errors import PhotoError

Pixels = NDArray[Any]
"""uint8 or uint16; which of the two is checked when a Photo is made."""


@dataclass(frozen=True)
class Limits:
    """What `read` refuses from the header alone, before any memory is taken."""

    megapixels: float = 300.0
    """Largest photo, all pages together."""
    on_truncated: Literal["error", "keep"] = "error"
    """A file that ends too early: an error, or read as far as it goes and said so."""


@dataclass(frozen=True, eq=False)
class Photo:
    """One photograph, upright, and what else its file held.

    Its arrays are read-only views of those that were given, which must not change afterwards.
    """

    pixels: Pixels
    """H,W (gray) or H,W,3 (RGB) in `icc`'s space, uint8 or uint16 over their full range."""
    alpha: Pixels | None = None
    """H,W opacity of the pixels' type."""
    icc: bytes | None = None
    """Profile of the pixels; None means sRGB (or the gray of sRGB's curve)."""
    exif: bytes | None = None
    """EXIF as a TIFF block, without the "Exif" marker; its orientation has been applied."""
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    """Horizontal, vertical dots an inch."""
    format: str = "PNG"
    """Name of the container, as in `formats.sniff`."""
    encoder_settings: Mapping[str, Any] = field(default_factory=dict)
    """How the source was encoded, for writing alike: quantization tables, compression, comments."""
    pages: tuple[Photo, ...] = ()
    """The pages after this one (TIFF)."""
    notes: tuple[str, ...] = ()
    """What a user should know about how it was read, in plain words."""

    def __post_init__(self) -> None:
        _check(self.pixels, self.alpha)
        for name in ("pixels", "alpha"):
            array: Pixels | None = getattr(self, name)
            if array is not None:  # a view: the caller's own array stays writable
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
        """8 or 16 a channel."""
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
