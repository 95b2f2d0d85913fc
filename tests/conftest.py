"""Fixtures for all tests: real photos that come with scikit-image, whole, small, and as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

# Networks here are so small that handing work to a second thread costs more than it saves, and
# one thread adds in one order: results are the same on every machine.
torch.set_num_threads(1)

SMALL_SIDE = 72


@pytest.fixture(scope="session")
def photos() -> dict[str, np.ndarray]:
    """Four color photos by name, uint8 H,W,3."""
    names = ("astronaut", "coffee", "chelsea", "rocket")
    return {name: np.ascontiguousarray(getattr(skimage.data, name)()) for name in names}


@pytest.fixture(scope="session")
def small_photos(photos: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The same photos, reduced to a shorter side of SMALL_SIDE pixels; their shapes differ."""
    small = []
    for photo in photos.values():
        height, width = photo.shape[:2]
        scale = SMALL_SIDE / min(height, width)
        size = (round(width * scale), round(height * scale))
        small.append(np.array(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS)))
    return small


@pytest.fixture(scope="session")
def photo_folder(small_photos: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with those small photos as PNG files. Shared: do not write into it."""
    folder = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(small_photos):
        Image.fromarray(photo).save(folder / f"{number}.png")
    return folder


def shrunk(photo: np.ndarray, side: int = 64) -> torch.Tensor:
    """A photo as RGB: 1,3,side,side float32 in 0..1."""
    image = Image.fromarray(photo).resize((side, side), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0).float() / 255


@pytest.fixture(scope="session")
def square(photos: dict[str, np.ndarray]) -> torch.Tensor:
    """The coffee cup, 1,3,64,64 in 0..1. Shared: do not write into it."""
    return shrunk(photos["coffee"])


@pytest.fixture(scope="session")
def astronaut(photos: dict[str, np.ndarray]) -> torch.Tensor:
    """The astronaut, of many colors, 1,3,64,64 in 0..1. Shared: do not write into it."""
    return shrunk(photos["astronaut"])
