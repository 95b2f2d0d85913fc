"""Cast: which cell a color falls into, and the distance of two distributions over the cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pix2color.evaluation import cast


def _color(chroma: float, hue: float) -> tuple[float, float]:
    return chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))


def _pixel(lightness: float, a: float, b: float) -> int:
    ab = torch.tensor([a, b]).view(1, 2, 1, 1)
    return int(cast.cells(torch.full((1, 1, 1, 1), lightness), ab))


@pytest.mark.parametrize(
    ("lightness", "band"), [(0.0, 0), (9.99, 0), (10.0, 1), (55.0, 5), (99.9, 9), (100.0, 9)]
)
def test_bands_are_of_the_true_lightness(lightness: float, band: int) -> None:
    assert _pixel(lightness, 0.0, 0.0) == 7 * band


@pytest.mark.parametrize(
    ("hue", "name"),
    [
        (0.5, "red"), (59, "red"), (61, "yellow"), (109, "yellow"), (111, "green"), (169, "green"),
        (171, "cyan"), (229, "cyan"), (231, "blue"), (299, "blue"), (301, "magenta"),
        (359.5, "magenta"),
    ],
)  # fmt: skip
def test_each_hue_has_its_sector(hue: float, name: str) -> None:
    assert cast.KINDS[_pixel(5.0, *_color(20, hue))] == name


def test_a_hue_of_exactly_zero_is_red() -> None:
    assert cast.KINDS[_pixel(5.0, 20.0, 0.0)] == "red"
    assert cast.KINDS[_pixel(5.0, 20.0, -0.0)] == "red"
    assert cast.KINDS[_pixel(5.0, 20.0, -1e-8)] in ("red", "magenta")  # 360 degrees, rounded


def test_little_chroma_is_neutral_whatever_its_hue() -> None:
    for hue in range(0, 360, 30):
        assert cast.KINDS[_pixel(5.0, *_color(7.9, hue))] == "neutral"
        assert cast.KINDS[_pixel(5.0, *_color(8.1, hue))] != "neutral"


def test_counts_are_of_each_photo(lab: Tensor) -> None:
    counts = cast.cell_counts(lab[:, :1], lab[:, 1:])
    assert counts.shape == (len(lab), cast.CELLS) == (4, 70)
    assert (counts.sum(1) == 64 * 64).all()
    apart = torch.cat([cast.cell_counts(one[None, :1], one[None, 1:]) for one in lab])
    assert torch.equal(counts, apart)


def test_the_truth_has_no_cast_and_swapped_cells_have_all_of_it() -> None:
    truth = np.zeros(cast.CELLS)
    truth[[3, 40]] = 300, 700
    moved = np.zeros(cast.CELLS)
    moved[[2, 41]] = 3, 7
    assert cast.cast(truth, truth) == 0
    assert cast.cast(5 * truth, truth) == 0
    assert cast.cast(moved, truth) == pytest.approx(100)


def test_it_is_the_percentage_of_pixels_that_would_have_to_move() -> None:
    truth = np.full(cast.CELLS, 10.0)
    veiled = truth.copy()
    veiled[63] -= 7  # seven light neutral pixels of 700 are yellow
    veiled[65] += 7
    assert cast.cast(veiled, truth) == pytest.approx(1.0)


def test_gray_has_the_share_of_colored_pixels(lab: Tensor) -> None:
    """Pixels keep their band, so of a gray picture all that is not neutral would have to move."""
    lightness, ab = lab[:, :1], lab[:, 1:]
    truth = cast.cell_counts(lightness, ab).sum(0)
    gray = cast.cell_counts(lightness, torch.zeros_like(ab)).sum(0)
    colored = (torch.hypot(*ab.unbind(1)) >= cast.NEUTRAL_CHROMA).double().mean()
    assert float(cast.cast(gray, truth)) == pytest.approx(100 * float(colored))


def test_errors_that_cancel_out_over_the_set_are_not_seen(lab: Tensor) -> None:
    """It is a figure of the set, not of photos: each photo may have another's colors."""
    lightness = torch.full_like(lab[:, :1], 55.0)
    truth = cast.cell_counts(lightness, lab[:, 1:])
    swapped = cast.cell_counts(lightness, lab[:, 1:].flip(0))
    assert (cast.cast(swapped, truth) > 1).all()
    assert float(cast.cast(swapped.sum(0), truth.sum(0))) == 0
