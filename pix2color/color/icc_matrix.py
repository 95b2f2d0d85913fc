"""RGB and gray color spaces of photos: tone curves and a matrix to linear sRGB.

Pillow's color management has 8 bits, too few for 16-bit scans. Profiles of a matrix and curves
(sRGB, Adobe RGB, Display P3, ProPhoto, gray gammas) are parsed here; Pillow converts pixels with
table-based ones. ICC.1:2022, sections 8.3, 10.6 and 10.18.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pix2color.color.lab_numpy import (
    LUMINANCE,
    gamut_share,
    lab_f_inverse,
    linear_to_srgb,
    srgb_to_linear,
)

Table = NDArray[np.float64]

_NODES = 4096
# Linear sRGB -> XYZ under D50, the profile connection space (Bradford-adapted, ICC's sRGB).
_SRGB_TO_D50 = np.array(
    (
        (0.436065674, 0.385147095, 0.143066406),
        (0.222488403, 0.716873169, 0.060607910),
        (0.013916016, 0.097076416, 0.714096069),
    )
)


@dataclass(frozen=True, eq=False)
class ColorSpace:
    """A color space: `curves`, then `matrix`, convert its code values to linear sRGB."""

    curves: tuple[Table, ...] | None
    """Linear light at 4,096 equal steps of the code value, one per channel; None: sRGB's."""
    matrix: NDArray[np.float64]
    """3,3 to linear sRGB (of a gray space: the identity)."""
    is_gray: bool = False

    @property
    def is_srgb(self) -> bool:
        """Whether it is sRGB (or the gray of sRGB's curve)."""
        return self.curves is None and bool((self.matrix == np.eye(3)).all())

    def decode(self, channel: int, codes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Code values 0..1 of a channel -> linear light 0..1 in this space."""
        if self.curves is None:
            return srgb_to_linear(codes)
        return np.interp(codes, np.linspace(0.0, 1.0, _NODES), self.curves[channel])

    def encode(self, channel: int, linear: NDArray[np.floating]) -> NDArray[np.float64]:
        """Linear light 0..1 of a channel -> code values 0..1: the inverse of `decode`."""
        if self.curves is None:
            return linear_to_srgb(linear)
        return np.interp(linear, self.curves[channel], np.linspace(0.0, 1.0, _NODES))

    @property
    def luminance(self) -> NDArray[np.float64]:
        """Y of each linear channel: 3, sum 1."""
        return LUMINANCE @ self.matrix


SRGB = ColorSpace(None, np.eye(3))


def parse_icc(icc: bytes) -> ColorSpace | None:
    """The space of a profile made of a matrix and curves; None for other kinds."""
    try:
        return _parse(icc)
    except (struct.error, ValueError, IndexError, ArithmeticError):
        return None


def is_degenerate(icc: bytes) -> bool:
    """Whether a profile of a matrix and curves maps different colors to one."""
    try:
        _parse(icc)
    except (_DegenerateError, ZeroDivisionError):
        return True
    except (struct.error, ValueError, IndexError, ArithmeticError):
        pass
    return False


class _DegenerateError(ValueError):
    """A flat curve, or primaries that give no space of three dimensions."""


def from_lab(lab: NDArray[np.floating]) -> NDArray[np.float64]:
    """L 0..100, a, b under D50 (..., 3) -> sRGB code values 0..1.

    Colors outside sRGB are mixed with the gray of their luminance, which keeps L.
    """
    lightness, a, b = np.moveaxis(np.asarray(lab, dtype=np.float64), -1, 0)
    y = (lightness + 16) / 116
    xyz = lab_f_inverse(np.stack((y + a / 500, y, y - b / 200), axis=-1))
    linear = (xyz * _SRGB_TO_D50.sum(axis=1)) @ np.linalg.inv(_SRGB_TO_D50).T
    gray = xyz[..., 1:2]
    share = gamut_share(gray[..., 0], np.moveaxis(linear, -1, 0))[..., None]
    return linear_to_srgb(np.clip(gray + (linear - gray) * share, 0.0, 1.0))


def _parse(icc: bytes) -> ColorSpace | None:
    kind, connection = icc[16:20], icc[20:24]
    tags = _tags(icc)
    tables = any(tag in tags for tag in (b"A2B0", b"A2B1", b"D2B0"))
    if kind == b"GRAY" and b"kTRC" in tags and connection in (b"XYZ ", b"Lab "):
        curve = _curve(tags[b"kTRC"])
        if connection == b"Lab ":  # the curve then gives L* / 100, not Y (ICC.1, F.2)
            curve = np.where(curve > 0.08, ((curve + 0.16) / 1.16) ** 3, curve / 9.033)
        return _simplified((curve,) * 3, np.eye(3), gray=True)
    needed = (b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC")
    if kind != b"RGB " or tables or connection != b"XYZ " or not all(t in tags for t in needed):
        return None
    to_d50 = np.stack([_xyz(tags[t]) for t in needed[:3]], axis=1)
    curves = tuple(_curve(tags[t]) for t in needed[3:])
    return _simplified(curves, np.linalg.inv(_SRGB_TO_D50) @ to_d50, gray=False)


def _simplified(curves: tuple[Table, ...], matrix: Table, *, gray: bool) -> ColorSpace:
    """The space; sRGB itself where the profile equals it, for the exact formulas."""
    flat = any(np.ptp(c) == 0 for c in curves)
    if flat or abs(np.linalg.det(matrix)) < 1e-6 or (np.abs(matrix.sum(axis=1)) < 1e-6).any():
        raise _DegenerateError
    if not all(bool((np.diff(c) >= 0).all()) and c[-1] > c[0] for c in curves):
        raise ValueError("a tone curve that is not monotonic")
    srgb = srgb_to_linear(np.linspace(0.0, 1.0, _NODES))
    standard = all(float(np.abs(c - srgb).max()) < 1e-3 for c in curves)
    # Rows are scaled to sum to 1, so that an inexact white does not tint grays.
    matrix = matrix / matrix.sum(axis=1, keepdims=True)
    if np.abs(matrix - np.eye(3)).max() < 3e-3:
        matrix = np.eye(3)
    return ColorSpace(None if standard else curves, matrix, gray)


def _tags(icc: bytes) -> dict[bytes, bytes]:
    if icc[36:40] != b"acsp":
        raise ValueError("not an ICC profile")
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 200:
        raise ValueError("too many tags")
    tags = {}
    for i in range(count):
        name, offset, size = struct.unpack_from(">4sII", icc, 132 + 12 * i)
        tags[name] = icc[offset : offset + size]
    return tags


def _xyz(tag: bytes) -> NDArray[np.float64]:
    if tag[:4] != b"XYZ ":
        raise ValueError("an XYZ tag was expected")
    return np.array(struct.unpack_from(">3i", tag, 8)) / 65536.0


def _curve(tag: bytes) -> Table:
    """A curve tag sampled at equal steps of the code value."""
    steps = np.linspace(0.0, 1.0, _NODES)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return steps
        values = np.frombuffer(tag, dtype=">u2", count=count, offset=12).astype(np.float64)
        if count == 1:
            return steps ** (values[0] / 256.0)
        return np.interp(steps, np.linspace(0.0, 1.0, count), values / 65535.0)
    if tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        return _parametric(kind, tag, steps)
    raise ValueError("a curve tag was expected")


def _parametric(kind: int, tag: bytes, x: Table) -> Table:
    """ICC.1:2022, table 68."""
    count = (1, 3, 4, 5, 7)[kind]
    values = [v / 65536.0 for v in struct.unpack_from(f">{count}i", tag, 12)]
    g, a, b, c, d, e, f = (values + [0.0] * 7)[:7]
    if kind == 0:
        return x**g
    power = np.maximum(a * x + b, 0.0) ** g
    if kind == 1:
        y = np.where(x >= -b / a, power, 0.0)
    elif kind == 2:
        y = np.where(x >= -b / a, power + c, c)
    elif kind == 3:
        y = np.where(x >= d, power, c * x)
    else:
        y = np.where(x >= d, power + e, c * x + f)
    return np.clip(y, 0.0, 1.0)
