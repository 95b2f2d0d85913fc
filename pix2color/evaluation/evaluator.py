"""The evaluation: every method on every photo, once, in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pix2color.color.lab import rgb_to_lab
from pix2color.data.dataset import Pixels
from pix2color.evaluation import bootstrap, failure_metrics, methods, metrics, skin
from pix2color.evaluation.bootstrap import Array, ConfidenceInterval, PerPhotoMetrics
from pix2color.evaluation.cast import cell_counts
from pix2color.evaluation.classifier import Classifier
from pix2color.evaluation.frechet import Backbone
from pix2color.evaluation.lpips import Lpips
from pix2color.evaluation.methods import Batch, Method
from pix2color.evaluation.protocol import group_by_shape, stack

RESAMPLES = 1000
_BATCH_PIXELS = 1_000_000  # bounds the memory of a batch: LPIPS's features take 150 bytes per pixel
_TIMED_PHOTOS = 8
_TIMED_RUNS = 3

Progress = Callable[[int, int], object]
Hook = Callable[[Method, Batch, Tensor, Tensor], object]


@dataclass(frozen=True)
class Result:
    """One method after the evaluation."""

    method: Method
    metrics: PerPhotoMetrics
    milliseconds: float | None = None
    """Per photo, one at a time, from its gray values to its colored pixels: the median of some
    photos. None for methods that are not primary."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_methods` measured; the first two results are truth and gray."""

    results: list[Result]
    num_photos: int
    seed: int
    resamples: int
    prior: Array | None = None
    images: dict[str, list[Pixels]] = field(default_factory=dict)
    """Method -> its images of the first photos, for the grid."""

    def select(self, photos: npt.NDArray[np.intp]) -> Evaluation:
        """The evaluation of some of the photos, by index."""
        chosen = [Result(r.method, r.metrics.select(photos), r.milliseconds) for r in self.results]
        return Evaluation(chosen, len(photos), self.seed, self.resamples, self.prior)

    @property
    def num_bins(self) -> int:
        """How many bins the rebalanced AuC averages."""
        return bootstrap.num_bins(self.results[0].metrics)

    @cached_property
    def _resampled(self) -> list[dict[str, Array]]:
        """Of each method, every metric for the set itself and every resample of it."""
        weights = bootstrap.bootstrap_weights(
            self.num_photos, resamples=self.resamples, seed=self.seed
        )
        truth, gray = (result.metrics for result in self.results[:2])
        return [
            bootstrap.resampled_metrics(
                r.metrics, weights, gray=gray, truth=truth, prior=self.prior
            )
            for r in self.results
        ]

    def figures(self) -> list[tuple[dict[str, ConfidenceInterval], dict[str, ConfidenceInterval]]]:
        """For each method: its metrics and their gains over gray, with bootstrap intervals.

        Gains are paired: the interval is that of the difference on the same resampled photos.
        """
        return [
            (bootstrap.intervals(values), self.differences(number, 1))
            for number, values in enumerate(self._resampled)
        ]

    def differences(self, one: int, other: int) -> dict[str, ConfidenceInterval]:
        """Each metric of one method less that of another, by their numbers in `results`, paired."""
        first, second = self._resampled[one], self._resampled[other]
        return bootstrap.intervals(
            {name: first[name] - second[name] for name in first if name in second}
        )


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
    failures: bool = False,
    measure_skin: bool = False,
    num_images: int = 0,
    timed: bool = True,
    ssim: bool = True,
    prior: Array | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
    hook: Hook | None = None,
) -> Evaluation:
    """Measure methods beside truth and gray, which are always the first two.

    Every metric is of 8-bit pixels: of the photo's own, and of those that a method returns.

    Args:
        photos: H,W,3 uint8, from `protocol.crop_photo`.
        compared: further methods, each with another name.
        device: where the metrics are computed.
        batch: photos at a time; fewer where they are large.
        lpips: None leaves LPIPS out.
        backbone: of FD; None leaves FD out.
        classifier, labels: None leaves accuracy out; one label per photo.
        failures: also the metrics of `failure_metrics` (0.2 s per photo and 0.03 s per method).
        measure_skin: also the metrics of `skin`, of portraits and face crops.
        num_images: keep every method's images of so many photos.
        timed: measure the milliseconds of the primary methods.
        ssim: False leaves SSIM out, the slowest metric without a network.
        prior: 313 probabilities for the AuC at lambda 0.5; None leaves that out.
        resamples, seed: of the bootstrap.
        progress: called with (photos done, photos in all).
        hook: called with each method, batch, and the method's rgb and ab of it.
    """
    all_methods = [methods.truth(), methods.gray(), *compared]
    names = [method.name for method in all_methods]
    if len(set(names)) != len(names):
        raise ValueError(f"each method needs another name: {names}")
    accumulator = _Accumulator(
        photos,
        device,
        lpips,
        backbone,
        classifier,
        labels,
        failures,
        measure_skin,
        ssim,
        num_images,
        hook,
    )
    done = 0
    for indices in group_by_shape(photos, size=batch, pixels=_BATCH_PIXELS):
        accumulator.measure(all_methods, indices)
        done += len(indices)
        if progress is not None:
            progress(done, len(photos))
    results = [
        Result(
            method,
            accumulator.metrics(method.name),
            time_method(method, photos) if method.primary and timed else None,
        )
        for method in all_methods
    ]
    images = {name: accumulator.images(name) for name in names} if num_images else {}
    return Evaluation(results, len(photos), seed, resamples, prior, images)


def time_method(method: Method, photos: Sequence[Pixels]) -> float:
    """Milliseconds per photo from its gray values to its colored pixels, one photo at a time.

    The median over some photos of each one's fastest run, on which other load has least effect.
    """
    fastest = []
    for photo in photos[:_TIMED_PHOTOS]:
        times = []
        for _ in range(_TIMED_RUNS):
            batch = Batch([photo], [0])  # a new one, so that no pass is shared
            start = time.perf_counter()
            method.predict(batch)
            times.append(time.perf_counter() - start)
        fastest.append(min(times))
    return 1000 * float(np.median(fastest))


@dataclass
class _Accumulator:
    """Collects the metrics of every method, a batch at a time, in the order of the photos."""

    all_photos: Sequence[Pixels]
    device: torch.device | str
    lpips: Lpips | None
    backbone: Backbone | None
    classifier: Classifier | None
    labels: Sequence[int] | None
    failures: bool
    measure_skin: bool
    ssim: bool
    num_images: int
    hook: Hook | None
    _values: dict[str, dict[str, npt.NDArray[np.floating]]] = field(default_factory=dict)
    _images: dict[str, dict[int, Pixels]] = field(default_factory=dict)

    @torch.inference_mode()
    def measure(self, all_methods: Sequence[Method], indices: list[int]) -> None:
        """All methods on one batch; what depends on the truth alone is computed once."""
        batch = Batch.of(self.all_photos, indices, self.device)
        bins = metrics.nearest_bin(batch.ab)
        reference = metrics.ssim_reference(batch.rgb) if self.ssim else None
        features = self.lpips.features(batch.rgb) if self.lpips else None
        truths = (
            failure_metrics.truth_features_of(batch.lightness, batch.ab) if self.failures else None
        )
        skin_mask = skin.skin_mask(batch.rgb) if self.measure_skin else None
        for method in all_methods:
            pixels = method.predict(batch)
            rgb = stack(pixels, self.device)
            ab = rgb_to_lab(rgb)[:, 1:]
            values, counts = _color_metrics(batch, bins, rgb, ab)
            if self.ssim:
                values["ssim"] = metrics.ssim(rgb, batch.rgb, reference)
            if method is all_methods[0]:  # the pixels per bin are the truth's, for every method
                values["counts"] = counts
            if self.lpips is not None:
                distance = self.lpips.distance(self.lpips.features(rgb), features)
                values["lpips"] = (
                    torch.full_like(values["auc"], torch.nan) if distance is None else distance
                )
            if self.backbone is not None:
                values["features"] = self.backbone.features(rgb)
            if self.classifier is not None and self.labels is not None:
                labels = [int(self.labels[i]) for i in indices]
                values["top1"], values["top5"] = self.classifier.topk_correct(rgb, labels)
            if skin_mask is not None:
                values |= skin.measure(skin_mask, batch.lightness, ab, batch.ab)
            if truths is not None:
                values |= failure_metrics.measure(truths, ab, batch.ab, bins)
                if method.primary:
                    mirrored = stack(method.predict(batch.mirrored()), self.device)
                    values["flip_difference"] = failure_metrics.flip_difference(
                        ab, rgb_to_lab(mirrored)[:, 1:]
                    )
            if self.hook is not None:
                self.hook(method, batch, rgb, ab)
            self._store(method.name, indices, values)
            shown = {i: p for i, p in zip(indices, pixels, strict=True) if i < self.num_images}
            self._images.setdefault(method.name, {}).update(shown)

    def metrics(self, name: str) -> PerPhotoMetrics:
        """The metrics collected of a method."""
        values = self._values[name]
        return PerPhotoMetrics(
            {key: np.asarray(v, np.float64) for key, v in values.items() if v.ndim == 1},
            {key: v for key, v in values.items() if v.ndim == 2},
        )

    def images(self, name: str) -> list[Pixels]:
        """A method's images of the first photos, in their order."""
        return [image for _, image in sorted(self._images[name].items())]

    def _store(self, name: str, indices: list[int], values: dict[str, Tensor]) -> None:
        stored = self._values.setdefault(name, {})
        for key, new in values.items():
            if key not in stored:
                # Features stay float32: in float64 those of a sweep would take gigabytes.
                dtype = np.float32 if key == "features" else np.float64
                stored[key] = np.full((len(self.all_photos), *new.shape[1:]), np.nan, dtype)
            stored[key][indices] = new.cpu().numpy()


def _color_metrics(
    batch: Batch, bins: Tensor, rgb: Tensor, ab: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """The metrics that need no network, and the pixels of each bin."""
    error = metrics.ab_error(ab, batch.ab)
    scores, counts = metrics.per_bin_auc_sums(error, bins)
    values = {
        "auc": metrics.auc(error),
        "psnr": metrics.psnr(rgb, batch.rgb),
        "psnr_lab": metrics.psnr_lab(ab, batch.ab),
        "colorfulness": metrics.colorfulness(rgb),
        "colorfulness_lab": metrics.colorfulness_lab(ab),
        "scores": scores,
        "cells": cell_counts(batch.lightness, ab),
    }
    return values, counts
