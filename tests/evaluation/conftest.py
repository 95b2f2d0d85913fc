"""Small networks, photos as tensors, and the files that only some machines have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.color.lab import rgb_to_lab
from pix2color.config import DecodeConfig
from pix2color.runtime.base import NetworkInfo, NetworkOutput

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


class Warm:
    """Colors every pixel by its lightness, at half the size; counts its passes."""

    training = True

    def __init__(self) -> None:
        self.passes = 0
        self.sizes: list[tuple[int, int]] = []

    def train(self, mode: bool = True) -> Warm:
        """As nn.Module's."""
        self.training = mode
        return self

    def predict(self, lightness: Tensor, decode: DecodeConfig) -> Tensor:
        """As Generator's."""
        self.passes += 1
        self.sizes.append((lightness.shape[-2], lightness.shape[-1]))
        cells = F.avg_pool2d(lightness - 50, 2, ceil_mode=True)
        ab = torch.cat((cells, cells), dim=1) * decode.saturation / 2
        return F.interpolate(ab, size=lightness.shape[-2:], mode="bilinear")


class WarmRuntime:
    """The same colors as a `Runtime`; counts its passes."""

    kind, device = "torch", "cpu"

    def __init__(self, **decode: Any) -> None:
        self.info = NetworkInfo("warm", "d1", DecodeConfig(**decode), output_stride=2)
        self.passes = 0

    def run(self, lightness: np.ndarray, **options: Any) -> NetworkOutput:
        """See `Runtime.run`."""
        self.passes += 1
        cells = F.avg_pool2d(torch.from_numpy(lightness) - 50, 2).numpy() / 2
        return NetworkOutput(np.concatenate((cells, cells), axis=1))


@pytest.fixture
def warm() -> Warm:
    """A generator that needs no training, in training mode."""
    return Warm()


@pytest.fixture
def warm_runtime() -> WarmRuntime:
    """The runtime of `warm`."""
    return WarmRuntime(input_size=64)


@pytest.fixture(scope="session")
def rgb(small_photos: list[np.ndarray]) -> Tensor:
    """Four real photos, 4,3,64,64 in 0..1."""
    squares = [torch.from_numpy(photo[:64, :64].copy()) for photo in small_photos]
    return torch.stack(squares).permute(0, 3, 1, 2) / 255


@pytest.fixture(scope="session")
def lab(rgb: Tensor) -> Tensor:
    """The same in Lab."""
    return rgb_to_lab(rgb)


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of weights that cannot be downloaded; skips where it is missing."""
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip("needs ../shared/weights")
    return folder
