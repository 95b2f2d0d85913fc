"""ICC profiles: which can be worked in directly, and Pillow's color management for the rest."""

from __future__ import annotations

import functools
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pix2color.color import icc_matrix
from pix2color.errors import PhotoError
from pix2color.photo.photo import Photo, Pixels


def normalize_profile(pixels: Pixels, icc: bytes) -> tuple[Pixels, bytes | None, tuple[str, ...]]:
    """Pixels in a space of matrix and curves, its profile, and notes.

    A profile made of tables is converted to sRGB here, in 8 bits (Pillow's color management has no
    more); one that cannot be read, or is not of these pixels' channels, is set aside and said.
    """
    kind = icc[16:20]
    own = icc_matrix.parse_icc(icc)
    if own is not None and own.is_gray == (pixels.ndim == 2):
        return pixels, icc, ()
    if kind == b"RGB " and pixels.ndim == 2 and own is not None:
        return pixels, icc, ()  # a gray photo in an RGB space: R = G = B
    fits = (kind == b"GRAY") == (pixels.ndim == 2)
    if kind in (b"RGB ", b"GRAY") and fits and not icc_matrix.is_degenerate(icc):
        try:
            converted, profile = to_srgb(to_uint8(pixels), "L" if pixels.ndim == 2 else "RGB", icc)
        except PhotoError:
            pass
        else:
            if pixels.dtype == np.uint8:
                return converted, profile, ()
            note = "its table-based ICC profile was applied in 8 bits"
            return converted.astype(np.uint16) * 257, profile, (note,)
    return pixels, None, ("its ICC profile cannot be used: taken as sRGB",)


def to_uint8(pixels: Pixels) -> NDArray[np.uint8]:
    """Pixels of 8 or 16 bits at 8 bits, rounded."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def color_space(photo: Photo) -> icc_matrix.ColorSpace:
    """The space of the photo's pixels; sRGB where it has no usable profile."""
    return (icc_matrix.parse_icc(photo.icc) if photo.icc else None) or icc_matrix.SRGB


def srgb_pixels(photo: Photo) -> NDArray[np.uint8]:
    """H,W,3 uint8 sRGB of a Photo, which may be its own read-only pixels; alpha is left out."""
    pixels = to_uint8(photo.pixels)
    space = color_space(photo)
    if space.is_srgb:
        return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    if not space.is_gray and pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return to_srgb(pixels, "L" if pixels.ndim == 2 else "RGB", photo.icc)[0]


def to_srgb(pixels: Pixels, mode: str, icc: bytes | None) -> tuple[Pixels, bytes | None]:
    """8-bit pixels of any mode (LAB: 8 or 16) -> RGB in sRGB, through the profile if there is one.

    Returns the profile to write beside them: sRGB's where one was applied, else none.
    """
    if mode == "LAB":
        return _lab_to_srgb(pixels), srgb_profile()
    image = _image(pixels, mode)
    if mode == "YCbCr":  # profiles are of the RGB that it codes
        image, mode = image.convert("RGB"), "RGB"
    if icc is None:
        return np.array(image.convert("RGB")), None
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(icc)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        if mode == "CMYK":  # a broken profile must not cost the photo
            return np.array(image.convert("RGB")), None
        raise PhotoError(f"its ICC profile cannot be used: {error}") from None
    assert converted is not None
    return np.array(converted), srgb_profile()


def _lab_to_srgb(pixels: Pixels) -> Pixels:
    """H,W,3 of L over the whole range, a and b counted from the middle, under D50."""
    top = np.iinfo(pixels.dtype).max
    per_unit = (top + 1) / 256
    out = np.empty_like(pixels)
    for row, codes in enumerate(pixels):  # a photo in float64 would take eight times its memory
        lab = np.stack(
            (codes[:, 0] * (100 / top), codes[:, 1] / per_unit - 128, codes[:, 2] / per_unit - 128),
            axis=-1,
        )
        out[row] = np.rint(icc_matrix.from_lab(lab) * top)
    return out


@functools.cache
def srgb_profile() -> bytes:
    """sRGB as an ICC profile, the same bytes whenever it is asked for."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[24:36] = bytes((7, 208, 0, 1, 0, 1)) + bytes(6)  # the date of making: 1 January 2000
    data[84:100] = bytes(16)  # the identifier that would depend on it
    return bytes(data)


def _image(pixels: Pixels, mode: str) -> Image.Image:
    return Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
