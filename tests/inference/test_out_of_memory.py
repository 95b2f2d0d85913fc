"""Memory that runs out while coloring: smaller inputs, then the CPU, then smaller bands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from fake_model import Tint, fake_colorizer, released

from pix2color.config import DecodeConfig
from pix2color.errors import PhotoError
from pix2color.inference import compose
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.prediction import Prediction
from pix2color.photo import Photo
from pix2color.runtime.base import NetworkOutput
from pix2color.runtime.torch import TorchRuntime


@pytest.fixture
def colorizer() -> Colorizer:
    return fake_colorizer()


class Hungry(Tint):
    """Runs out of memory above a size."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def predict_raw(self, lightness: torch.Tensor) -> torch.Tensor:
        if min(lightness.shape[-2:]) > self._most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().predict_raw(lightness)


def hungry(most: int) -> Colorizer:
    return Colorizer(TorchRuntime(replace(released(input_size=192), generator=Hungry(most))))  # type: ignore[arg-type]


def test_out_of_memory_tries_smaller_networks_and_says_so() -> None:
    photo = Photo(np.random.default_rng(0).integers(0, 256, (50, 70), dtype=np.uint8))
    out = hungry(100).colorize(photo)
    assert out.notes == ("out of memory: network at 96 pixels on cpu",)
    assert np.ptp(out.pixels.astype(int), axis=-1).max() > 10
    with pytest.raises(PhotoError, match="out of memory"):
        hungry(10).colorize(photo)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("could not create a primitive"),
    ],
)
def test_every_way_to_run_out_of_memory_is_known(
    error: Exception, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = colorizer.runtime.run

    def cramped(lightness: np.ndarray, **options: Any) -> NetworkOutput:
        if min(lightness.shape[-2:]) > 100:
            raise error
        return run(lightness, **options)

    monkeypatch.setattr(colorizer.runtime, "run", cramped)
    decode = colorizer.resolve_decode(input_size=192)
    out = colorizer.colorize(Photo(np.full((300, 200), 99, np.uint8)), decode)
    assert out.notes == ("out of memory: network at 96 pixels on cpu",)


def test_memory_that_runs_out_in_decoding_counts_too(
    colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = Prediction.ab

    def cramped(self: Prediction, decode: DecodeConfig) -> np.ndarray:
        if min(self.input_lightness.shape) > 100:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return decoded(self, decode)

    monkeypatch.setattr(Prediction, "ab", cramped)
    out = colorizer.colorize(
        Photo(np.full((300, 200), 99, np.uint8)), colorizer.resolve_decode(input_size=192)
    )
    assert out.notes == ("out of memory: network at 96 pixels on cpu",)


def test_errors_of_another_kind_are_not_taken_for_it(
    colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*arguments: object, **options: object) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(colorizer.runtime, "run", faulty)
    with pytest.raises(RuntimeError, match="mat1"):
        colorizer.colorize(Photo(np.full((30, 20), 99, np.uint8)))


class Elsewhere(Tint):
    """On a device that is full: `room` sizes up to this fit, and for 0 not even the weights do."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self.place = "cpu"

    def to(self, where: torch.device) -> Elsewhere:  # type: ignore[override]
        """Only notes the place: there is no such device here."""
        self.place = where.type
        if where.type == "cuda" and self._room == 0:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self

    def predict_raw(self, lightness: torch.Tensor) -> torch.Tensor:
        """As Tint's, where there is room."""
        if self.place == "cuda" and min(lightness.shape[-2:]) > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().predict_raw(lightness)


@pytest.mark.parametrize(
    ("room", "notes"),
    [
        (192, ()),
        (100, ("out of memory: network at 96 pixels on cuda",)),
        (10, ("out of memory: network at 192 pixels on cpu",)),
        (0, ("out of memory: network at 192 pixels on cpu",)),
    ],
)
def test_a_full_device_gives_way_to_the_cpu(
    room: int, notes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor,
        "to",
        lambda self, *a, **k: self if a == (torch.device("cuda"),) else place(self, *a, **k),
    )
    network = Elsewhere(room)
    checkpoint = replace(released(input_size=192), generator=network)  # type: ignore[arg-type]
    colorizer = Colorizer(TorchRuntime(checkpoint, device="cuda"))
    photo = Photo(np.random.default_rng(0).integers(0, 256, (300, 200), dtype=np.uint8))
    out = [
        colorizer.colorize(photo),
        colorizer.colorize(photo),
    ]  # the second tries the device again
    assert [o.notes for o in out] == [notes, notes]
    assert (out[0].pixels == out[1].pixels).all()
    assert np.ptp(out[0].pixels.astype(int), axis=-1).max() > 10
    assert network.place == ("cuda" if room >= 100 else "cpu")


def test_out_of_memory_in_the_bands_takes_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    real_compose = compose.compose_rgb

    def cramped(*arguments: object, band_pixels: int | None = None) -> np.ndarray:
        if band_pixels is None:
            raise MemoryError
        return real_compose(*arguments, band_pixels=band_pixels)  # type: ignore[arg-type]

    monkeypatch.setattr(compose, "compose_rgb", cramped)
    out = fake_colorizer().colorize(Photo(np.full((40, 40), 99, np.uint8)))
    assert "smaller bands" in out.notes[0]
