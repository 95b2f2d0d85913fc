"""The compared methods: truth, gray, random, a constant color, and networks.

A method turns photos into RGB pixels. Networks read only a photo's gray values, and color them as
infer.py does, to the last code value: `Colorizer.predict`, `Prediction.ab`,
`postprocess.to_pixels`. The other methods show the ends of each metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pix2color.color.lab import rgb_to_lab
from pix2color.config import DecodeConfig
from pix2color.data.dataset import Pixels
from pix2color.evaluation.protocol import resize, stack
from pix2color.inference import postprocess, preprocess
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.compose import compose_rgb
from pix2color.inference.prediction import Prediction
from pix2color.photo import Photo


@dataclass(frozen=True, eq=False)
class Batch:
    """Photos of one shape."""

    photos: list[Pixels]
    """H,W,3 uint8 each."""
    indices: list[int]
    """Their numbers among the evaluated photos."""
    device: torch.device | str = "cpu"
    """Where the tensors are."""

    @classmethod
    def of(
        cls, photos: Sequence[Pixels], indices: Sequence[int], device: torch.device | str
    ) -> Batch:
        """The photos with these indices, which share one shape."""
        return cls([photos[index] for index in indices], list(indices), device)

    @cached_property
    def gray(self) -> list[npt.NDArray[np.uint8]]:
        """H,W each: the gray values that a method colors."""
        return [preprocess.gray_values(Photo(np.ascontiguousarray(p))) for p in self.photos]

    @cached_property
    def rgb(self) -> Tensor:
        """B,3,H,W in 0..1."""
        return stack(self.photos, self.device)

    @cached_property
    def lab(self) -> Tensor:
        """B,3,H,W: the truth."""
        return rgb_to_lab(self.rgb)

    @property
    def lightness(self) -> Tensor:
        """B,1,H,W in 0..100: the true L."""
        return self.lab[:, :1]

    @property
    def ab(self) -> Tensor:
        """B,2,H,W: the true colors."""
        return self.lab[:, 1:]

    def mirrored(self) -> Batch:
        """The same photos flipped left to right."""
        return Batch([photo[:, ::-1] for photo in self.photos], self.indices, self.device)


@dataclass(frozen=True, eq=False)
class Method:
    """One compared method."""

    name: str
    predict: Callable[[Batch], list[Pixels]]
    """The photos of a batch -> H,W,3 uint8 each."""
    primary: bool = False
    """Timed, and shown in the image grid."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Plain values for the report: checkpoint, digest, settings, parameters."""

    @classmethod
    def from_ab(cls, name: str, predict_ab: Callable[[Batch], Tensor], **options: Any) -> Method:
        """A method that is a function from a batch to ab, B,2,H,W in Lab units of any gamut."""

        def predict(batch: Batch) -> list[Pixels]:
            ab = predict_ab(batch).float().cpu().numpy()
            return [compose_rgb(*pair) for pair in zip(batch.gray, ab, strict=True)]

        return cls(name, predict, **options)


class CachedPredictor:
    """A network whose outputs for the last batch are kept, so that settings share its passes.

    Photos go through the network one at a time, as infer.py sends them: a photo's result then does
    not depend on the batch.

    Args:
        colorizer: whose network and decoding they are.
    """

    def __init__(self, colorizer: Colorizer) -> None:
        self._colorizer = colorizer
        self._batch: Batch | None = None
        self._predictions: dict[int, list[Prediction]] = {}

    def method(
        self,
        name: str,
        decode: DecodeConfig,
        *,
        primary: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> Method:
        """This network with one setting."""
        metadata = {**(metadata or {}), "decode": decode.model_dump()}
        return Method(name, lambda batch: self.predict(batch, decode), primary, metadata)

    def predict(self, batch: Batch, decode: DecodeConfig) -> list[Pixels]:
        """The photos of a batch colored with one setting: H,W,3 uint8 each."""
        if self._batch is not batch:
            self._batch, self._predictions = batch, {}
        size = decode.input_size
        if size not in self._predictions:
            self._predictions[size] = [self._colorizer.predict(g, size) for g in batch.gray]
        return [
            postprocess.to_pixels(gray, one.ab(decode), one.cell_lightness(), one.guide)
            for gray, one in zip(batch.gray, self._predictions[size], strict=True)
        ]


def truth() -> Method:
    """The photo itself: the result of a perfect colorizer."""
    return Method("truth", lambda batch: batch.photos)


def gray() -> Method:
    """No color at all: the reference of every gain."""
    return constant("gray", (0.0, 0.0))


def constant(name: str, ab: tuple[float, float]) -> Method:
    """One color everywhere, such as the mean ab of the training photos."""

    def predict_ab(batch: Batch) -> Tensor:
        return batch.ab.new_tensor(ab).view(1, 2, 1, 1).expand_as(batch.ab)

    return Method.from_ab(name, predict_ab, metadata={"ab": list(ab)})


def random(photos: Sequence[Pixels], *, seed: int = 0, from_evaluated: bool = True) -> Method:
    """The ab of another photo, drawn at random and resized to this one.

    Args:
        photos: to draw from: the evaluated photos themselves, or training photos.
        seed: of the draw.
        from_evaluated: they are the evaluated photos, so that no photo may draw itself.
    """
    order = np.random.default_rng(seed).permutation(len(photos))
    partner = np.empty(len(photos), dtype=np.intp)
    # A cycle through a permutation: each photo gets another one, and each is drawn once.
    partner[order] = np.roll(order, 1)

    def predict_ab(batch: Batch) -> Tensor:
        height, width = batch.ab.shape[-2:]
        drawn = [
            int(partner[i] if from_evaluated else order[i % len(order)]) for i in batch.indices
        ]
        planes = [rgb_to_lab(stack([photos[i]], batch.device))[:, 1:] for i in drawn]
        return torch.cat([resize(ab, height, width) for ab in planes])

    return Method.from_ab("random", predict_ab, metadata={"seed": seed})
