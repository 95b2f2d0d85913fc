"""Samples of a TIFF page -> gray, RGB, CMYK or Lab pixels and alpha, black at 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from pix2color.errors import PhotoError
from pix2color.photo.photo import Pixels
from pix2color.photo.profiles import to_uint8
from pix2color.photo.tiff_pixels import IMAGES, YCBCR, Layout, Samples

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _CIELAB, _ICCLAB = 0, 1, 2, 3, 5, 8, 9
_COLORS = {
    _WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, YCBCR: 3, _CIELAB: 3,
    _ICCLAB: 3,
}  # fmt: skip
_ASSOCIATED, _UNASSOCIATED = 1, 2

Interpreted = tuple[Pixels, Pixels | None, str, tuple[str, ...]]


def interpret(layout: Layout, samples: Samples) -> Interpreted:
    """Stored samples as pixels.

    Args:
        layout: of the page.
        samples: H,W,S as `tiff_pixels.decode` returns them.

    Returns:
        H,W | H,W,3 | H,W,4 (CMYK) uint8 or uint16 over its full range; alpha; Pillow's name of the
        color space ("L", "RGB", "CMYK", "LAB"); notes.

    Raises:
        PhotoError: a color space that cannot be read.
    """
    photometric = layout.photometric
    if photometric not in _COLORS:
        name = getattr(layout.page.photometric, "name", photometric)
        raise PhotoError(f"a TIFF of {name} pixels; save it as gray or RGB first")
    colors = _COLORS[photometric]
    if samples.shape[2] < colors:
        raise PhotoError("broken: fewer channels than its colors need")
    if photometric == _PALETTE:
        return _from_palette(layout, samples[..., 0]), None, "RGB", ()
    _check_sign(layout, samples[..., :colors])
    color = _full_range(samples[..., :colors], layout.bits)
    alpha, associated = _alpha(layout, samples, colors)
    if alpha is not None and associated:
        color = _unassociated(color, alpha)
    notes: tuple[str, ...] = ()
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[colors]
    if photometric == _WHITE_IS_ZERO:
        color = ~color
    elif photometric == YCBCR and layout.compression not in IMAGES:
        color = _from_ycbcr(layout, color)
    elif photometric in (_CIELAB, _ICCLAB):
        mode = "LAB"
        if photometric == _CIELAB:  # a and b have a sign; Lab of ICC counts from the middle
            color[..., 1:] ^= color.dtype.type(1 << (8 * color.itemsize - 1))
        elif color.dtype == np.uint16:  # L of 100 is 0xFF00
            color[..., 0] = np.minimum(color[..., 0] * (65535 / 65280), 65535)
    elif photometric == _CMYK and color.dtype == np.uint16:
        color = to_uint8(color)
        alpha = None if alpha is None else to_uint8(alpha)
        notes = ("CMYK of 16 bits was read in 8 bits",)
    color = color[..., 0] if colors == 1 else color
    return np.ascontiguousarray(color), alpha, mode, notes


def _check_sign(layout: Layout, samples: Samples) -> None:
    """Raise PhotoError for negative samples; others are read as unsigned."""
    if layout.photometric in (_CIELAB, _ICCLAB) or int(layout.page.sampleformat or 1) != 2:
        return
    if int(samples.max()) >= 1 << (layout.bits - 1):
        raise PhotoError("pixels below zero; save it with unsigned pixels first")


def _full_range(samples: Samples, bits: int) -> Pixels:
    """Samples of `bits` bits -> the full range of uint8 or uint16."""
    if bits in (8, 16):
        return samples.copy()
    top = np.iinfo(samples.dtype).max
    codes = np.arange(2**bits, dtype=np.float64) * (float(top) / (2**bits - 1))
    return np.rint(codes).astype(samples.dtype)[samples]


def _alpha(layout: Layout, samples: Samples, colors: int) -> tuple[Pixels | None, bool]:
    """The alpha channel, and whether the colors are premultiplied by it."""
    extra: Any = layout.page.extrasamples or ()
    kinds = [int(kind) for kind in extra]
    if layout.photometric == _RGB and layout.page.tags.get(338) is None:
        kinds = [_UNASSOCIATED]  # most readers take an unnamed fourth channel for alpha
    for number, kind in enumerate(kinds):
        if kind in (_ASSOCIATED, _UNASSOCIATED) and colors + number < samples.shape[2]:
            alpha = _full_range(samples[..., colors + number], layout.bits)
            return np.ascontiguousarray(alpha), kind == _ASSOCIATED
    return None, False


def _unassociated(color: Pixels, alpha: Pixels) -> Pixels:
    """Premultiplied color divided by alpha."""
    top = float(np.iinfo(color.dtype).max)
    factor = top / np.maximum(alpha, 1).astype(np.float64)[..., None]
    return np.minimum(np.rint(color * factor), top).astype(color.dtype)


def _from_palette(layout: Layout, index: Samples) -> Pixels:
    table = np.array(layout.page.tags.valueof(320, ()), np.uint16)
    if table.size < 3 << layout.bits:
        raise PhotoError("broken: its palette is too short")
    table = table[: 3 << layout.bits].reshape(3, -1).T
    if table.max() > 255:  # some writers store values of 8 bits
        table >>= 8
    return table.astype(np.uint8)[index]


def _from_ycbcr(layout: Layout, color: Pixels) -> Pixels:
    """TIFF 6.0, section 21."""
    tags = layout.page.tags
    red, green, blue = _numbers(tags.valueof(529), (0.299, 0.587, 0.114))
    top = float(np.iinfo(color.dtype).max)
    half = (top + 1) / 2
    levels = np.array(_numbers(tags.valueof(532), (0, top, half, top, half, top)))
    black, white = levels[0::2], levels[1::2]
    if not (white != black).all() or green == 0:
        raise PhotoError("broken: its YCbCr tags")
    y, cb, cr = np.moveaxis((color - black) / (white - black), -1, 0)
    y, cb, cr = y * top, cb * (half - 1), cr * (half - 1)
    r, b = y + cr * (2 - 2 * red), y + cb * (2 - 2 * blue)
    g = (y - red * r - blue * b) / green
    return np.clip(np.rint(np.dstack((r, g, b))), 0, top).astype(color.dtype)


def _numbers(value: Any, default: tuple[float, ...]) -> list[float]:
    """A tag's rationals (numerators and denominators in turn) as numbers."""
    if value is None or len(value) != 2 * len(default) or 0 in value[1::2]:
        return list(default)
    return [a / b for a, b in zip(value[0::2], value[1::2], strict=True)]
