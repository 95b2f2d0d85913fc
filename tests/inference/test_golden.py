"""The packaged weights' colors stay the same while the code around them changes.

This guards a restructuring, another library version or another machine: `golden.npz` holds the
network's ab of the six photos, and what the code gives now may differ from it by rounding alone.
It says nothing about how good the colors are (tests/evaluation/test_default_weights.py does). New
weights need a new file, after a look at the photos they color:

    python tests/inference/test_golden.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pix2color.color.lab import rgb_to_lab
from pix2color.inference import preprocess
from pix2color.inference.colorizer import Colorizer
from pix2color.photo import read

PHOTOS = sorted((Path(__file__).parents[2] / "photos").glob("*.jpg"))
GOLDEN = Path(__file__).with_name("golden.npz")
GRID = 48  # cells a side at which ab is kept
MOST = 1.0  # ab units: the greatest difference of a cell
MEAN = 0.05  # ab units: the mean difference of a photo's cells; golden.npz itself is float16


def colors(colorizer: Colorizer, path: Path) -> np.ndarray:
    """ab of a photo, averaged over GRID x GRID cells: 2,GRID,GRID."""
    ab = colorizer.predict_ab(preprocess.gray_values(read(path)), colorizer.decode)
    return F.adaptive_avg_pool2d(torch.from_numpy(ab), GRID).numpy()


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer.from_pretrained(device="cpu")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_colors_are_the_same_but_for_rounding(path: Path, colorizer: Colorizer) -> None:
    golden = np.load(GOLDEN)[path.stem].astype(np.float32)
    off = np.abs(colors(colorizer, path) - golden)
    said = f"{path.stem}: ab differs by {off.mean():.3f}, at most {off.max():.2f}"
    assert off.max() <= MOST and off.mean() <= MEAN, f"{said}; see this file's first lines"
    assert np.abs(golden).max() > 10  # it is a colored picture that is compared


@pytest.mark.usefixtures("threads")
def test_the_same_for_any_number_of_threads(colorizer: Colorizer) -> None:
    found = []
    for count in (1, 2, 4):
        torch.set_num_threads(count)
        found.append(colors(colorizer, PHOTOS[0]))
    assert all((one == found[0]).all() for one in found)


def test_the_same_in_any_list(colorizer: Colorizer) -> None:
    together = colorizer(PHOTOS[:3])
    for path, one in zip(PHOTOS, together, strict=False):
        assert (one.pixels == colorizer(path).pixels).all()


def test_the_files_written_have_those_colors(colorizer: Colorizer) -> None:
    """From the photo's pixels: the whole way through the Colorizer, not its network alone."""
    photo = read(PHOTOS[0])
    out = colorizer(photo)
    rgb = torch.from_numpy(np.ascontiguousarray(out.pixels)).permute(2, 0, 1).float() / 255
    ab = F.adaptive_avg_pool2d(rgb_to_lab(rgb[None])[:, 1:], GRID)[0].numpy()
    golden = np.load(GOLDEN)[PHOTOS[0].stem].astype(np.float32)
    chroma, wanted = np.hypot(*ab).mean(), np.hypot(*golden).mean()
    assert chroma == pytest.approx(wanted, rel=0.15)  # less where sRGB has no such color
    assert np.corrcoef(ab.ravel(), golden.ravel())[0, 1] > 0.97


if __name__ == "__main__":
    made = Colorizer.from_pretrained(device="cpu")
    arrays = {path.stem: colors(made, path).astype(np.float16) for path in PHOTOS}
    np.savez_compressed(GOLDEN, **arrays)
