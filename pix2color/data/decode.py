"""Photo files -> the sRGB pixels of training and evaluation, read as photos to be colored are."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from pix2color.photo import read
from pix2color.photo.profiles import srgb_pixels

Pixels = npt.NDArray[np.uint8]
"""H,W,3 sRGB."""


def decode(data: bytes, side: int | None = None, *, name: str = "") -> Pixels:
    """The pixels of `photo.read` in sRGB at 8 bits per channel, reduced with a Lanczos filter.

    A transparent photo keeps the colors under its alpha, as when it is colored.

    Args:
        data: the file's bytes, in any format of `photo.PHOTO_SUFFIXES`.
        side: largest shorter side in pixels; a larger photo is reduced, none is enlarged.
        name: the file's name, whose suffix identifies formats without a signature.

    Returns:
        uint8 H,W,3, contiguous and writable.

    Raises:
        PhotoError: as `photo.read`. The message is the reason alone, without a name.
    """
    photo = read(data, suffix=suffix_of(name), min_side=None if side is None else 2 * side)
    pixels = srgb_pixels(photo)
    if side is None or min(photo.height, photo.width) <= side:
        return np.array(pixels)
    scale = side / min(photo.height, photo.width)
    size = (max(side, round(photo.width * scale)), max(side, round(photo.height * scale)))
    small = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.array(small)


def suffix_of(name: str) -> str:
    """The suffix of a `FileRef`'s name, without the "#2" that marks a second file of one name."""
    return PurePosixPath(name).suffix.partition("#")[0]
