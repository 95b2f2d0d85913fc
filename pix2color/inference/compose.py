"""Lightness at full size and colors at a smaller one -> the colored pixels.

The work is done in bands on the CPU: no copy of the photo in floats is made. Colors that the target
space lacks are mixed with the gray of the same luminance (`lab_numpy.gamut_share`), which keeps L.

8-bit photos go through a table: colors are rounded to half a Lab unit, and for each color that
occurs the 256 results, one per lightness, are computed once and exactly. 16-bit photos are computed
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

_AB_STEP = 0.5  # Lab units to which the colors of 8-bit photos are rounded
_LUT_SIZE = 65_536  # steps of the table from linear light to 8-bit values


def compose_rgb(
    gray: Pixels,
    ab: Floats,
    color_space: ColorSpace = icc_matrix.SRGB,
    *,
    band_pixels: int | None = None,
) -> Pixels:
    """Colored pixels with the lightness of `gray`.

    Args:
        gray: H,W uint8 or uint16 (`preprocess.gray_values`).
        ab: 2,h,w in Lab units at any smaller size; upsampled bilinearly.
        color_space: of the result.
        band_pixels: pixels worked on at a time; None: `bands.BAND_PIXELS`.

    Returns:
        H,W,3 of gray's type (8-bit pixels are four bytes apart in memory). L differs from gray's by
        rounding only.
    """
    if gray.dtype == np.uint8:
        return _compose_8bit(gray, ab, color_space, band_pixels)
    height, width = gray.shape
    out = np.empty((height, width, 3), gray.dtype)
    mapper = GamutMapper(color_space, bits=16)
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in ab]

    def band(rows: slice) -> None:
        a, b = (upsample_band(plane, rows, height, width) for plane in planes)
        mapper.map(gray[rows], a, b, out[rows])

    bands.for_each_band(band, height, width, pixels=band_pixels)
    return out


def upsample_band(plane: Image.Image, rows: slice, height: int, width: int) -> NDArray:
    """Some rows of a plane upsampled bilinearly to height x width; no seams between bands."""
    scale = plane.height / height
    box = (0, rows.start * scale, plane.width, min(rows.stop * scale, plane.height))
    size = (width, rows.stop - rows.start)
    return np.asarray(plane.resize(size, Image.Resampling.BILINEAR, box=box))


def _compose_8bit(
    gray: Pixels, ab: Floats, color_space: ColorSpace, band_pixels: int | None
) -> Pixels:
    """`compose_rgb` for 8 bits: the colors that occur, a table of those, one look-up per pixel."""
    height, width = gray.shape
    low = np.floor(ab.min(axis=(1, 2), keepdims=True))
    step = max(_AB_STEP, float((ab - low).max()) / 255)
    wide_a, wide_b = (
        _upsample_rows(plane, width) for plane in np.rint((ab - low) / step).astype(np.uint8)
    )
    colors = np.empty(gray.shape, np.uint16)  # a and b in steps, a byte each
    occurs = np.zeros(65_536, np.bool_)

    def find(rows: slice) -> None:
        both = colors[rows]
        _upsample_cols(wide_a, rows, height, out=both)
        both &= 0xFF00
        b = _upsample_cols(wide_b, rows, height, out=np.empty_like(both))
        b >>= 8
        both |= b
        occurs[both] = True

    bands.for_each_band(find, height, width, pixels=band_pixels)
    used = np.flatnonzero(occurs)
    offset = np.zeros(65_536, np.intp)
    offset[used] = np.arange(len(used)) * 256
    a = (used[:, None] >> 8) * np.float32(step) + np.float32(low[0, 0, 0])
    b = (used[:, None] & 255) * np.float32(step) + np.float32(low[1, 0, 0])
    needed = None
    if gray.size < 2 * 256 * len(used):  # few pixels: most of the table would not be used
        needed = _occurring_words(gray, colors, offset, 256 * len(used), band_pixels)
    table = _build_lut(a.astype(np.float32), b.astype(np.float32), color_space, needed)
    out = np.empty((height, width, 4), np.uint8)
    words = out.view(np.uint32)[..., 0]

    def fill(rows: slice) -> None:
        index = np.take(offset, colors[rows])
        index |= gray[rows]
        np.take(table, index, out=words[rows], mode="clip")

    bands.for_each_band(fill, height, width, pixels=band_pixels)
    return out[..., :3]


def _occurring_words(
    gray: Pixels,
    colors: NDArray[np.uint16],
    offset: NDArray[np.intp],
    count: int,
    band_pixels: int | None,
) -> NDArray[np.intp]:
    """Which of the table's `count` words a photo needs: `offset` of a pixel's color + its gray."""
    occurs = np.zeros(count, np.bool_)

    def mark(rows: slice) -> None:
        index = np.take(offset, colors[rows])
        index |= gray[rows]
        occurs[index] = True

    bands.for_each_band(mark, *gray.shape, pixels=band_pixels)
    return np.flatnonzero(occurs)


def _upsample_rows(plane: NDArray[np.uint8], width: int) -> NDArray[np.uint16]:
    """A small plane upsampled bilinearly along its rows only: h,width, values 0..255."""
    size = (width, plane.shape[0])
    image = Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image).astype(np.uint16)


def _upsample_cols(
    wide: NDArray[np.uint16], rows: slice, height: int, *, out: NDArray[np.uint16]
) -> NDArray[np.uint16]:
    """Some rows of a plane upsampled bilinearly to `height`, in 256ths (rounded): 0..65408."""
    position = (np.arange(rows.start, rows.stop) + 0.5) * len(wide) / height - 0.5
    position = np.clip(position, 0, len(wide) - 1)
    above = position.astype(np.intp)
    below = np.minimum(above + 1, len(wide) - 1)
    share = np.rint((position - above) * 256).astype(np.uint16)[:, None]
    np.multiply(wide[above], 256 - share, out=out)
    out += wide[below] * share
    out += np.uint16(128)
    return out


def _build_lut(
    a: Floats, b: Floats, color_space: ColorSpace, words: NDArray[np.intp] | None = None
) -> NDArray[np.uint32]:
    """The pixels of n colors (n,1) at every 8-bit gray value: n * 256 words of R, G, B, 255.

    Args:
        words: those that are needed; the others are left white. None: all.
    """
    mapper = GamutMapper(color_space, bits=8)
    table = np.full((len(a), 256, 4), 255, np.uint8)
    every_gray = np.arange(256, dtype=np.uint8)

    def band(rows: slice) -> None:
        mapper.map(every_gray[None], a[rows], b[rows], table[rows])

    if words is None:
        bands.for_each_band(band, len(a), 256)
        return table.view(np.uint32).reshape(-1)
    colors, grays = np.divmod(words, 256)

    def part(rows: slice) -> None:
        color, gray = colors[rows], grays[rows]
        pixels = np.empty((len(color), 3), np.uint8)
        mapper.map(every_gray[gray], a[color, 0], b[color, 0], pixels)
        table[color, gray, :3] = pixels

    bands.for_each_band(part, len(words), 1)
    return table.view(np.uint32).reshape(-1)


class GamutMapper:
    """Gray values, a and b -> code values of a color space, inside its gamut.

    Args:
        color_space: of the result.
        bits: of the gray values and of the result, 8 or 16.
    """

    def __init__(self, color_space: ColorSpace, *, bits: int) -> None:
        self._space = color_space
        self._top = 2**bits - 1
        luminance = lab_numpy.srgb_to_linear(np.arange(self._top + 1) / self._top)
        self._luminance = luminance.astype(np.float32)
        self._f = lab_numpy.lab_f(luminance).astype(np.float32)
        matrix = np.linalg.inv(color_space.matrix) @ (lab_numpy.XYZ_TO_RGB * lab_numpy.WHITE)
        # The published matrix and white agree to 1e-5; made exact, so that gray stays gray.
        self._matrix = (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)
        if bits == 8:
            steps = np.arange(_LUT_SIZE) / (_LUT_SIZE - 1)
            codes = [
                np.rint(color_space.encode(c, steps) * 255)
                for c in range(1 if color_space.is_srgb else 3)
            ]
            self._codes8 = [c.astype(np.uint8) for c in codes] * (3 if color_space.is_srgb else 1)

    def map(self, gray: Pixels, a: Floats, b: Floats, out: Pixels) -> None:
        """Write the colors of gray, a and b (broadcast together, ...) into out (..., 3 or 4)."""
        luminance = np.take(self._luminance, gray)
        f = np.take(self._f, gray)
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
            linear *= _LUT_SIZE - 1
            linear += np.float32(0.5)
            np.take(self._codes8[channel], linear.astype(np.intp), out=out, mode="clip")
            return
        if self._space.curves is not None:
            code = self._space.encode(channel, linear)
        else:
            code = lab_numpy.linear_to_srgb(linear)
        code *= self._top
        out[...] = np.rint(code, out=code)
