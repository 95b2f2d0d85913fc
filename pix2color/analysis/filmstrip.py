"""One photo over the course of one or more trainings, from their sample pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pix2color.errors import TrainingError
from pix2color.training.visualize import CELL_SIDE, GAP

_CAPTION = 16  # height in pixels


def filmstrip(runs: Sequence[Path], *, photo: int = 0) -> np.ndarray:
    """One photo over the course of a training: gray, its colors in every sample picture, truth.

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
            if not 0 <= photo < grid.height // (CELL_SIDE + GAP):
                raise TrainingError(f"{path} has no photo {photo}: they count from 0")
            gray, colored, truth = (_cell(grid, photo, column) for column in range(3))
            if not cells:
                cells.append(("gray", gray))
            cells.append((f"{run.name} {int(path.stem):,}", colored))
    if truth is not None:
        cells.append(("truth", truth))
    width = len(cells) * (CELL_SIDE + GAP) + GAP
    picture = Image.new("RGB", (width, CELL_SIDE + 2 * GAP + _CAPTION), "white")
    pen = ImageDraw.Draw(picture)
    for number, (title, cell) in enumerate(cells):
        left = GAP + number * (CELL_SIDE + GAP)
        pen.text((left, GAP), title, fill="black", font_size=11)
        picture.paste(cell, (left, GAP + _CAPTION))
    return np.array(picture)


def _cell(grid: Image.Image, row: int, column: int) -> Image.Image:
    top, left = (GAP + number * (CELL_SIDE + GAP) for number in (row, column))
    return grid.crop((left, top, left + CELL_SIDE, top + CELL_SIDE))
