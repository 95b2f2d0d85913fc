"""Lightness at full size and colors at a smaller one -> the colored pixels.

Works in bands on the CPU with numpy: no copy of the photo in floats is ever made. Colors are
brought into the gamut by mixing with the gray of the same luminance in linear light: this lowers
chroma, keeps L exactly (luminance is linear) and needs no search.

8-bit photos go through a table: colors are rounded to half a Lab unit, and for each color that
occurs the 256 results, one a lightness, are computed once and exactly. 16-bit photos are computed
pixel by pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color.color import icc_matrix, lab_numpy
from pix2color.color.icc_matrix import ColorSpace
from pix2color.inference import bands
from pix2color.photo.photo import Pixels

Floats = NDArray[np.float32]

_STEP = 0.5  # ab units to which the colors of 8-bit photos are rounded
_FINE = 65_536  # steps of the table from linear light to 8-bit codes


def compose_rgb(
    codes: Pixels, ab: Floats, own: ColorSpace = icc_matrix.SRGB, *, band: int | None = None
) -> Pixels:
    """Colored pixels with the lightness of `codes`.

    Args:
        codes: H,W gray codes of sRGB (`lightness.gray_codes`), uint8 or uint16.
        ab: 2,h,w in Lab units at any smaller size; enlarged bilinearly.
        own: the space of the result.
        band: pixels worked on at a time, where the usual number is too many for the memory.

    Returns:
        H,W,3 of the codes' type (8-bit pixels lie four bytes apart). L differs from the codes' by
        rounding only.
    """
    if codes.dtype == np.uint8:
        return _by_table(codes, ab, own, band)
    height, width = codes.shape
    out = np.empty((height, width, 3), codes.dtype)
    mixer = GamutMapper(own, bits=16)
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in ab]

    def part(rows: slice) -> None:
        a, b = (enlarged(plane, rows, height, width) for plane in planes)
        mixer.map(codes[rows], a, b, out[rows])

    bands.for_each_band(part, height, width, pixels=band)
    return out


def enlarged(plane: Image.Image, rows: slice, height: int, width: int) -> NDArray:
    """Some rows of a plane enlarged bilinearly to height x width; no seams between bands."""
    scale = plane.height / height
    box = (0, rows.start * scale, plane.width, min(rows.stop * scale, plane.height))
    size = (width, rows.stop - rows.start)
    return np.asarray(plane.resize(size, Image.Resampling.BILINEAR, box=box))


def _by_table(codes: Pixels, ab: Floats, own: ColorSpace, band: int | None) -> Pixels:
    """`compose` for 8 bits: which colors occur, a table of those, then one look-up a pixel."""
    height, width = codes.shape
    low = np.floor(ab.min(axis=(1, 2), keepdims=True))
    step = max(_STEP, float((ab - low).max()) / 255)
    wide = [_upsample_rows(plane, width) for plane in np.rint((ab - low) / step).astype(np.uint8)]
    colors = np.empty(codes.shape, np.uint16)  # a and b in steps, a byte each
    occurs = np.zeros(65_536, np.bool_)

    def find(rows: slice) -> None:
        both = colors[rows]
        _upsample_cols(wide[0], rows, height, out=both)
        both &= 0xFF00
        b = _upsample_cols(wide[1], rows, height, out=np.empty_like(both))
        b >>= 8
        both |= b
        occurs[both] = True

    bands.for_each_band(find, height, width, pixels=band)
    found = np.flatnonzero(occurs)
    place = np.zeros(65_536, np.intp)
    place[found] = np.arange(len(found)) * 256
    a = (found[:, None] >> 8) * np.float32(step) + np.float32(low[0, 0, 0])
    b = (found[:, None] & 255) * np.float32(step) + np.float32(low[1, 0, 0])
    table = _build_lut(a.astype(np.float32), b.astype(np.float32), own)
    out = np.empty((height, width, 4), np.uint8)
    words = out.view(np.uint32)[..., 0]

    def fill(rows: slice) -> None:
        index = np.take(place, colors[rows])
        index |= codes[rows]
        np.take(table, index, out=words[rows], mode="clip")

    bands.for_each_band(fill, height, width, pixels=band)
    return out[..., :3]


def _upsample_rows(plane: NDArray[np.uint8], width: int) -> NDArray[np.uint16]:
    """A small plane enlarged bilinearly along its rows only: h,width, values 0..255."""
    size = (width, plane.shape[0])
    image = Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image).astype(np.uint16)


def _upsample_cols(
    wide: NDArray[np.uint16], rows: slice, height: int, *, out: NDArray[np.uint16]
) -> NDArray[np.uint16]:
    """Some rows of a plane enlarged bilinearly to `height`, in 256ths (rounded): 0..65408."""
    place = (np.arange(rows.start, rows.stop) + 0.5) * len(wide) / height - 0.5
    place = np.clip(place, 0, len(wide) - 1)
    above = place.astype(np.intp)
    below = np.minimum(above + 1, len(wide) - 1)
    share = np.rint((place - above) * 256).astype(np.uint16)[:, None]
    np.multiply(wide[above], 256 - share, out=out)
    out += wide[below] * share
    out += np.uint16(128)
    return out


def _build_lut(a: Floats, b: Floats, own: ColorSpace) -> NDArray[np.uint32]:
    """The pixels of n colors (n,1) at every 8-bit lightness: n * 256 words of R, G, B, 255."""
    mixer = GamutMapper(own, bits=8)
    table = np.full((len(a), 256, 4), 255, np.uint8)
    every = np.arange(256, dtype=np.uint8)[None]

    def part(rows: slice) -> None:
        mixer.map(every, a[rows], b[rows], table[rows])

    bands.for_each_band(part, len(a), 256)
    return table.view(np.uint32).reshape(-1)


class GamutMapper:
    """L (as gray codes), a, b -> code values of a space, inside its gamut."""

    def __init__(self, own: ColorSpace, *, bits: int) -> None:
        self._space = own
        self._top = 2**bits - 1
        luminance = lab_numpy.srgb_to_linear(np.arange(self._top + 1) / self._top)
        self._luminance = luminance.astype(np.float32)
        self._f = lab_numpy.lab_f(luminance).astype(np.float32)
        matrix = np.linalg.inv(own.matrix) @ (lab_numpy.XYZ_TO_RGB * lab_numpy.WHITE)
        # The published matrix and white agree to 1e-5; made exact, so that gray stays gray.
        self._matrix = (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)
        if bits == 8:
            steps = np.arange(_FINE) / (_FINE - 1)
            coded = [np.rint(own.encode(c, steps) * 255) for c in range(1 if own.is_srgb else 3)]
            self._coded8 = [c.astype(np.uint8) for c in coded] * (3 if own.is_srgb else 1)

    def map(self, codes: Pixels, a: Floats, b: Floats, out: Pixels) -> None:
        """Write the colors of codes, a and b (broadcast together, ...) into out (..., 3 or 4)."""
        luminance = np.take(self._luminance, codes)
        f = np.take(self._f, codes)
        x = lab_numpy.lab_f_inverse(f + a * np.float32(1 / 500))
        z = lab_numpy.lab_f_inverse(np.maximum(f - b * np.float32(1 / 200), 0))
        channels = [row[0] * x + row[1] * luminance + row[2] * z for row in self._matrix]
        share = lab_numpy.gamut_share(luminance, channels)
        for c, channel in enumerate(channels):
            channel -= luminance
            channel *= share
            channel += luminance
            np.clip(channel, 0, 1, out=channel)
            self._encode(c, channel, out[..., c])

    def _encode(self, channel: int, linear: Floats, out: Pixels) -> None:
        """Linear light 0..1 -> code values; `linear` is used up."""
        if self._top == 255:
            linear *= _FINE - 1
            linear += np.float32(0.5)
            np.take(self._coded8[channel], linear.astype(np.intp), out=out, mode="clip")
            return
        if self._space.curves is not None:
            coded = self._space.encode(channel, linear)
        else:
            coded = lab_numpy.linear_to_srgb(linear)
        coded *= self._top
        out[...] = np.rint(coded, out=coded)
