"""sRGB <-> CIE Lab and the gamut mapping that keeps L, in numpy; `lab` has the same for torch.

Functions work on floating arrays of any shape and keep their precision; channels, where there are
three, are last. Ranges: RGB 0..1; L 0..100; a and b in Lab units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pix2color.color import constants as c

Array = NDArray[Any]

RGB_TO_XYZ = np.array(c.RGB_TO_XYZ)
XYZ_TO_RGB = np.array(c.XYZ_TO_RGB)
WHITE = np.array(c.WHITE)
LUMINANCE = RGB_TO_XYZ[1]
"""Y of linear R, G and B."""


def srgb_to_linear(gamma: Array) -> Array:
    """sRGB code values 0..1 -> linear light 0..1."""
    power = ((np.maximum(gamma, c.GAMMA_KNEE) + c.GAMMA_OFFSET) / (1 + c.GAMMA_OFFSET)) ** c.GAMMA
    return np.where(gamma > c.GAMMA_KNEE, power, gamma / c.GAMMA_SLOPE)


def linear_to_srgb(linear: Array) -> Array:
    """Linear light 0..1 -> sRGB code values 0..1."""
    power = np.maximum(linear, c.LINEAR_KNEE)
    np.power(power, 1 / c.GAMMA, out=power)
    power *= 1 + c.GAMMA_OFFSET
    power -= c.GAMMA_OFFSET
    return np.where(linear > c.LINEAR_KNEE, power, linear * c.GAMMA_SLOPE)


def lab_f(t: Array) -> Array:
    """CIE's f: the cube root, and a line near black."""
    return np.where(
        t > c.LAB_KNEE, np.cbrt(np.maximum(t, c.LAB_KNEE)), c.LAB_SLOPE * t + c.LAB_OFFSET
    )


def lab_f_inverse(f: Array) -> Array:
    """The inverse of `lab_f`."""
    cube = f * f
    cube *= f
    dark = f <= c.LAB_KNEE_F
    if dark.any():
        np.copyto(cube, (f - c.LAB_OFFSET) * (1 / c.LAB_SLOPE), where=dark)
    return cube


def rgb_to_lab(rgb: Array) -> Array:
    """sRGB (..., 3) in 0..1 -> Lab (..., 3)."""
    return linear_to_lab(srgb_to_linear(rgb))


def linear_to_lab(linear: Array, to_srgb: NDArray[np.float64] | None = None) -> Array:
    """Linear light (..., 3) -> Lab (..., 3).

    Args:
        to_srgb: 3,3 from another space's linear light to linear sRGB.
    """
    matrix = RGB_TO_XYZ if to_srgb is None else RGB_TO_XYZ @ to_srgb
    xyz = linear @ (matrix / WHITE[:, None]).T.astype(linear.dtype)
    f = lab_f(np.maximum(xyz, 0))
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def lab_to_linear(lab: Array) -> Array:
    """Lab (..., 3) -> linear sRGB (..., 3); outside 0..1 for colors that sRGB lacks."""
    lightness, a, b = np.moveaxis(lab, -1, 0)
    y = (lightness + 16) / 116
    f = np.stack((y + a / 500, y, np.maximum(y - b / 200, 0)), axis=-1)
    return lab_f_inverse(f) @ (XYZ_TO_RGB * WHITE).T.astype(f.dtype)


def lab_to_rgb(lab: Array) -> Array:
    """Lab (..., 3) -> sRGB (..., 3), clipped to 0..1."""
    return linear_to_srgb(np.clip(lab_to_linear(lab), 0, 1))


def lab_to_rgb_in_gamut(lab: Array) -> Array:
    """Lab (..., 3) -> sRGB (..., 3) of the same L; `lab.lab_to_rgb_in_gamut` for torch.

    A color that sRGB lacks is mixed with the gray of its luminance (`gamut_share`).
    """
    lab = np.concatenate((np.clip(lab[..., :1], 0, 100), lab[..., 1:]), axis=-1)
    linear = lab_to_linear(lab)
    luminance = lab_f_inverse((lab[..., 0] + 16) / 116)
    share = gamut_share(luminance, np.moveaxis(linear, -1, 0))[..., None]
    gray = luminance[..., None]
    return linear_to_srgb(np.clip(gray + share * (linear - gray), 0, 1))


def gamut_share(luminance: Array, channels: Any) -> Array:
    """The largest share of a color, 0..1, that keeps every channel within 0..1.

    Mixing with the gray of the same luminance in linear light lowers chroma and keeps L exactly,
    because luminance is linear.

    Args:
        luminance: Y in 0..1.
        channels: three arrays of its shape: linear R, G, B.
    """
    high = np.maximum(np.maximum(channels[0], channels[1]), channels[2])
    low = np.minimum(np.minimum(channels[0], channels[1]), channels[2])
    up = (1 - luminance) / np.maximum(high - luminance, c.EPSILON)
    down = luminance / np.maximum(luminance - low, c.EPSILON)
    return np.minimum(np.minimum(up, down), 1)
