"""The colors of a reference photo, laid on another photo's guess.

What the network thinks of each place stays; how common each color is in the whole photo becomes
the reference's. That is a change of the classes' prior, found by iterating until the mean
probabilities are those wanted (the E and M steps of Saerens, Latinne and Decaestecker 2002, which
are also the scaling steps of entropic optimal transport from places to colors, Cuturi 2013).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pix2color.color import ab_bins
from pix2color.color.lab import rgb_to_lab
from pix2color.errors import PhotoError, Pix2ColorError
from pix2color.inference.images import from_image
from pix2color.inference.prediction import Prediction
from pix2color.photo import profiles, read

_SIDE = 192  # pixels: the palette of a photo needs no more
_FLOOR = 1e-4  # share of every color, so that none is impossible
_STEPS = 30
_MOST = 8.0  # change of a class's log prior that one reference can make


def palette_of(picture: Image.Image | str | Path) -> Tensor:
    """The distribution of a photo's colors over the 313 bins: 313, sum 1.

    Args:
        picture: a Pillow image or a file.

    Raises:
        Pix2ColorError: it cannot be read, or has no colors.
    """
    rgb = torch.from_numpy(_small(picture)).permute(2, 0, 1)[None].float() / 255
    ab = rgb_to_lab(rgb)[:, 1:]
    if float(torch.hypot(ab[:, 0], ab[:, 1]).quantile(0.95)) < 3:
        raise Pix2ColorError("the reference photo has no colors to take")
    # A cell holds the mean of its pixels: single odd pixels make no palette.
    code = ab_bins.soft_encode(F.avg_pool2d(ab, 2))
    counts = torch.zeros(ab_bins.COUNT, dtype=torch.float64)
    counts.scatter_add_(0, code.index.flatten(), code.weight.flatten().double())
    return ((1 - _FLOOR) * counts / counts.sum() + _FLOOR / ab_bins.COUNT).float()


def _small(picture: Image.Image | str | Path) -> NDArray[np.uint8]:
    """The photo in sRGB, reduced: H,W,3."""
    try:
        photo = from_image(picture) if isinstance(picture, Image.Image) else read(picture)
    except PhotoError as error:
        name = "image" if isinstance(picture, Image.Image) else picture
        raise Pix2ColorError(f"reference {name}: {error}") from None
    pixels = photo.pixels if photo.bits == 8 else (photo.pixels >> 8).astype(np.uint8)
    small = Image.fromarray(pixels)
    small.thumbnail((_SIDE, _SIDE))
    codes = np.array(small)
    return profiles.to_srgb(codes, small.mode, photo.icc)[0]


def match_palette(guess: Prediction, palette: Tensor, strength: float) -> Prediction:
    """A guess whose mean probabilities lie between its own and a palette.

    Args:
        guess: with classes.
        palette: 313, sum 1.
        strength: 0: its own colors; 1: the palette's.

    Raises:
        Pix2ColorError: the weights have no classes, or the strength lies outside 0..1.
    """
    if not 0 <= strength <= 1:
        raise Pix2ColorError(f"the strength of a reference lies in 0..1, not at {strength:g}")
    log_p = guess.log_probabilities().flatten(1)  # 313,n
    own = log_p.exp().mean(1)
    wanted = (own.clamp_min(1e-12).log() * (1 - strength) + palette.log() * strength).exp()
    wanted /= wanted.sum()
    change = torch.zeros(ab_bins.COUNT)
    for _ in range(_STEPS):
        now = torch.softmax(log_p + change[:, None], dim=0).mean(1)
        step = wanted.clamp_min(1e-12).log() - now.clamp_min(1e-12).log()
        change = (change + step).clamp(-_MOST, _MOST)
    return guess.with_logits(guess.raw + change[:, None, None])
