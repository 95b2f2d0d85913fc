"""Hints as a person might give them, drawn from the true colors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pix2color.models.hint_encoder import encode_hints

_STOP = 1 / 8


def sample_hints(ab: Tensor, seeds: Sequence[int]) -> Tensor:
    """Random points of the true colors: a geometric number with mean 7, 0 for one photo in eight.

    Zhang et al. 2017, section 3.2, draw the number so; places are uniform here, as are those of the
    curves that are measured. A photo's hints depend on its own seed alone.

    Args:
        ab: B,2,h,w in Lab units, the true colors on the cells of the hints.
        seeds: one a photo.

    Returns:
        B,3,h,w as `hint_input.pack` gives them.
    """
    height, width = ab.shape[-2:]
    given = torch.zeros(len(seeds), 1, height, width)
    for mask, seed in zip(given, seeds, strict=True):
        draw = np.random.Generator(np.random.Philox(key=[seed, 2]))
        count = draw.geometric(_STOP) - 1
        mask[0, draw.integers(height, size=count), draw.integers(width, size=count)] = 1
    return encode_hints(ab, given.to(ab.device))
