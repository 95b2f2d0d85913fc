"""Fitting a network's chroma calibration on photos, with its figures before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color import bands
from pix2color.color.chroma_calibration import CalibrationFitter, ChromaCalibration
from pix2color.color.lab import rgb_to_lab
from pix2color.config import DecodeConfig
from pix2color.data.dataset import PhotoSet, Pixels
from pix2color.errors import DataError
from pix2color.evaluation import metrics
from pix2color.evaluation.cast import cast, cell_counts
from pix2color.evaluation.protocol import group_by_shape, stack
from pix2color.inference import postprocess, preprocess
from pix2color.inference.prediction import Floats, Prediction
from pix2color.photo import Photo
from pix2color.runtime.base import Runtime

MIN_PHOTOS = 200
"""Fewer photos would give their own colors to all others."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Figures:
    """Of the photos that a calibration was fitted on, colored as infer.py does, in percent."""

    cast: float
    auc: float


@dataclass(frozen=True)
class Fit:
    """A calibration and what it changes."""

    calibration: ChromaCalibration
    before: Figures
    after: Figures


def fit_calibration(
    runtime: Runtime,
    photos: PhotoSet,
    decode: DecodeConfig,
    *,
    weights: str,
    batch: int = 16,
    progress: Callable[[int, int], object] | None = None,
) -> Fit:
    """Fit the map from a network's colors to the true colors of photos.

    It is fitted on the cells of the network's output, where it is applied.

    Args:
        runtime: of the network; a calibration that it has is not used.
        photos: in color; each is colored as a whole, and has the same weight.
        decode: the calibration is fitted for its temperature, vividness and network size; its
            share of the calibration and its saturation are those of the figures.
        weights: the digest of the network's weights.
        batch: photos per pass of the network.
        progress: called with (steps done, steps in all), two steps per photo.

    Raises:
        DataError: fewer than MIN_PHOTOS photos.
    """
    check_number(photos)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, 2 * len(photos))

    network = _Network(runtime, photos.photos, decode.model_copy(update={"calibration": 0.0}))
    fitter = CalibrationFitter()
    before, predicted = [], {}
    for group in _in_order(network.predict, list(group_by_shape(photos.photos, size=batch))):
        for example in group:
            fitter.add(example.ab, example.true_ab, example.lightness)
            before.append(example.figures)
            predicted[example.index] = example.ab
        advance(len(group))
    calibration = fitter.fit(
        temperature=decode.temperature,
        vividness=decode.vividness,
        input_size=decode.input_size,
        weights=weights,
    )

    def calibrated(index: int) -> _Figures:
        return network.measure(index, predicted[index], calibration, decode.calibration)

    after = []
    for figures in _in_order(calibrated, list(predicted)):
        after.append(figures)
        advance(1)
    return Fit(calibration, _pool(before), _pool(after))


def check_number(photos: PhotoSet) -> None:
    """Raise DataError for fewer photos than MIN_PHOTOS; the message counts those left out."""
    if len(photos) >= MIN_PHOTOS:
        return
    counts = photos.counts
    raise DataError(
        f"{len(photos)} color photos of {counts.found} files are too few for a calibration"
        f" ({counts.gray} are gray, {counts.duplicates} duplicates, {len(counts.corrupt)} broken)",
        remedy=f"at least {MIN_PHOTOS} are needed: name more in {{data.roots}}",
    )


@dataclass(frozen=True, eq=False)
class _Figures:
    """Of one photo."""

    cells: Tensor
    """Pixels in each cell of the cast."""
    true_cells: Tensor
    auc: float


@dataclass(frozen=True, eq=False)
class _Example:
    """A photo as predicted and as it is."""

    index: int
    ab: Floats
    """2,h,w: decoded, neither calibrated nor saturated."""
    true_ab: Floats
    """2,h,w: the mean of each cell."""
    lightness: Floats
    """h,w: likewise."""
    figures: _Figures


@dataclass(frozen=True, eq=False)
class _Network:
    """Photos through a network; the methods are called by several threads."""

    runtime: Runtime
    photos: Sequence[Pixels]
    decode: DecodeConfig
    """Without calibration."""

    def predict(self, indices: list[int]) -> list[_Example]:
        """Photos of one shape."""
        inputs = [self._inputs(index) for index in indices]
        output = self.runtime.run(np.stack([lightness for _, lightness, _ in inputs])[:, None])
        plain = self.decode.model_copy(update={"saturation": 1.0})
        examples = []
        for index, values, (gray, lightness, guide) in zip(
            indices, output.values, inputs, strict=True
        ):
            prediction = Prediction(values, lightness, guide, self.runtime.info.log_prior)
            ab, cells = prediction.ab(plain), prediction.cell_lightness()
            truth = _lab(self.photos[index])
            true_ab = F.adaptive_avg_pool2d(truth[0, 1:], prediction.grid).numpy()
            pixels = _colored(gray, Prediction(ab, lightness, guide), self.decode)
            examples.append(_Example(index, ab, true_ab, cells, _figures(pixels, truth)))
        return examples

    def measure(
        self, index: int, ab: Floats, calibration: ChromaCalibration, share: float
    ) -> _Figures:
        """The figures of one photo whose predicted ab is calibrated."""
        gray, lightness, guide = self._inputs(index)
        prediction = Prediction(ab, lightness, guide, calibration=calibration)
        decode = self.decode.model_copy(update={"calibration": share})
        return _figures(_colored(gray, prediction, decode), _lab(self.photos[index]))

    def _inputs(self, index: int) -> tuple[Pixels, Floats, Floats]:
        """Gray values, the network's L, and the guide."""
        gray = preprocess.gray_values(Photo(self.photos[index]))
        info = self.runtime.info
        return gray, *preprocess.network_input(
            gray, self.decode.input_size, info.size_multiple, square=info.square_input
        )


def _lab(photo: Pixels) -> Tensor:
    """1,3,H,W."""
    return rgb_to_lab(stack([photo]))


def _colored(gray: Pixels, prediction: Prediction, decode: DecodeConfig) -> Pixels:
    ab, lightness = prediction.ab(decode), prediction.cell_lightness()
    return postprocess.to_pixels(gray, ab, lightness, prediction.guide)


def _figures(pixels: Pixels, truth: Tensor) -> _Figures:
    lightness, true_ab = truth.split((1, 2), dim=1)
    ab = rgb_to_lab(stack([pixels]))[:, 1:]
    cells, true_cells = (cell_counts(lightness, each)[0] for each in (ab, true_ab))
    return _Figures(cells, true_cells, float(metrics.auc(metrics.ab_error(ab, true_ab))))


def _pool(figures: Sequence[_Figures]) -> Figures:
    predicted, true = (
        torch.stack([getattr(one, name) for one in figures]).sum(0)
        for name in ("cells", "true_cells")
    )
    return Figures(float(cast(predicted, true)), float(np.mean([one.auc for one in figures])))


def _in_order(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`function` of each item, computed by threads; a few results at most wait in memory."""
    ahead = 2 * bands.cores()
    with ThreadPoolExecutor(bands.cores()) as pool:
        for start in range(0, len(items), ahead):
            yield from pool.map(function, items[start : start + ahead])
