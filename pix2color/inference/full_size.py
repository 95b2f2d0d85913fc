"""Lightness at full size and colours at a smaller one -> the coloured pixels.

Works in bands on the CPU with numpy: no copy of the photo in floats is ever made. Colours are
brought into the gamut by mixing with the gray of the same luminance in linear light: this lowers
chroma, keeps L exactly (luminance is linear) and needs no search.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color.inference import bands
from pix2color.inference.lightness import lab_f
from pix2color.photo import space
from pix2color.photo.photo import Pixels
from pix2color.photo.space import Space

Floats = NDArray[np.float32]

_KNEE = np.float32(0.2068966)
_XYZ_TO_RGB = np.linalg.inv(space.RGB_TO_XYZ) * space.WHITE


def compose(codes: Pixels, ab: Floats, own: Space = space.SRGB) -> Pixels:
    """Coloured pixels with the lightness of `codes`.

    Args:
        codes: H,W gray codes of sRGB (`lightness.gray_codes`), uint8 or uint16.
        ab: 2,h,w in Lab units at any smaller size; enlarged bilinearly.
        own: the space of the result.

    Returns:
        H,W,3 of the codes' type. L differs from the codes' by rounding only.
    """
    height, width = codes.shape
    out = np.empty((height, width, 3), codes.dtype)
    mixer = Mixer(own, bits=codes.dtype.itemsize * 8)
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in ab]

    def band(rows: slice) -> None:
        a, b = (enlarged(plane, rows, height, width) for plane in planes)
        mixer.mix(codes[rows], a, b, out[rows])

    bands.each(band, height, width)
    return out


def enlarged(plane: Image.Image, rows: slice, height: int, width: int) -> NDArray:
    """Some rows of a plane enlarged bilinearly to height x width; no seams between bands."""
    scale = plane.height / height
    box = (0, rows.start * scale, plane.width, min(rows.stop * scale, plane.height))
    size = (width, rows.stop - rows.start)
    return np.asarray(plane.resize(size, Image.Resampling.BILINEAR, box=box))


class Mixer:
    """L (as gray codes), a, b -> code values of a space, inside its gamut."""

    def __init__(self, own: Space, *, bits: int) -> None:
        self._space = own
        self._top = 2**bits - 1
        luminance = space.srgb_linear(np.arange(self._top + 1) / self._top)
        self._luminance = luminance.astype(np.float32)
        self._f = lab_f(luminance).astype(np.float32)
        matrix = np.linalg.inv(own.matrix) @ _XYZ_TO_RGB
        # The published matrix and white agree to 1e-5; made exact, so that gray stays gray.
        self._matrix = (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)

    def mix(self, codes: Pixels, a: Floats, b: Floats, out: Pixels) -> None:
        """Write the colours of codes (...), a and b (broadcast to it) into out (...,3)."""
        luminance = np.take(self._luminance, codes)
        f = np.take(self._f, codes)
        x = _f_inverse(f + a * np.float32(1 / 500))
        z = _f_inverse(np.maximum(f - b * np.float32(1 / 200), 0))
        channels = [row[0] * x + row[1] * luminance + row[2] * z for row in self._matrix]
        share = _share_in_gamut(luminance, channels)
        for c, channel in enumerate(channels):
            channel -= luminance
            channel *= share
            channel += luminance
            np.clip(channel, 0, 1, out=channel)
            coded = self._coded(c, channel)
            coded *= self._top
            out[..., c] = np.rint(coded, out=coded)

    def _coded(self, channel: int, linear: Floats) -> Floats:
        if self._space.curves is not None:
            return self._space.codes(channel, linear).astype(np.float32)
        power = np.maximum(linear, np.float32(0.0031308))
        np.power(power, np.float32(1 / 2.4), out=power)
        power *= np.float32(1.055)
        power -= np.float32(0.055)
        line: Floats = linear * np.float32(12.92)
        return np.where(linear > 0.0031308, power, line)


def _f_inverse(f: Floats) -> Floats:
    cube = f * f
    cube *= f
    dark = f <= _KNEE
    if dark.any():
        np.copyto(cube, (f - np.float32(16 / 116)) * np.float32(1 / 7.787), where=dark)
    return cube


def _share_in_gamut(luminance: Floats, channels: list[Floats]) -> Floats:
    """The largest share of the colour, 0..1, that keeps every channel within 0..1."""
    high = np.maximum(np.maximum(channels[0], channels[1]), channels[2])
    low = np.minimum(np.minimum(channels[0], channels[1]), channels[2])
    tiny = np.float32(1e-9)
    up = (1 - luminance) / np.maximum(high - luminance, tiny)
    down = luminance / np.maximum(luminance - low, tiny)
    share: Floats = np.minimum(np.minimum(up, down), np.float32(1))
    return share
