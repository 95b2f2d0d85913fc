"""The colors of a reference photo for another photo.

What the network predicts of each place relative to others stays; how common each color is in the
whole photo becomes the reference's. That is a change of the classes' prior, found by iterating
until the mean probabilities are the target (the E and M steps of Saerens, Latinne and Decaestecker
2002, which are also the scaling steps of entropic optimal transport from places to colors, Cuturi
2013).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color.color import ab_bins_numpy
from pix2color.color.lab_numpy import rgb_to_lab
from pix2color.errors import PhotoError, Pix2ColorError
from pix2color.inference.images import from_image
from pix2color.inference.prediction import Floats, Prediction
from pix2color.photo import profiles, read

_SIDE = 192  # pixels: the palette of a photo needs no more
_MIN_CHROMA = 3.0  # ab units: 95th percentile of a reference that has colors
_FLOOR = 1e-4  # share of every color, so that none is impossible
_ITERATIONS = 30
_MAX_CHANGE = 8.0  # of a class's log prior by one reference


def palette_of(image: Image.Image | str | Path) -> Floats:
    """The distribution of a photo's colors over the 313 bins: 313, sum 1.

    Args:
        image: a Pillow image or a file.

    Raises:
        Pix2ColorError: it cannot be read, or has no colors.
    """
    ab = rgb_to_lab(_thumbnail(image).astype(np.float32) / 255)[..., 1:]
    if np.quantile(np.hypot(ab[..., 0], ab[..., 1]), 0.95) < _MIN_CHROMA:
        raise Pix2ColorError("the reference photo has no colors to take")
    # A cell holds the mean of its pixels: single odd pixels make no palette.
    height, width = (max(2, side // 2 * 2) for side in ab.shape[:2])
    cells = ab[:height, :width].reshape(height // 2, 2, width // 2, 2, 2).mean(axis=(1, 3))
    index, weight = ab_bins_numpy.soft_encode(cells.reshape(-1, 2))
    counts = np.bincount(index.ravel(), weight.ravel(), ab_bins_numpy.COUNT)
    share = (1 - _FLOOR) * counts / counts.sum() + _FLOOR / ab_bins_numpy.COUNT
    return share.astype(np.float32)


def _thumbnail(image: Image.Image | str | Path) -> NDArray[np.uint8]:
    """The photo in sRGB, reduced: H,W,3."""
    try:
        photo = from_image(image) if isinstance(image, Image.Image) else read(image)
    except PhotoError as error:
        name = "image" if isinstance(image, Image.Image) else image
        raise Pix2ColorError(f"reference {name}: {error}") from None
    small = Image.fromarray(profiles.srgb_pixels(photo))
    small.thumbnail((_SIDE, _SIDE))
    return np.asarray(small)


def match_palette(prediction: Prediction, palette: Floats, strength: float) -> Prediction:
    """A prediction whose mean probabilities lie between its own and a palette.

    Args:
        prediction: with classes.
        palette: 313, sum 1.
        strength: 0: its own colors; 1: the palette's.

    Raises:
        Pix2ColorError: the weights have no classes.
    """
    log_p = prediction.log_probabilities().reshape(ab_bins_numpy.COUNT, -1)
    own = np.exp(log_p).mean(axis=1)
    target = np.exp(_log(own) * (1 - strength) + np.log(palette) * strength)
    target /= target.sum()
    change = np.zeros(ab_bins_numpy.COUNT, np.float32)
    for _ in range(_ITERATIONS):
        mean = ab_bins_numpy.softmax(log_p + change[:, None], axis=0).mean(axis=1)
        change = np.clip(change + _log(target) - _log(mean), -_MAX_CHANGE, _MAX_CHANGE)
    return prediction.with_logits(prediction.values + change[:, None, None])


def _log(share: Floats) -> Floats:
    return np.log(np.maximum(share, 1e-12))
