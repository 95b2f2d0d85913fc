"""Images of photos for browsers: full size, upright, 8 bits, in a format they read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pix2color.photo import Limits, Photo, read
from pix2color.photo.profiles import to_uint8
from pix2color.photo.writing import atomic_open_photo

_BROWSER_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_MAX_OVERLAY_SIDE = 1600  # pixels of an overlay's side
_CONFIDENT = 0.35
"""Confidence from which nothing is tinted; few places of a photo have more."""
_OVERLAY_COLOR = np.array((255, 0, 128), np.float32)
"""Color of places where the network is not sure: one that old photos seldom have."""


def result_view(result: Path, limits: Limits) -> Path:
    """The colored file itself where a browser shows it, else a JPEG or PNG of all its pixels."""
    if result.suffix.lower() in _BROWSER_SUFFIXES:
        return result
    stem = result.with_name(f"view-{result.stem}")
    for path in (stem.with_name(stem.name + suffix) for suffix in (".jpg", ".png")):
        if path.exists():
            return path
    return render(read(result, limits=limits), stem)


def render(photo: Photo, stem: Path) -> Path:
    """A photo as a JPEG, or as a PNG where it has alpha, of its full size."""
    pixels = to_uint8(photo.pixels)
    path = stem.with_name(stem.name + (".jpg" if photo.alpha is None else ".png"))
    with atomic_open_photo(path) as file:
        if photo.alpha is None:
            image = Image.fromarray(np.ascontiguousarray(pixels))
            image.save(file, "JPEG", quality=92, icc_profile=photo.icc)
        else:
            color = pixels if pixels.ndim == 3 else pixels[..., None]
            rgba = np.concatenate((color, to_uint8(photo.alpha)[..., None]), axis=2)
            image = Image.fromarray(rgba)
            image.save(file, "PNG", compress_level=1, icc_profile=photo.icc)
    return path


def confidence_overlay(photo: Photo, confidence: Path, path: Path) -> Path:
    """Tint the gray photo where the network's confidence is low.

    Args:
        photo: the original.
        confidence: file of the confidence map that the pipeline wrote.
        path: of the JPEG to write.
    """
    scale = min(1.0, _MAX_OVERLAY_SIDE / max(photo.width, photo.height))
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    base = Image.fromarray(np.ascontiguousarray(to_uint8(photo.pixels))).convert("L").resize(size)
    with Image.open(confidence) as image:
        certainty = np.asarray(image.resize(size), np.float32)[..., None] / 255
    gray = np.asarray(base, np.float32)[..., None]
    tinted = gray + 0.65 * np.clip(1 - certainty / _CONFIDENT, 0, 1) * (_OVERLAY_COLOR - gray)
    with atomic_open_photo(path) as file:
        Image.fromarray(np.rint(tinted).astype(np.uint8)).save(file, "JPEG", quality=88)
    return path
