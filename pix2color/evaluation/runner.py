"""The evaluation itself: every row on every photo, once, in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pix2color.data.photos import Pixels
from pix2color.evaluation import failures, metrics, rows, samples
from pix2color.evaluation.classifier import Classifier
from pix2color.evaluation.lpips_distance import Lpips
from pix2color.evaluation.protocol import batches
from pix2color.evaluation.rows import Batch, Row
from pix2color.evaluation.samples import Array, Interval, Samples

RESAMPLES = 1000
_BATCH_PIXELS = 1_000_000  # bounds the memory of a batch: LPIPS's features are 150 bytes a pixel
_TIMED_PHOTOS = 8
_TIMED_RUNS = 3

Progress = Callable[[int, int], object]
Inspect = Callable[[Row, Batch, Tensor, Tensor], object]


@dataclass(frozen=True)
class Result:
    """One row after the evaluation."""

    row: Row
    samples: Samples
    milliseconds: float | None = None
    """A photo, one at a time: L -> network -> colours at the photo's size in sRGB; the median of
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
        return samples.bins(self.results[0].samples)

    def figures(self) -> list[tuple[dict[str, Interval], dict[str, Interval]]]:
        """For each row: its figures and their gains over gray, with bootstrap intervals.

        Gains are paired: the interval is that of the difference on the same resampled photos.
        """
        weights = samples.draws(self.photos, resamples=self.resamples, seed=self.seed)
        truth, gray = (result.samples for result in self.results[:2])
        drawn = [
            samples.figures(r.samples, weights, gray=gray, truth=truth, prior=self.prior)
            for r in self.results
        ]
        out = []
        for one in drawn:
            gains = {name: one[name] - drawn[1][name] for name in one if name in drawn[1]}
            out.append((samples.intervals(one), samples.intervals(gains)))
        return out


def evaluate_rows(
    photos: Sequence[Pixels],
    compared: Sequence[Row],
    *,
    device: torch.device | str = "cpu",
    batch: int = 32,
    lpips: Lpips | None = None,
    classifier: Classifier | None = None,
    labels: Sequence[int] | None = None,
    measure_failures: bool = False,
    pictures: int = 0,
    timed: bool = True,
    prior: Array | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
    inspect: Inspect | None = None,
) -> Evaluation:
    """Measure rows beside truth and gray, which are always the first two.

    Args:
        photos: H,W,3 uint8, as `protocol.prepare` gives them.
        compared: further rows, with names of their own. Networks are on `device`.
        batch: photos at a time; fewer where they are large.
        lpips: None leaves LPIPS out.
        classifier, labels: None leave accuracy out; a label an evaluated photo.
        measure_failures: also the measures of `failures` (about 0.2 s a photo, 0.03 s a row).
        pictures: keep every row's pictures of so many photos.
        timed: measure the milliseconds of the featured rows.
        prior: 313 probabilities for the AuC at lambda 0.5; None leaves that out.
        resamples, seed: of the bootstrap.
        progress: called with (photos done, photos in all).
        inspect: called with each row, batch, and the row's rgb and ab of it, as they are measured.
    """
    everything = [rows.truth(), rows.gray(), *compared]
    names = [row.name for row in everything]
    if len(set(names)) != len(names):
        raise ValueError(f"rows need names of their own: {names}")
    meter = _Meter(photos, device, lpips, classifier, labels, measure_failures, pictures, inspect)
    done = 0
    for indices in batches(photos, size=batch, pixels=_BATCH_PIXELS):
        meter.measure(everything, indices)
        done += len(indices)
        if progress is not None:
            progress(done, len(photos))
    results = [
        Result(
            row,
            meter.samples(row.name),
            time_row(row, photos, device=device) if row.featured and timed else None,
        )
        for row in everything
    ]
    shown = {row.name: meter.pictures(row.name) for row in everything} if pictures else {}
    return Evaluation(results, len(photos), seed, resamples, prior, shown)


@torch.inference_mode()
def time_row(row: Row, photos: Sequence[Pixels], *, device: torch.device | str) -> float:
    """Milliseconds from L to colours in sRGB at the photo's size, one photo at a time.

    The median over some photos of each one's best run: what else the machine does counts least.
    """
    best = []
    for index in range(min(_TIMED_PHOTOS, len(photos))):
        times = []
        for _ in range(_TIMED_RUNS):
            one = Batch.of(photos, [index], device)  # a new batch, so that no pass is shared
            _wait(one.rgb)
            start = time.perf_counter()
            metrics.show(one.lightness, row.colour(one))
            _wait(one.rgb)
            times.append(time.perf_counter() - start)
        best.append(min(times))
    return 1000 * float(np.median(best))


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


class _Meter:
    """Collects every row's figures, a batch at a time, in the order of the photos."""

    def __init__(
        self,
        photos: Sequence[Pixels],
        device: torch.device | str,
        lpips: Lpips | None,
        classifier: Classifier | None,
        labels: Sequence[int] | None,
        measure_failures: bool,
        pictures: int,
        inspect: Inspect | None,
    ) -> None:
        self._photos = photos
        self._device = device
        self._lpips = lpips
        self._classifier = classifier
        self._labels = labels
        self._failures = measure_failures
        self._kept = pictures
        self._inspect = inspect
        self._figures: dict[str, dict[str, Array]] = {}
        self._pictures: dict[str, dict[int, Pixels]] = {}

    @torch.inference_mode()
    def measure(self, compared: Sequence[Row], indices: list[int]) -> None:
        """All rows on one batch; what concerns the truth alone is taken once."""
        one = Batch.of(self._photos, indices, self._device)
        bins = metrics.nearest_bin(one.ab)
        local = metrics.ssim_reference(one.rgb)
        features = self._lpips.features(one.rgb) if self._lpips else None
        guides = failures.guides(one.lightness, one.ab) if self._failures else None
        for row in compared:
            raw_ab = row.colour(one)
            rgb, ab = metrics.show(one.lightness, raw_ab)
            found, counts = _colour_figures(one, bins, local, rgb, ab)
            if row is compared[0]:  # the pixels a bin holds are the truth's, for every row
                found["counts"] = counts
            if self._lpips is not None:
                distance = self._lpips.distance(self._lpips.features(rgb), features)
                found["lpips"] = _or_nan(distance, len(indices))
            if self._classifier is not None and self._labels is not None:
                labels = [int(self._labels[i]) for i in indices]
                found["top1"], found["top5"] = self._classifier.hits(rgb, labels)
            if guides is not None:
                found |= failures.measure(guides, ab, one.ab, bins)
                if row.featured:
                    flipped = row.colour(one.mirrored())
                    found["flip_difference"] = failures.flip_difference(raw_ab, flipped)
            if self._inspect is not None:
                self._inspect(row, one, rgb, ab)
            self._store(row.name, indices, found)
            self._keep(row.name, indices, rgb)

    def samples(self, name: str) -> Samples:
        """What was collected for a row."""
        figures = self._figures[name]
        return Samples(
            {key: v for key, v in figures.items() if v.ndim == 1},
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
                figures[key] = np.full((len(self._photos), *values.shape[1:]), np.nan)
            figures[key][indices] = values.cpu().double().numpy()

    def _keep(self, name: str, indices: list[int], rgb: Tensor) -> None:
        for position, index in enumerate(indices):
            if index < self._kept:
                levels = (255 * rgb[position]).round().byte().permute(1, 2, 0)
                self._pictures.setdefault(name, {})[index] = levels.cpu().numpy()


def _colour_figures(
    one: Batch, bins: Tensor, local: Tensor | None, rgb: Tensor, ab: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """The figures that need no network, and the pixels that each bin holds."""
    error = metrics.distance(ab, one.ab)
    scores, counts = metrics.bin_scores(error, bins)
    figures = {
        "auc": metrics.auc(error),
        "psnr": metrics.psnr(rgb, one.rgb),
        "psnr_lab": metrics.psnr_lab(ab, one.ab),
        "larger_agrees": metrics.larger_agrees(ab, one.ab),
        "closeness": metrics.closeness(ab, one.ab),
        "ssim": metrics.ssim(rgb, one.rgb, local),
        "colourfulness": metrics.colourfulness(rgb),
        "colourfulness_lab": metrics.colourfulness_lab(ab),
        "scores": scores,
    }
    return figures, counts


def _or_nan(values: Tensor | None, count: int) -> Tensor:
    return values if values is not None else torch.full((count,), torch.nan)
