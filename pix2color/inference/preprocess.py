"""From a photo to its gray values, and from those to the network's input.

Gray values are the sRGB grays that have the pixels' lightness. Those of a gray photo without a
profile are its pixels themselves, so its lightness is kept exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color import bands
from pix2color.color import icc_matrix
from pix2color.color.lab_numpy import lab_f, linear_to_srgb, srgb_to_linear
from pix2color.photo import Photo
from pix2color.photo.gray import is_gray
from pix2color.photo.photo import Pixels
from pix2color.photo.profiles import color_space

_LUT_SIZE = 65_536  # steps of the table from luminance to 8-bit gray
GUIDE_SCALE = 8 / 3


def gray_values(photo: Photo) -> Pixels:
    """The photo's lightness as sRGB grays: H,W of the photo's own type.

    Luminance is computed in the photo's own color space.
    """
    space = color_space(photo)
    pixels = photo.pixels
    if pixels.ndim == 3 and _neutral(pixels):
        pixels = pixels[..., 0]
    if pixels.ndim == 2:
        if space.curves is None:
            return pixels
        top = np.iinfo(pixels.dtype).max
        linear = space.decode(1, np.arange(top + 1) / top)
        table = np.rint(linear_to_srgb(linear) * top).astype(pixels.dtype)
        return np.take(table, pixels)
    return _luminance_gray(pixels, space)


def _neutral(pixels: Pixels) -> bool:
    """Whether R = G = B everywhere; a few rows first, which decide most photos."""
    for part in (pixels[:: max(1, len(pixels) // 16)], pixels):
        if not np.array_equal(part[..., 0], part[..., 1]):
            return False
        if not np.array_equal(part[..., 1], part[..., 2]):
            return False
    return True


def _luminance_gray(pixels: Pixels, space: icc_matrix.ColorSpace) -> Pixels:
    """Luminance of each pixel by one table per channel, then the gray of that luminance."""
    top = np.iinfo(pixels.dtype).max
    steps = np.arange(top + 1) / top
    tables = [
        (space.decode(channel, steps) * weight).astype(np.float32)
        for channel, weight in enumerate(space.luminance)
    ]
    gray = np.empty(pixels.shape[:2], pixels.dtype)
    coarse = linear_to_srgb(np.arange(_LUT_SIZE) / (_LUT_SIZE - 1)) * 255.0
    to_gray = np.rint(coarse).astype(np.uint8)

    def band(rows: slice) -> None:
        luminance = np.take(tables[0], pixels[rows, :, 0])
        luminance += np.take(tables[1], pixels[rows, :, 1])
        luminance += np.take(tables[2], pixels[rows, :, 2])
        if gray.dtype == np.uint8:
            luminance *= _LUT_SIZE - 1
            luminance += 0.5
            index = luminance.astype(np.int64)
            np.take(to_gray, index, out=gray[rows], mode="clip")
        else:
            exact = linear_to_srgb(np.clip(luminance, 0.0, 1.0, dtype=np.float64))
            gray[rows] = np.rint(exact * top).astype(gray.dtype)

    bands.for_each_band(band, pixels.shape[0], pixels.shape[1])
    return gray


def lightness_table(bits: int) -> NDArray[np.float32]:
    """L in 0..100 of every gray value of 8 or 16 bits."""
    top = 2**bits - 1
    return (116.0 * lab_f(srgb_to_linear(np.arange(top + 1) / top)) - 16.0).astype(np.float32)


def network_input(
    gray: Pixels, input_size: int, multiple: int, *, square: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the network sees of a photo, and the guide along which its colors are upsampled.

    Returns:
        `network_lightness`, and `guide`.
    """
    return network_lightness(gray, input_size, multiple, square=square), guide(gray, input_size)


def network_lightness(
    gray: Pixels, input_size: int, multiple: int, *, square: bool = False
) -> NDArray[np.float32]:
    """What the network sees of a photo: L in 0..100 at `network_size`, float32.

    Args:
        gray: H,W, of `gray_values`.
        input_size: shorter side of the network's input, in pixels.
        multiple: of which both sides of the input are multiples (`NetworkInfo.size_multiple`).
        square: the photo is stretched to a square.
    """
    height, width = (input_size, input_size) if square else gray.shape
    size = network_size(height, width, input_size, multiple=multiple)
    return resize_lightness(gray, size)


def network_size(height: int, width: int, size: int, *, multiple: int = 4) -> tuple[int, int]:
    """Height and width at which the network sees a photo: the shorter side is `size`.

    Very long photos (panoramas, strips of film) are reduced further, so that the network never sees
    more than about eight squares of `size`; slivers are squeezed as well.

    Args:
        multiple: both are rounded to multiples of this, so that its cells tile the photo.
    """
    scale = size / min(height, width)
    area = height * width * scale * scale
    scale *= min(1.0, (8 * size * size / area) ** 0.5)
    longest = 16 * size // multiple
    down, across = (
        min(longest, max(1, round(side * scale / multiple))) * multiple for side in (height, width)
    )
    return down, across


def guide_size(height: int, width: int, size: int) -> tuple[int, int]:
    """The size to which colors are upsampled along edges, before the rest is done bilinearly.

    The shorter side is GUIDE_SCALE times the network's, at most the photo's. Finer guides were not
    measurably better.
    """
    side = GUIDE_SCALE * size
    scale = min(1.0, side / min(height, width), side * (8 / (height * width)) ** 0.5)
    return max(1, round(height * scale)), max(1, round(width * scale))


def guide(gray: Pixels, size: int) -> NDArray[np.float32]:
    """The L along which a network's colors are upsampled: float32 at `guide_size`.

    Its filter is narrower than that of the network's input and takes half the time; edges stay.
    """
    height, width = gray.shape
    return resize_lightness(
        gray, guide_size(height, width, size), resample=Image.Resampling.HAMMING
    )


def resize_lightness(
    gray: Pixels,
    size: tuple[int, int],
    *,
    resample: Image.Resampling = Image.Resampling.LANCZOS,
) -> NDArray[np.float32]:
    """L in 0..100 of a photo at another size: height,width float32.

    Gray values are resampled, as the training photos were, with a filter as wide as the reduction
    needs, so that grain does not become patterns.
    """
    height, width = size
    if gray.dtype == np.uint8:
        # As the training photos were resampled; Pillow's fast path.
        image = Image.fromarray(gray)
        small = image.resize((width, height), resample, reducing_gap=3.0)
        return np.take(lightness_table(8), np.asarray(small))
    scaled = Image.fromarray(gray.astype(np.float32))
    small = scaled.resize((width, height), resample, reducing_gap=3.0)
    exact = np.clip(np.asarray(small), 0, 65535)
    return np.take(lightness_table(16), np.rint(exact).astype(np.int64))


def is_colored(photo: Photo) -> bool:
    """Whether a photo already has color; the tone of a sepia or blue print is none."""
    return not is_gray(photo.pixels, space=color_space(photo), ignore_tone=True)
