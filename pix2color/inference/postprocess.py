"""From a photo's gray values and the network's small ab to its colored pixels.

This is the one way from L and ab to an image: infer.py, evaluation, samples of a training, videos
and the web app call `to_pixels`, or its parts where they need ab on the way.
"""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray

from pix2color import bands
from pix2color.color.icc_matrix import SRGB, ColorSpace
from pix2color.errors import PhotoError
from pix2color.inference import borders, compose, upsample
from pix2color.photo.photo import Pixels

Floats = NDArray[np.float32]


def to_pixels(
    gray: Pixels,
    ab: Floats,
    cell_lightness: Floats,
    guide: Floats,
    color_space: ColorSpace = SRGB,
    *,
    band_pixels: int | None = None,
) -> Pixels:
    """Color a photo: ab is upsampled along edges, kept out of borders, and mapped into the gamut.

    Args:
        gray: H,W uint8 or uint16 (`preprocess.gray_values`).
        ab: 2,h,w in Lab units, a color per cell of the network's output.
        cell_lightness: h,w, the mean L of each cell (`Prediction.cell_lightness`).
        guide: the photo's L at the size to which ab is upsampled (`preprocess.network_input`).
        color_space: of the result.
        band_pixels: pixels worked on at a time; None: `bands.BAND_PIXELS`.

    Returns:
        H,W,3 of gray's type; L differs from gray's by rounding only.

    Raises:
        MemoryError: the photo's pixels or the bands do not fit into memory.
    """
    full = upsample_ab(ab, cell_lightness, guide)
    return compose.compose_rgb(gray, full, color_space, band_pixels=band_pixels)


def to_pixels_within_memory(
    gray: Pixels, ab: Floats, cell_lightness: Floats, guide: Floats, color_space: ColorSpace = SRGB
) -> tuple[Pixels, tuple[str, ...]]:
    """`to_pixels`, in smaller bands where memory runs out; and notes about that.

    Raises:
        PhotoError: not enough memory even for small bands.
    """
    arrays = (gray, ab, cell_lightness, guide, color_space)
    with contextlib.suppress(MemoryError):
        return to_pixels(*arrays), ()
    try:
        pixels = to_pixels(*arrays, band_pixels=bands.BAND_PIXELS // 16)
        return pixels, ("out of memory: colored in smaller bands",)
    except MemoryError:
        raise PhotoError("out of memory: the photo does not fit even in small bands") from None


def upsample_ab(ab: Floats, cell_lightness: Floats, guide: Floats) -> Floats:
    """A network's ab at the guide's size, upsampled along its edges; 0 in borders.

    Args:
        ab: 2,h,w in Lab units.
        cell_lightness: h,w.
        guide: H,W, L at the size wanted.

    Returns:
        2,H,W.
    """
    full = upsample.joint_bilateral_upsample(ab, cell_lightness, guide)
    rows, columns = borders.content_slices(guide)
    content = np.zeros(guide.shape, np.float32)
    content[rows, columns] = 1
    full *= content
    return full
