"""Sample pictures of a training: gray | colorized | truth, one row per photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pix2color.checkpoints.checkpoint import Checkpoint
from pix2color.config import DecodeConfig
from pix2color.data.decode import Pixels
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.images import from_array
from pix2color.inference.preprocess import gray_values
from pix2color.io import atomic_open
from pix2color.models.generator import Generator
from pix2color.runtime.torch import TorchRuntime

CELL_SIDE = 160
"""Of a photo in a picture, in pixels."""
GAP = 4
"""Between photos, in pixels."""


def colorizer_of(
    generator: Generator, decode: DecodeConfig, device: torch.device | str
) -> Colorizer:
    """A generator in training as the `Colorizer` that infer.py uses; switched to evaluation."""
    checkpoint = Checkpoint(generator, decode, meta={}, digest="", name="training")
    return Colorizer(TorchRuntime(checkpoint, device=device))


def sample_grid(
    generator: Generator,
    photos: Sequence[Pixels],
    decode: DecodeConfig,
    *,
    device: torch.device | str,
) -> np.ndarray:
    """Colorize the center squares of photos as infer.py does.

    Args:
        generator: is switched to evaluation.
        photos: H,W,3 uint8.
        decode: temperature, vividness, saturation and the network's size.
        device: where the generator is.

    Returns:
        H,W,3 uint8: one row per photo, columns gray, colorized, truth; white gaps.
    """
    colorizer = colorizer_of(generator, decode, device)
    grid = np.full((len(photos) * (CELL_SIDE + GAP), 3 * (CELL_SIDE + GAP), 3), 255, dtype=np.uint8)
    for row, photo in enumerate(photos):
        truth = center_square(photo, CELL_SIDE)
        gray = np.repeat(gray_values(from_array(truth))[..., None], 3, axis=2)
        colorized = colorizer.colorize(from_array(gray)).pixels
        top = GAP + row * (CELL_SIDE + GAP)
        for column, cell in enumerate((gray, colorized, truth)):
            left = GAP + column * (CELL_SIDE + GAP)
            grid[top : top + CELL_SIDE, left : left + CELL_SIDE] = cell
    return grid


def center_square(photo: Pixels, side: int) -> Pixels:
    """The center square of a photo, resized to side x side."""
    short = min(photo.shape[:2])
    top, left = (photo.shape[0] - short) // 2, (photo.shape[1] - short) // 2
    square = Image.fromarray(photo[top : top + short, left : left + short])
    return np.array(square.resize((side, side), Image.Resampling.LANCZOS))


def save_picture(path: Path, pixels: np.ndarray) -> None:
    """Write H,W,3 uint8 as a PNG, whole or not at all."""
    with atomic_open(path) as file:
        Image.fromarray(pixels).save(file, "PNG")
