"""Lightness at full size and colors at a smaller one -> the colored pixels.

The work is done in bands on the CPU: no copy of the photo in floats is made. Colors that the target
space lacks are mixed with the gray of the same luminance (`lab_numpy.gamut_share`), which keeps L.

8-bit photos go through a table: colors are rounded to half a Lab unit, and for each color that
occurs the 256 results, one per lightness, are computed once and exactly. 16-bit photos are computed
pixel by pixel.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color import bands
from pix2color.color import icc_matrix, lab_numpy
from pix2color.color.icc_matrix import ColorSpace
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
    mapper = gamut_mapper(color_space, 16)
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
    colors = _Colors(ab, height, width, band_pixels)
    mapper = gamut_mapper(color_space, 8)
    used = np.flatnonzero(colors.seen)
    offset = np.full(65_536, -256, np.intp)
    offset[used] = np.arange(len(used)) * 256

    def places(rows: slice) -> NDArray[np.intp]:
        """Each pixel's place in the table; negative for a color that was not seen."""
        place = np.take(offset, colors.at(rows))
        place |= gray[rows]
        return place

    needed = None
    if gray.size < 2 * 256 * len(used):  # few pixels: most of the table would not be used
        occurs = np.zeros(256 * len(used), np.bool_)

        def mark(rows: slice) -> None:
            occurs[places(rows)] = True

        bands.for_each_band(mark, height, width, pixels=band_pixels)
        needed = np.flatnonzero(occurs)
    table = _build_lut(mapper, colors, used, needed)
    out = np.empty((height, width, 4), np.uint8)
    words = out.view(np.uint32)[..., 0]

    def fill(rows: slice) -> None:
        place = places(rows)
        np.take(table, place, out=words[rows], mode="wrap")  # the default mode copies
        if place.min() < 0:
            unseen = place < 0
            pixels = np.empty((np.count_nonzero(unseen), 3), np.uint8)
            mapper.map(gray[rows][unseen], *colors.lab(colors.at(rows)[unseen]), pixels)
            out[rows, :, :3][unseen] = pixels

    bands.for_each_band(fill, height, width, pixels=band_pixels)
    return out[..., :3]


class _Colors:
    """The colors of a photo: small planes of a and b, rounded to steps and upsampled bilinearly.

    Args:
        ab: 2,h,w in Lab units.
        height, width: to which it is upsampled.
        band_pixels: as for `compose_rgb`.
    """

    def __init__(self, ab: Floats, height: int, width: int, band_pixels: int | None) -> None:
        self._height = height
        self._low = np.floor(ab.min(axis=(1, 2), keepdims=True))
        self._step = np.float32(max(_AB_STEP, float((ab - self._low).max()) / 255))
        small = np.rint((ab - self._low) / self._step).astype(np.uint8)

        def along_rows(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
            size = (width, len(plane))
            return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))

        self._wide = np.stack(bands.in_parallel(along_rows, small))
        self.seen = np.zeros(65_536, np.bool_)
        """The colors of all pixels, or of nearly all: two samples per value of ab."""
        every = max(1, min(height // ab.shape[1], width // ab.shape[2]) // 2)
        self._all = np.empty((height, width), np.uint16) if every == 1 else None

        def find(part: slice) -> None:
            rows = slice(part.start * every, min(part.stop * every, height), every)
            colors = self._upsampled(rows)
            self.seen[colors[:, ::every]] = True
            if self._all is not None:
                self._all[rows] = colors

        bands.for_each_band(find, -(-height // every), width, pixels=band_pixels)

    def at(self, rows: slice) -> NDArray[np.uint16]:
        """The colors of some rows: rows,width, a and b in steps, a byte each."""
        return self._upsampled(rows) if self._all is None else self._all[rows]

    def _upsampled(self, rows: slice) -> NDArray[np.uint16]:
        cells = self._wide.shape[1]
        position = (np.arange(rows.start, rows.stop, rows.step) + 0.5) * cells / self._height
        position = np.clip(position - 0.5, 0, cells - 1)
        above = position.astype(np.intp)
        share = np.rint((position - above) * 256).astype(np.uint16)[:, None]
        near = self._wide[:, above[0] : above[-1] + 2].astype(np.uint16)
        slope = np.diff(near, axis=1, append=near[:, -1:])  # negative ones wrap, as the sum does
        near *= 256
        near += 128  # rounds
        above -= above[0]
        both = slope[:, above]
        both *= share
        both += near[:, above]
        a, b = both
        a &= 0xFF00
        b >>= 8
        a |= b
        return a

    def lab(self, colors: NDArray[np.integer]) -> tuple[Floats, Floats]:
        """a and b in Lab units of n colors: n each."""
        a, b = (steps.astype(np.float32) * self._step for steps in (colors >> 8, colors & 255))
        return a + self._low[0, 0], b + self._low[1, 0]


def _build_lut(
    mapper: GamutMapper,
    colors: _Colors,
    used: NDArray[np.intp],
    needed: NDArray[np.intp] | None,
) -> NDArray[np.uint32]:
    """The pixels of n colors at every 8-bit gray value: n * 256 words of R, G, B, 255.

    Args:
        mapper: of the color space.
        colors: of the photo.
        used: n of them.
        needed: the places of the words that are computed; None: all.
    """
    table = np.empty(len(used) * 256, np.uint32)
    pixels = table.view(np.uint8).reshape(-1, 256, 4)
    every_gray = np.arange(256, dtype=np.uint8)
    # X depends on gray and a, Z on gray and b: 256 x 256 each, of all steps.
    a, b = colors.lab(np.arange(256) * 257)
    x, z = mapper.x(every_gray, a[:, None]), mapper.z(every_gray, b[:, None])

    if needed is None:

        def band(rows: slice) -> None:
            pixels[rows, :, 3] = 255
            color = used[rows]
            mapper.mix(every_gray, x[color >> 8], z[color & 255], pixels[rows])

        bands.for_each_band(band, len(used), 256)
        return table
    places, flat_x, flat_z = needed, x.reshape(-1), z.reshape(-1)

    def some(part: slice) -> None:
        place = places[part]
        color, gray = used[place >> 8], place & 255
        found = np.full((len(place), 4), 255, np.uint8)
        own_x = np.take(flat_x, (color & 0xFF00) | gray)
        own_z = np.take(flat_z, ((color & 255) << 8) | gray)
        mapper.mix(gray, own_x, own_z, found)
        table[place] = found.view(np.uint32)[:, 0]

    bands.for_each_band(some, len(places), 1)
    return table


@lru_cache(maxsize=4)
def gamut_mapper(color_space: ColorSpace, bits: int) -> GamutMapper:
    """`GamutMapper`, kept: its tables take as long as a small photo."""
    return GamutMapper(color_space, bits=bits)


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
        self.mix(gray, self.x(gray, a), self.z(gray, b), out)

    def x(self, gray: Pixels, a: Floats) -> Floats:
        """X over that of white, of gray values and a, which are broadcast together."""
        return lab_numpy.lab_f_inverse(np.take(self._f, gray) + a * np.float32(1 / 500))

    def z(self, gray: Pixels, b: Floats) -> Floats:
        """Z over that of white, of gray values and b."""
        f = np.take(self._f, gray) - b * np.float32(1 / 200)
        return lab_numpy.lab_f_inverse(np.maximum(f, 0))

    def mix(self, gray: Pixels, x: Floats, z: Floats, out: Pixels) -> None:
        """Write the colors of gray, X and Z (broadcast together, ...) into out (..., 3 or 4)."""
        luminance = np.take(self._luminance, gray)
        channels = [row[0] * x + row[1] * luminance + row[2] * z for row in self._matrix]
        share = lab_numpy.gamut_share(luminance, channels)
        for c, channel in enumerate(channels):
            channel -= luminance
            channel *= share
            channel += luminance
            self._encode(c, channel, out[..., c])

    def _encode(self, channel: int, linear: Floats, out: Pixels) -> None:
        """Linear light 0..1, but for rounding -> code values; `linear` is used up."""
        if self._top == 255:
            linear *= _LUT_SIZE - 1
            linear += np.float32(0.5)
            np.take(self._codes8[channel], linear.astype(np.intp), out=out, mode="clip")
            return
        np.clip(linear, 0, 1, out=linear)
        if self._space.curves is not None:
            code = self._space.encode(channel, linear)
        else:
            code = lab_numpy.linear_to_srgb(linear)
        code *= self._top
        out[...] = np.rint(code, out=code)
