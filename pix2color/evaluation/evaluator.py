"""The evaluation itself: every row on every photo, once, in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pix2color.data.dataset import Pixels
from pix2color.evaluation import bootstrap, failure_metrics, methods, metrics
from pix2color.evaluation.bootstrap import Array, ConfidenceInterval, PerPhotoMetrics
from pix2color.evaluation.cast import cell_counts
from pix2color.evaluation.classifier import Classifier
from pix2color.evaluation.frechet import Backbone
from pix2color.evaluation.lpips import Lpips
from pix2color.evaluation.methods import Batch, Method
from pix2color.evaluation.protocol import group_by_shape

RESAMPLES = 1000
_BATCH_PIXELS = 1_000_000  # bounds the memory of a batch: LPIPS's features are 150 bytes a pixel
_TIMED_PHOTOS = 8
_TIMED_RUNS = 3

Progress = Callable[[int, int], object]
Hook = Callable[[Method, Batch, Tensor, Tensor], object]


@dataclass(frozen=True)
class Result:
    """One row after the evaluation."""

    row: Method
    samples: PerPhotoMetrics
    milliseconds: float | None = None
    """A photo, one at a time: L -> network -> colors at the photo's size in sRGB; the median of
    some photos. None for rows that are not featured."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_rows` measured; the first two results are truth and gray."""

    results: list[Result]
    photos: int
    seed: int
    resamples: int
    prior: Array | None = None
    pictures: dict[str, list[Pixels]] = field(default_factory=dict)
    """Row name -> its pictures of the first photos, for the grid."""

    def select(self, photos: npt.NDArray[np.intp]) -> Evaluation:
        """The same of some of the photos, by index: figures by source, halves of a set."""
        chosen = [Result(r.row, r.samples.select(photos), r.milliseconds) for r in self.results]
        return Evaluation(chosen, len(photos), self.seed, self.resamples, self.prior)

    @property
    def bins(self) -> int:
        """How many bins the rebalanced AuC averages."""
        return bootstrap.bins(self.results[0].samples)

    def figures(self) -> list[tuple[dict[str, ConfidenceInterval], dict[str, ConfidenceInterval]]]:
        """For each row: its figures and their gains over gray, with bootstrap intervals.

        Gains are paired: the interval is that of the difference on the same resampled photos.
        """
        weights = bootstrap.bootstrap_weights(self.photos, resamples=self.resamples, seed=self.seed)
        truth, gray = (result.samples for result in self.results[:2])
        drawn = [
            bootstrap.figures(r.samples, weights, gray=gray, truth=truth, prior=self.prior)
            for r in self.results
        ]
        out = []
        for one in drawn:
            gains = {name: one[name] - drawn[1][name] for name in one if name in drawn[1]}
            out.append((bootstrap.intervals(one), bootstrap.intervals(gains)))
        return out


def evaluate_methods(
    photos: Sequence[Pixels],
    compared: Sequence[Method],
    *,
    device: torch.device | str = "cpu",
    batch: int = 32,
    lpips: Lpips | None = None,
    backbone: Backbone | None = None,
    classifier: Classifier | None = None,
    labels: Sequence[int] | None = None,
    measure_failures: bool = False,
    pictures: int = 0,
    timed: bool = True,
    structure: bool = True,
    prior: Array | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
    inspect: Hook | None = None,
) -> Evaluation:
    """Measure rows beside truth and gray, which are always the first two.

    Args:
        photos: H,W,3 uint8, as `protocol.prepare` gives them.
        compared: further rows, with names of their own. Networks are on `device`.
        batch: photos at a time; fewer where they are large.
        lpips: None leaves LPIPS out.
        backbone: of FD; None leaves FD out.
        classifier, labels: None leave accuracy out; a label an evaluated photo.
        measure_failures: also the measures of `failures` (about 0.2 s a photo, 0.03 s a row).
        pictures: keep every row's pictures of so many photos.
        timed: measure the milliseconds of the featured rows.
        structure: False leaves SSIM out, the slowest figure that needs no network.
        prior: 313 probabilities for the AuC at lambda 0.5; None leaves that out.
        resamples, seed: of the bootstrap.
        progress: called with (photos done, photos in all).
        inspect: called with each row, batch, and the row's rgb and ab of it, as they are measured.
    """
    everything = [methods.truth(), methods.gray(), *compared]
    names = [row.name for row in everything]
    if len(set(names)) != len(names):
        raise ValueError(f"rows need names of their own: {names}")
    meter = _Accumulator(
        photos,
        device,
        lpips,
        backbone,
        classifier,
        labels,
        measure_failures,
        structure,
        pictures,
        inspect,
    )
    done = 0
    for indices in group_by_shape(photos, size=batch, pixels=_BATCH_PIXELS):
        meter.measure(everything, indices)
        done += len(indices)
        if progress is not None:
            progress(done, len(photos))
    results = [
        Result(
            row,
            meter.samples(row.name),
            time_method(row, photos, device=device) if row.primary and timed else None,
        )
        for row in everything
    ]
    shown = {row.name: meter.pictures(row.name) for row in everything} if pictures else {}
    return Evaluation(results, len(photos), seed, resamples, prior, shown)


@torch.inference_mode()
def time_method(row: Method, photos: Sequence[Pixels], *, device: torch.device | str) -> float:
    """Milliseconds from L to colors in sRGB at the photo's size, one photo at a time.

    The median over some photos of each one's best run: what else the machine does counts least.
    """
    best = []
    for index in range(min(_TIMED_PHOTOS, len(photos))):
        times = []
        for _ in range(_TIMED_RUNS):
            one = Batch.of(photos, [index], device)  # a new batch, so that no pass is shared
            _wait(one.rgb)
            start = time.perf_counter()
            metrics.render(one.lightness, row.predict(one))
            _wait(one.rgb)
            times.append(time.perf_counter() - start)
        best.append(min(times))
    return 1000 * float(np.median(best))


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


class _Accumulator:
    """Collects every row's figures, a batch at a time, in the order of the photos."""

    def __init__(
        self,
        photos: Sequence[Pixels],
        device: torch.device | str,
        lpips: Lpips | None,
        backbone: Backbone | None,
        classifier: Classifier | None,
        labels: Sequence[int] | None,
        measure_failures: bool,
        structure: bool,
        pictures: int,
        inspect: Hook | None,
    ) -> None:
        self._photos = photos
        self._device = device
        self._lpips = lpips
        self._backbone = backbone
        self._classifier = classifier
        self._labels = labels
        self._failures = measure_failures
        self._structure = structure
        self._kept = pictures
        self._inspect = inspect
        self._figures: dict[str, dict[str, npt.NDArray[np.floating]]] = {}
        self._pictures: dict[str, dict[int, Pixels]] = {}

    @torch.inference_mode()
    def measure(self, compared: Sequence[Method], indices: list[int]) -> None:
        """All rows on one batch; what concerns the truth alone is taken once."""
        one = Batch.of(self._photos, indices, self._device)
        bins = metrics.nearest_bin(one.ab)
        local = metrics.ssim_reference(one.rgb) if self._structure else None
        features = self._lpips.features(one.rgb) if self._lpips else None
        guides = (
            failure_metrics.truth_features_of(one.lightness, one.ab) if self._failures else None
        )
        for row in compared:
            raw_ab = row.predict(one)
            rgb, ab = metrics.render(one.lightness, raw_ab)
            found, counts = _color_metrics(one, bins, rgb, ab)
            if self._structure:
                found["ssim"] = metrics.ssim(rgb, one.rgb, local)
            if row is compared[0]:  # the pixels a bin holds are the truth's, for every row
                found["counts"] = counts
            if self._lpips is not None:
                distance = self._lpips.distance(self._lpips.features(rgb), features)
                found["lpips"] = _or_nan(distance, len(indices))
            if self._backbone is not None:
                found["features"] = self._backbone.features(rgb)
            if self._classifier is not None and self._labels is not None:
                labels = [int(self._labels[i]) for i in indices]
                found["top1"], found["top5"] = self._classifier.topk_correct(rgb, labels)
            if guides is not None:
                found |= failure_metrics.measure(guides, ab, one.ab, bins)
                if row.primary:
                    flipped = row.predict(one.mirrored())
                    found["flip_difference"] = failure_metrics.flip_difference(raw_ab, flipped)
            if self._inspect is not None:
                self._inspect(row, one, rgb, ab)
            self._store(row.name, indices, found)
            self._keep(row.name, indices, rgb)

    def samples(self, name: str) -> PerPhotoMetrics:
        """What was collected for a row."""
        figures = self._figures[name]
        return PerPhotoMetrics(
            {key: np.asarray(v, np.float64) for key, v in figures.items() if v.ndim == 1},
            {key: v for key, v in figures.items() if v.ndim == 2},
        )

    def pictures(self, name: str) -> list[Pixels]:
        """The row's pictures of the first photos, in their order."""
        kept = self._pictures.get(name, {})
        return [kept[index] for index in sorted(kept)]

    def _store(self, name: str, indices: list[int], found: dict[str, Tensor]) -> None:
        figures = self._figures.setdefault(name, {})
        for key, values in found.items():
            if key not in figures:
                # Features are kept as they come: in float64 a sweep's would take gigabytes.
                kind = np.float32 if key == "features" else np.float64
                figures[key] = np.full((len(self._photos), *values.shape[1:]), np.nan, kind)
            figures[key][indices] = values.cpu().numpy()

    def _keep(self, name: str, indices: list[int], rgb: Tensor) -> None:
        for position, index in enumerate(indices):
            if index < self._kept:
                levels = (255 * rgb[position]).round().byte().permute(1, 2, 0)
                self._pictures.setdefault(name, {})[index] = levels.cpu().numpy()


def _color_metrics(
    one: Batch, bins: Tensor, rgb: Tensor, ab: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """The figures that need no network, and the pixels that each bin holds."""
    error = metrics.ab_error(ab, one.ab)
    scores, counts = metrics.per_bin_auc_sums(error, bins)
    figures = {
        "auc": metrics.auc(error),
        "psnr": metrics.psnr(rgb, one.rgb),
        "psnr_lab": metrics.psnr_lab(ab, one.ab),
        "larger_agrees": metrics.larger_agrees(ab, one.ab),
        "closeness": metrics.closeness(ab, one.ab),
        "colorfulness": metrics.colorfulness(rgb),
        "colorfulness_lab": metrics.colorfulness_lab(ab),
        "scores": scores,
        "cells": cell_counts(one.lightness, ab),
    }
    return figures, counts


def _or_nan(values: Tensor | None, count: int) -> Tensor:
    return values if values is not None else torch.full((count,), torch.nan)
