"""Sample pictures of a training."""

from __future__ import annotations

import numpy as np

from pix2color import Colorizer
from pix2color.checkpoints import checkpoint
from pix2color.training.visualize import CELL_SIDE, GAP, sample_grid


def test_a_sample_shows_what_infer_makes_of_the_gray_photo(small_photos: list[np.ndarray]) -> None:
    """Without a calibration: none is of weights that change."""
    released = checkpoint.load()
    decode = released.decode.model_copy(update={"input_size": 96})
    grid = sample_grid(released.generator, small_photos[:2], decode, device="cpu")
    assert grid.shape == (2 * (CELL_SIDE + GAP), 3 * (CELL_SIDE + GAP), 3)
    colorizer = Colorizer.from_pretrained(device="cpu", runtime="torch")
    for row, photo in enumerate(small_photos[:2]):
        top = GAP + row * (CELL_SIDE + GAP)
        cells = [
            grid[top : top + CELL_SIDE, left : left + CELL_SIDE]
            for left in range(GAP, grid.shape[1], CELL_SIDE + GAP)
        ]
        gray, colorized, truth = cells
        assert np.array_equal(gray[..., 0], gray[..., 2])
        assert np.array_equal(colorized, colorizer(gray, input_size=96, calibration=0))
        assert abs(truth.mean((0, 1)) - photo.mean((0, 1))).max() < 20
