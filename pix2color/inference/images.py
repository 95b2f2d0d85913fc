"""Paths, Pillow images and arrays <-> Photo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color.errors import PhotoError, Pix2ColorError
from pix2color.photo import Photo, read, reading

ImageLike = Photo | Image.Image | NDArray[Any] | str | Path


def as_photo(image: ImageLike) -> tuple[Photo, Callable[[Photo], Any]]:
    """An image as a Photo, and the conversion of a Photo back to the image's type.

    Raises:
        PhotoError: a file that cannot be read, an image of a kind that is not supported.
        Pix2ColorError: another type.
    """
    if isinstance(image, Photo):
        return image, lambda photo: photo
    if isinstance(image, str | Path):
        return read(image), lambda photo: photo
    if isinstance(image, Image.Image):
        return from_image(image), lambda photo: to_image(photo, image)
    if isinstance(image, np.ndarray):
        return from_array(image), lambda photo: to_array(photo, image)
    raise Pix2ColorError(
        f"{type(image).__name__} is not an image: give a path, a Photo, a Pillow image or an array"
    )


def from_image(image: Image.Image) -> Photo:
    """A Pillow image of any mode as a Photo; its orientation tag is not applied.

    The depth is Pillow's: 8 bits per channel for a file of 16 bits with colors.
    """
    pixels, alpha = reading.decode_pixels(image)
    info = {"icc_profile": image.info.get("icc_profile")}
    return reading.build_photo(pixels, alpha, "PNG", {}, info, mode=image.mode)


def to_image(photo: Photo, source: Image.Image) -> Image.Image:
    """The Photo as a Pillow image (RGB, RGBA) with the source's info.

    Raises PhotoError for 16 bits a channel, which Pillow does not have in color.
    """
    if photo.bits == 16:
        raise PhotoError("Pillow has no 16-bit color; give an array or a path instead of an image")
    parts = [photo.pixels]
    if photo.alpha is not None:
        parts.append(photo.alpha[..., None])
    image = Image.fromarray(np.concatenate(parts, axis=2))
    image.info = {k: v for k, v in source.info.items() if k != "transparency"}
    image.info.pop("icc_profile", None)
    if photo.icc:
        image.info["icc_profile"] = photo.icc
    return image


def from_array(array: NDArray[Any]) -> Photo:
    """H,W | H,W,1..4 uint8, uint16, bool or float 0..1 as a Photo in sRGB."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4 or 0 in array.shape:
        raise PhotoError(f"an array H,W or H,W,1..4 is expected, not {array.shape}")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise PhotoError("float pixels must lie within 0..1")
        # float16 ends at 65504
        wide = array.astype(np.float32) if array.dtype == np.float16 else array
        array = np.rint(wide * 65535).astype(np.uint16)
    elif array.dtype not in (np.uint8, np.uint16):
        raise PhotoError(f"pixels must be uint8, uint16 or float, not {array.dtype}")
    array = np.array(array)
    channels = array.shape[2]
    alpha = array[..., -1].copy() if channels in (2, 4) else None
    color = array[..., :3].copy() if channels >= 3 else array[..., 0].copy()
    return Photo(pixels=color, alpha=alpha)


def to_array(photo: Photo, source: NDArray[Any]) -> NDArray[Any]:
    """H,W,3 (H,W,4 with alpha) of the source's type."""
    parts = [photo.pixels]
    if photo.alpha is not None:
        parts.append(photo.alpha[..., None])
    array = np.concatenate(parts, axis=2)
    if np.issubdtype(source.dtype, np.floating):
        return (array / 65535.0).astype(source.dtype)
    return array
