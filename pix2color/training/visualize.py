"""Sample pictures: gray | predicted | truth, a row a photo; and a photo's way through a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from pix2color.color.lab import lab_to_rgb_in_gamut, lightness_to_gray, rgb_to_lab
from pix2color.config import DecodeConfig
from pix2color.errors import TrainingError
from pix2color.io import atomic_open
from pix2color.models.generator import Generator

_SIDE = 160  # of a cell, in pixels
_GAP = 4
_CAPTION = 16


@torch.no_grad()
def sample_grid(
    generator: Generator,
    photos: Sequence[np.ndarray],
    decode: DecodeConfig,
    *,
    device: torch.device,
) -> np.ndarray:
    """Color the center squares of photos.

    Args:
        generator: in evaluation mode.
        photos: H,W,3 uint8.
        decode: temperature, vividness, saturation and the network's size.

    Returns:
        H,W,3 uint8: a row a photo, columns gray, predicted, truth; white gaps.
    """
    rgb = torch.stack([_square(photo) for photo in photos]).to(device)
    lab = rgb_to_lab(rgb)
    lightness = lab[:, :1]
    size = (decode.input_size, decode.input_size)
    small = F.interpolate(lightness, size=size, mode="bilinear", antialias=True)
    ab = generator.predict(small, decode)
    ab = F.interpolate(ab, size=lightness.shape[-2:], mode="bilinear", align_corners=False)
    predicted = lab_to_rgb_in_gamut(torch.cat((lightness, ab), dim=1))
    gray = lightness_to_gray(lightness).expand_as(rgb)
    cells = torch.stack((gray, predicted, rgb), dim=1)  # B,3 cells,3,H,W
    cells = F.pad(cells, (_GAP, 0, _GAP, 0), value=1.0)
    grid = cells.permute(0, 3, 1, 4, 2)  # B,H,3 cells,W,3
    rows, height, columns, width, _ = grid.shape
    flat = grid.reshape(rows * height, columns * width, 3)
    return (flat * 255).round().clamp(0, 255).byte().cpu().numpy()


def save_picture(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG whole: H,W,3 uint8."""
    with atomic_open(path) as file:
        Image.fromarray(pixels).save(file, "PNG")


def filmstrip(runs: Sequence[Path], *, photo: int = 0) -> np.ndarray:
    """One photo over the course of a training: gray, every sample picture's colors, truth.

    Args:
        runs: run folders in order, such as a pretraining and the adversarial stage after it.
        photo: its row in the sample pictures, from 0.

    Returns:
        H,W,3 uint8 in one row, with the number of samples seen above each.

    Raises:
        TrainingError: a folder without sample pictures, or no such photo in them.
    """
    cells: list[tuple[str, Image.Image]] = []
    truth: Image.Image | None = None
    for run in runs:
        paths = sorted((run / "samples").glob("*.png"))
        if not paths:
            raise TrainingError(f"{run} holds no sample pictures: let it validate once")
        for path in paths:
            with Image.open(path) as opened:
                grid = opened.convert("RGB")
            if not 0 <= photo < grid.height // (_SIDE + _GAP):
                raise TrainingError(f"{path} has no photo {photo}: they count from 0")
            gray, colored, truth = (_cell(grid, photo, column) for column in range(3))
            if not cells:
                cells.append(("gray", gray))
            cells.append((f"{run.name} {int(path.stem):,}", colored))
    if truth is not None:
        cells.append(("truth", truth))
    width = len(cells) * (_SIDE + _GAP) + _GAP
    picture = Image.new("RGB", (width, _SIDE + 2 * _GAP + _CAPTION), "white")
    pen = ImageDraw.Draw(picture)
    for number, (title, cell) in enumerate(cells):
        left = _GAP + number * (_SIDE + _GAP)
        pen.text((left, _GAP), title, fill="black", font_size=11)
        picture.paste(cell, (left, _GAP + _CAPTION))
    return np.array(picture)


def _cell(grid: Image.Image, row: int, column: int) -> Image.Image:
    top, left = (_GAP + number * (_SIDE + _GAP) for number in (row, column))
    return grid.crop((left, top, left + _SIDE, top + _SIDE))


def _square(photo: np.ndarray) -> torch.Tensor:
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = np.ascontiguousarray(photo[top : top + side, left : left + side])
    rgb = torch.from_numpy(square).permute(2, 0, 1).unsqueeze(0).float() / 255
    return F.interpolate(rgb, size=(_SIDE, _SIDE), mode="bilinear", antialias=True)[0]
