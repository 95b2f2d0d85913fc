"""The bundled photos, and Lab of what was made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pix2color.color.lab_numpy import rgb_to_lab

PHOTOS = Path(__file__).parents[1] / "photos"


def lab_of(pixels: np.ndarray) -> np.ndarray:
    """H,W,3 or 4 uint8 -> Lab, 3,H,W."""
    return np.moveaxis(rgb_to_lab(pixels[..., :3] / 255), -1, 0)
