"""Color: sRGB <-> CIE Lab, the gray that stands for L, and a gamut mapping that keeps L.

Everything works on tensors of any shape with the channels in dimension `-3` (B,C,H,W or C,H,W), on
any device, in float32 even inside autocast (bf16 would cost up to 11 levels of 255), and has finite
gradients everywhere, black and white included. `lab_numpy` has the same for numpy; constants and
sources of the formulas are in `constants`.

Ranges: RGB 0..1; L 0..100; a and b in Lab units, about -86..98 and -108..95 inside sRGB.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pix2color.color import constants as c

_GAMUT_SLACK = 1e-4  # linear light; grays are out of gamut by less than this through rounding


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB -> Lab.

    Args:
        rgb: ...,3,H,W in 0..1; integer tensors are taken as 0..255.

    Returns:
        ...,3,H,W float32: L in 0..100, a, b in Lab units.
    """
    with _autocast_off(rgb):
        xyz = _apply_matrix(_to_linear(_as_float(rgb)), c.RGB_TO_XYZ, c.WHITE)
        fx, fy, fz = _lab_f(xyz).unbind(-3)
        return torch.stack((116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)), dim=-3)


def rgb_to_lightness(rgb: Tensor) -> Tensor:
    """sRGB -> L alone: ...,3,H,W in 0..1 (or integers 0..255) -> ...,1,H,W in 0..100."""
    with _autocast_off(rgb):
        luminance = _apply_matrix(_to_linear(_as_float(rgb)), c.RGB_TO_XYZ[1:2], (1.0,))
        return 116.0 * _lab_f(luminance) - 16.0


def lab_to_rgb(lab: Tensor, *, clip: bool = True) -> Tensor:
    """Lab -> sRGB.

    Args:
        lab: ...,3,H,W.
        clip: clip to 0..1. Without it, colors outside sRGB keep a useful gradient (the power's
            line goes on below 0), for losses that look at RGB.

    Returns:
        ...,3,H,W float32.
    """
    with _autocast_off(lab):
        rgb = _to_gamma(_lab_to_linear(lab.float()))
        return rgb.clamp(0.0, 1.0) if clip else rgb


def lightness_to_gray(lightness: Tensor) -> Tensor:
    """L -> the sRGB gray that has this L: same shape, 0..1.

    This, not L / 100, is what a network pretrained on photos has to see of a gray photo.
    """
    with _autocast_off(lightness):
        return _to_gamma(_lab_f_inverse((lightness.float() + 16.0) / 116.0)).clamp(0.0, 1.0)


def gray_to_lightness(gray: Tensor) -> Tensor:
    """sRGB gray in 0..1 (or integers 0..255) -> L in 0..100, same shape."""
    with _autocast_off(gray):
        return 116.0 * _lab_f(_to_linear(_as_float(gray))) - 16.0


def lab_to_rgb_in_gamut(lab: Tensor) -> Tensor:
    """Lab -> sRGB of the same L: what a photo is colored with (`lab_numpy.lab_to_rgb_in_gamut`).

    A color that sRGB lacks is mixed, in linear light, with the gray of its luminance: this lowers
    chroma, and keeps L because luminance is linear. The share is the largest that fits; it is
    constant for the gradient. L is clamped to 0..100 first: no other L has any color.

    Args:
        lab: ...,3,H,W.

    Returns:
        ...,3,H,W float32 in 0..1.
    """
    with _autocast_off(lab):
        lightness, ab = lab.float().split((1, 2), dim=-3)
        lightness = lightness.clamp(0.0, 100.0)
        linear = _lab_to_linear(torch.cat((lightness, ab), dim=-3))
        gray = _lab_f_inverse((lightness + 16.0) / 116.0)
        with torch.no_grad():
            high, low = linear.amax(-3, keepdim=True), linear.amin(-3, keepdim=True)
            up = (1.0 - gray) / (high - gray).clamp_min(c.EPSILON)
            down = gray / (gray - low).clamp_min(c.EPSILON)
            share = torch.minimum(up, down).clamp(0.0, 1.0)
        return _to_gamma((gray + share * (linear - gray)).clamp(0.0, 1.0))


def reduce_chroma_to_gamut(lab: Tensor, *, steps: int = 12) -> Tensor:
    """Lower the chroma of colors outside sRGB until they fit; L and hue stay.

    The largest factor on (a, b) that still fits is found by bisection to 2 ** -steps; it is
    constant for the gradient. L is clamped to 0..100 first: no other L has any color.

    Args:
        lab: ...,3,H,W.

    Returns:
        ...,3,H,W float32 inside sRGB (up to rounding in linear light of 1e-4).
    """
    with _autocast_off(lab):
        lightness, ab = lab.float().split((1, 2), dim=-3)
        lightness = lightness.clamp(0.0, 100.0)
        with torch.no_grad():
            factor = torch.ones_like(lightness)
            outside = ~_fits(lightness, ab)
            if bool(outside.any()):
                inner = torch.zeros_like(lightness)
                outer = torch.ones_like(lightness)
                for _ in range(steps):
                    middle = (inner + outer) / 2
                    fits = _fits(lightness, ab * middle)
                    inner = torch.where(fits, middle, inner)
                    outer = torch.where(fits, outer, middle)
                factor = torch.where(outside, inner, factor)
        return torch.cat((lightness, ab * factor), dim=-3)


def _fits(lightness: Tensor, ab: Tensor) -> Tensor:
    linear = _lab_to_linear(torch.cat((lightness, ab), dim=-3))
    inside = (linear >= -_GAMUT_SLACK) & (linear <= 1.0 + _GAMUT_SLACK)
    return inside.all(dim=-3, keepdim=True)


def _lab_to_linear(lab: Tensor) -> Tensor:
    lightness, a, b = lab.unbind(-3)
    fy = (lightness + 16.0) / 116.0
    f = torch.stack((fy + a / 500.0, fy, (fy - b / 200.0).clamp_min(0.0)), dim=-3)
    white = f.new_tensor(c.WHITE).view(3, 1, 1)
    return _apply_matrix(_lab_f_inverse(f) * white, c.XYZ_TO_RGB, (1.0, 1.0, 1.0))


# Each power is taken of a value clamped into its own branch: `where` alone would still send the
# other branch's infinite slope through the gradient as NaN.


def _to_linear(gamma: Tensor) -> Tensor:
    power = ((gamma.clamp_min(c.GAMMA_KNEE) + c.GAMMA_OFFSET) / (1 + c.GAMMA_OFFSET)) ** c.GAMMA
    return torch.where(gamma > c.GAMMA_KNEE, power, gamma / c.GAMMA_SLOPE)


def _to_gamma(linear: Tensor) -> Tensor:
    power = linear.clamp_min(c.LINEAR_KNEE) ** (1 / c.GAMMA)
    power = (1 + c.GAMMA_OFFSET) * power - c.GAMMA_OFFSET
    return torch.where(linear > c.LINEAR_KNEE, power, c.GAMMA_SLOPE * linear)


def _lab_f(t: Tensor) -> Tensor:
    line = c.LAB_SLOPE * t + c.LAB_OFFSET
    return torch.where(t > c.LAB_KNEE, t.clamp_min(c.LAB_KNEE) ** (1 / 3), line)


def _lab_f_inverse(f: Tensor) -> Tensor:
    return torch.where(f > c.LAB_KNEE_F, f**3, (f - c.LAB_OFFSET) / c.LAB_SLOPE)


def _apply_matrix(
    channels: Tensor, matrix: tuple[tuple[float, ...], ...], white: tuple[float, ...]
) -> Tensor:
    """Each output channel a weighted sum of three, divided by its white: ...,3,H,W -> ...,n,H,W."""
    x, y, z = channels.unbind(-3)
    return torch.stack(
        [
            (m[0] / w) * x + (m[1] / w) * y + (m[2] / w) * z
            for m, w in zip(matrix, white, strict=True)
        ],
        dim=-3,
    )


def _as_float(values: Tensor) -> Tensor:
    return values.float() if values.is_floating_point() else values.float() / 255.0


def _autocast_off(values: Tensor) -> torch.autocast:
    return torch.autocast(device_type=values.device.type, enabled=False)
