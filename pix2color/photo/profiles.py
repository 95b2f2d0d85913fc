"""ICC profiles of photos: matrix profiles are kept, others converted to sRGB by Pillow."""

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
    """Pixels with a profile of matrix and curves -> pixels, profile, notes.

    Pixels with a table-based profile are converted to sRGB in 8 bits, the depth of Pillow's color
    management. A profile that cannot be read, or has other channels, is dropped with a note.
    """
    kind = icc[16:20]
    space = icc_matrix.parse_icc(icc)
    if space is not None and space.is_gray == (pixels.ndim == 2):
        return pixels, icc, ()
    if kind == b"RGB " and pixels.ndim == 2 and space is not None:
        return pixels, icc, ()  # a gray photo in an RGB space: R = G = B
    same_channels = (kind == b"GRAY") == (pixels.ndim == 2)
    if kind in (b"RGB ", b"GRAY") and same_channels and not icc_matrix.is_degenerate(icc):
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
    """Pixels of any mode -> sRGB, and the profile to store with them.

    Args:
        pixels: uint8; LAB also uint16.
        mode: Pillow's name of the color space.
        icc: the profile to convert from; without one Pillow's default conversion is used.

    Returns:
        H,W,3 of the pixels' type, and sRGB's profile, or None where no profile was applied.

    Raises:
        PhotoError: the profile cannot be used (CMYK: it is ignored).
    """
    if mode == "LAB":
        return _lab_to_srgb(pixels), srgb_profile()
    image = _image(pixels, mode)
    if mode == "YCbCr":  # its profile describes the RGB that it encodes
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
        if mode == "CMYK":  # the photo can be read without it
            return np.array(image.convert("RGB")), None
        raise PhotoError(f"its ICC profile cannot be used: {error}") from None
    assert converted is not None
    return np.array(converted), srgb_profile()


def _lab_to_srgb(pixels: Pixels) -> Pixels:
    """H,W,3 of L over the full range, a and b around the middle, under D50 -> sRGB."""
    top = np.iinfo(pixels.dtype).max
    per_unit = (top + 1) / 256
    out = np.empty_like(pixels)
    for row, codes in enumerate(pixels):  # float64 takes eight times the memory of the photo
        lab = np.stack(
            (codes[:, 0] * (100 / top), codes[:, 1] / per_unit - 128, codes[:, 2] / per_unit - 128),
            axis=-1,
        )
        out[row] = np.rint(icc_matrix.from_lab(lab) * top)
    return out


@functools.cache
def srgb_profile() -> bytes:
    """sRGB as an ICC profile; the bytes are always the same."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[24:36] = bytes((7, 208, 0, 1, 0, 1)) + bytes(6)  # creation date: 1 January 2000
    data[84:100] = bytes(16)  # profile ID, a hash that includes the date
    return bytes(data)


def _image(pixels: Pixels, mode: str) -> Image.Image:
    return Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
