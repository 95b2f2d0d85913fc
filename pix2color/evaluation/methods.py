"""What is compared: truth, gray, random, a constant color, and networks.

A row is a name and a function from a batch of photos to their ab. Networks read only the batch's
lightness; truth and random are there to show what the figures' ends mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pix2color.color.lab import rgb_to_lab
from pix2color.config import DecodeConfig
from pix2color.data.dataset import Pixels
from pix2color.evaluation.protocol import network_input, resize, stack


@dataclass(frozen=True, eq=False)
class Batch:
    """Photos of one shape, on the device."""

    indices: list[int]
    """Which of the evaluated photos they are."""
    rgb: Tensor
    """B,3,H,W in 0..1."""
    lightness: Tensor
    """B,1,H,W in 0..100."""
    ab: Tensor
    """B,2,H,W: the true colors."""

    @classmethod
    def of(
        cls, photos: Sequence[Pixels], indices: Sequence[int], device: torch.device | str
    ) -> Batch:
        """The photos with these indices, which share one shape."""
        rgb = stack(photos, indices, device)
        lightness, ab = rgb_to_lab(rgb).split((1, 2), dim=1)
        return cls(list(indices), rgb, lightness, ab)

    def mirrored(self) -> Batch:
        """The same photos flipped left to right."""
        planes = (plane.flip(-1) for plane in (self.rgb, self.lightness, self.ab))
        return Batch(self.indices, *planes)


@dataclass(frozen=True)
class Method:
    """A line of the table."""

    name: str
    predict: Callable[[Batch], Tensor]
    """A batch -> ab B,2,H,W in Lab units; it may lie outside sRGB."""
    primary: bool = False
    """Timed, and shown in the picture grid."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Plain values for the report: checkpoint, digest, settings, parameters."""


class RawGenerator(Protocol):
    """What a network row needs of a generator (`pix2color.models.Generator` or a stand-in)."""

    def predict_raw(self, lightness: Tensor) -> Tensor:
        """L B,1,H,W in 0..100 -> raw output."""
        ...

    def decode_raw(self, raw: Tensor, size: tuple[int, int], decode: DecodeConfig) -> Tensor:
        """Raw output -> ab B,2,*size."""
        ...


class CachedPredictor:
    """A generator whose last raw output is kept, so that rows with other settings share the pass.

    Args:
        generator: in evaluation mode, on the device of the batches.
        autocast: run it in this precision (torch.bfloat16); None: float32.
    """

    def __init__(self, generator: RawGenerator, *, autocast: torch.dtype | None = None) -> None:
        self._generator = generator
        self._autocast = autocast
        self._batch: Batch | None = None
        self._raw: dict[int, tuple[Tensor, tuple[int, int]]] = {}

    def method(
        self,
        name: str,
        decode: DecodeConfig,
        *,
        featured: bool = True,
        about: Mapping[str, Any] | None = None,
    ) -> Method:
        """A row of this network with one setting."""
        settings = {**(about or {}), "decode": decode.model_dump()}
        return Method(name, lambda batch: self.predict_ab(batch, decode), featured, settings)

    def predict_ab(self, batch: Batch, decode: DecodeConfig) -> Tensor:
        """ab of a batch with one setting, at the photos' size; as `protocol.predict_ab`."""
        if self._batch is not batch:
            self._batch, self._raw = batch, {}
        if decode.input_size not in self._raw:
            small = network_input(batch.lightness, decode.input_size)
            dtype = self._autocast
            with torch.autocast(
                small.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None
            ):
                raw = self._generator.predict_raw(small)
            self._raw[decode.input_size] = (raw, (small.shape[-2], small.shape[-1]))
        raw, size = self._raw[decode.input_size]
        ab = self._generator.decode_raw(raw, size, decode)
        return resize(ab.float(), *batch.lightness.shape[-2:])


def truth() -> Method:
    """The photo itself: what a perfect colorizer would reach."""
    return Method("truth", lambda batch: batch.ab)


def gray() -> Method:
    """No color at all: what every gain is measured from."""
    return constant("gray", (0.0, 0.0))


def constant(name: str, ab: tuple[float, float]) -> Method:
    """One color everywhere, such as the mean ab of the training photos."""

    def color(batch: Batch) -> Tensor:
        return batch.ab.new_tensor(ab).view(1, 2, 1, 1).expand_as(batch.ab)

    return Method(name, color, metadata={"ab": list(ab)})


def random(photos: Sequence[Pixels], *, seed: int = 0, own: bool = True) -> Method:
    """The ab of another photo, drawn at random and resized to this one.

    Args:
        photos: to draw from: the evaluated photos themselves, or training photos.
        seed: of the draw.
        own: they are the evaluated photos, so that no photo may draw itself.
    """
    order = np.random.default_rng(seed).permutation(len(photos))
    partner = np.empty(len(photos), dtype=np.intp)
    # A cycle through a permutation: everyone gets another one, and each is drawn once.
    partner[order] = np.roll(order, 1)

    def color(batch: Batch) -> Tensor:
        height, width = batch.ab.shape[-2:]
        drawn = [int(partner[i] if own else order[i % len(order)]) for i in batch.indices]
        return torch.cat([resize(_ab_of(photos[i], batch.ab.device), height, width) for i in drawn])

    return Method("random", color, metadata={"seed": seed})


def _ab_of(photo: Pixels, device: torch.device) -> Tensor:
    return rgb_to_lab(stack([photo], [0], device))[:, 1:]
