"""Whether a photo has colors."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pix2color.color import icc_matrix
from pix2color.color.icc_matrix import SRGB, ColorSpace
from pix2color.photo.photo import Pixels
from pix2color.photo.profiles import to_uint8

MIN_CHROMA = 5.0
"""Chroma in ab units below which colors do not count."""
_SIDE = 64  # pixels of the reduction on which chroma is measured: noise and grain are averaged away
_LEVELS = 64  # groups of like lightness


def is_gray(
    pixels: Pixels,
    min_chroma: float = MIN_CHROMA,
    *,
    space: ColorSpace = SRGB,
    ignore_tone: bool = False,
) -> bool:
    """Whether the 95th percentile of a photo's chroma is below `min_chroma`.

    Args:
        pixels: H,W (always gray) or H,W,3, uint8 or uint16.
        min_chroma: in ab units.
        space: of the pixels.
        ignore_tone: the tone of a sepia or blue print is no color. A tone gives one color to each
            lightness, so ab is then counted from the median ab of like lightness. A colored photo
            of one subject before a plain sky or sea can pass for toned: of 1,000 training photos
            7 did, and 6 of them were photos with colors. So this is not for choosing photos.
    """
    if pixels.ndim == 2:
        return True
    small = Image.fromarray(to_uint8(pixels)).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    ab = _ab(np.asarray(small), space).reshape(-1, 2)
    if ignore_tone:
        order = np.argsort(np.asarray(small.convert("L")), axis=None, kind="stable")
        alike = ab[order].reshape(_LEVELS, -1, 2)
        ab = (alike - np.median(alike, axis=1, keepdims=True)).reshape(-1, 2)
    return bool(np.percentile(np.linalg.norm(ab, axis=-1), 95) < min_chroma)


def _ab(pixels: Pixels, space: ColorSpace) -> np.ndarray:
    linear = np.stack([space.decode(c, pixels[..., c] / 255.0) for c in range(3)], axis=-1)
    xyz = linear @ (icc_matrix.RGB_TO_XYZ @ space.matrix).T / icc_matrix.WHITE
    f = np.where(xyz > 0.008856, np.cbrt(np.maximum(xyz, 0.008856)), 7.787 * xyz + 16.0 / 116.0)
    return np.stack((500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])), axis=-1)
