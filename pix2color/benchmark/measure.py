"""Trained networks on sets of photos: one evaluation per set, cached as JSON and arrays."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pix2color._version import __version__
from pix2color.benchmark import claims, code, decoding
from pix2color.benchmark.histograms import Histograms
from pix2color.benchmark.plan import EvaluationPlan as Settings
from pix2color.benchmark.train import Outcome
from pix2color.color import ab_bins
from pix2color.color.lab import rgb_to_lab
from pix2color.config import DecodeConfig
from pix2color.data.dataset import PhotoSet, Pixels
from pix2color.errors import DataError, WeightsError
from pix2color.evaluation import evaluator, methods, report
from pix2color.evaluation.checkpoint_methods import RESERVED, method_name
from pix2color.evaluation.classifier import UNKNOWN, labels_of
from pix2color.evaluation.evaluator import Evaluation
from pix2color.evaluation.fid import Fid, inception
from pix2color.evaluation.methods import Batch, CachedPredictor, Method
from pix2color.evaluation.metric_models import MetricModels, find_metric_models
from pix2color.evaluation.protocol import crop_photo, stack
from pix2color.inference.colorizer import Colorizer
from pix2color.io import atomic_open, atomic_write

Log = Callable[[str], object]
BEST_DECODING = "best decoding"
"""After the name of a network's row, in parentheses."""
_BATCH = 16
_MEAN_PHOTOS = 500  # their mean color is that of all training photos within 0.3 ab


@dataclass(frozen=True)
class TestSet:
    """Photos that no recipe was trained on."""

    __test__ = False  # for pytest: this is not a test

    name: str
    photos: PhotoSet
    squares: list[Pixels]
    """The measured part of each photo."""
    labels: list[int] | None
    """ImageNet classes, where the photos have some and there is a classifier."""


class BenchmarkEvaluator:
    """Measures the methods on every set.

    Args:
        settings: of the plan.
        device: where the networks and metrics run.
        log: called with a line per metric that cannot be measured.

    Raises:
        Pix2ColorError: weights that the plan names cannot be loaded.
    """

    def __init__(self, settings: Settings, *, device: torch.device, log: Log) -> None:
        self.settings, self.device = settings, device
        self.metric_models: MetricModels = find_metric_models(
            net=settings.lpips_net,
            backbone=settings.lpips_backbone,
            fd_backbone=settings.fd_backbone,
            classifier=settings.classifier,
            device=device,
        )
        self.descriptions = dict(self.metric_models.descriptions)
        """Network and file behind each metric, or why it is not measured."""
        self.fid: Fid | None = None
        if settings.fid != "none":
            try:
                self.fid = inception(settings.fid, device=device)
                self.descriptions["FID"] = self.fid.description
            except WeightsError as error:
                if settings.fid != "inception":
                    raise
                log(f"no FID: {error}")
                self.descriptions["FID"] = f"not measured: {error}"
        for name, (_, why) in self.metric_models.unavailable.items():
            log(f"no {name}: {why}")

    def test_set(self, name: str, photos: PhotoSet) -> TestSet:
        """Crop a set's photos and find their classes.

        Raises:
            DataError: some photos have classes and others have none.
        """
        labels = self._labels(photos.names, name) if self.metric_models.classifier else None
        squares = [crop_photo(p, "center", crop=self.settings.crop) for p in photos.photos]
        return TestSet(name, photos, squares, labels)

    def measure(
        self,
        test: TestSet,
        compared: Sequence[Method],
        *,
        failures: bool,
        timed: bool,
        progress: Callable[[int, int], object],
    ) -> tuple[Evaluation, Histograms, dict[str, float]]:
        """All methods on a set.

        Args:
            test: the set.
            compared: methods beside truth and gray.
            failures: also measure the five failures.
            timed: also measure the milliseconds per photo.
            progress: called with (photos done, photos in all).

        Returns:
            The evaluation; histograms; FID by method, empty where it is not measured.
        """
        histograms = Histograms()
        fid = self.fid

        def hook(method: Method, batch: Batch, rgb: torch.Tensor, ab: torch.Tensor) -> None:
            histograms.add(method, batch, rgb, ab)
            if fid is not None:
                fid.update(method.name, rgb)

        evaluation = evaluator.evaluate_methods(
            test.squares,
            compared,
            device=self.device,
            batch=_BATCH,
            lpips=self.metric_models.lpips,
            backbone=self.metric_models.backbone,
            classifier=self.metric_models.classifier if test.labels else None,
            labels=test.labels,
            failures=failures,
            timed=timed,
            prior=ab_bins.Prior.load().probability.numpy(),
            resamples=self.settings.resamples,
            progress=progress,
            hook=hook,
        )
        distances = fid.distances("truth") if fid is not None else {}
        if fid is not None:
            fid.reset()
        return evaluation, histograms, distances

    def context(self, test: TestSet) -> report.Context:
        """The protocol and the photos, for the set's part of the report."""
        photos = test.photos
        measured_with = dict(self.descriptions)
        if test.labels is None:
            measured_with.pop("classifier", None)
        crop = self.settings.crop
        return report.Context(
            protocol={
                "name": "center",
                "crop": crop,
                "text": f"center squares, reduced to {crop} px where they are larger,"
                " colored as infer.py does",
            },
            data={
                "text": f"{len(test.squares)} photos of {photos.counts.found} files",
                "used": len(test.squares),
                **describe_photos(photos),
            },
            names=photos.names,
            measured_with=measured_with,
            skipped_metrics=self.metric_models.unavailable,
        )

    def _labels(self, names: Sequence[str], set_name: str) -> list[int] | None:
        try:
            labels = labels_of(names)
        except DataError:
            return None  # a set without classes has no accuracy
        unknown = [n for n, label in zip(names, labels, strict=True) if label == UNKNOWN]
        if unknown:
            raise DataError(
                f"{set_name}: {len(unknown)} of {len(names)} photos have no class, such as"
                f" {unknown[0]}",
                remedy="name their folders like ImageNet classes, or leave {classifier} out",
            )
        return [int(label) for label in labels]


def describe_photos(photos: PhotoSet) -> dict[str, Any]:
    """Their digest and what was left out, for metrics.json."""
    counts = photos.counts
    return {
        "digest": photos.digest[:12],
        "found": counts.found,
        "nearly_gray_left_out": counts.gray,
        "duplicates": counts.duplicates,
        "broken": [list(one) for one in counts.corrupt],
        "toy": photos.bundled,
    }


def baselines(training: PhotoSet, *, seed: int) -> list[Method]:
    """Methods without training: a random training photo's colors, the training photos' mean."""
    return [
        methods.random(training.photos, seed=seed, from_evaluated=False),
        methods.constant("mean", mean_ab(training.photos)),
    ]


def mean_ab(photos: Sequence[Pixels]) -> tuple[float, float]:
    """The mean ab over the pixels of photos, in Lab units."""
    step = max(1, len(photos) // _MEAN_PHOTOS)
    chosen = range(0, len(photos), step)
    total, pixels = torch.zeros(2, dtype=torch.float64), 0
    for index in chosen:
        ab = rgb_to_lab(stack([photos[index]]))[0, 1:].flatten(1)
        total += ab.double().sum(1)
        pixels += ab.shape[1]
    a, b = (total / pixels).tolist()
    return a, b


def network_methods(
    outcomes: Sequence[Outcome],
    out: Path,
    *,
    device: torch.device,
    validation: Sequence[Pixels] = (),
) -> list[Method]:
    """One method per trained recipe, and one per state that a GAN recipe started from.

    Args:
        outcomes: of the training.
        out: the report's folder.
        device: where the networks run.
        validation: squares of validation photos, on which the best decoding of each network with
            classes is chosen; it becomes one more method. Empty: none.
    """
    networks: list[Method] = []
    for outcome in outcomes:
        if outcome.status != "done":
            continue
        before = outcome.pretraining_checkpoint(out)
        if before is not None:
            colorizer = Colorizer.from_pretrained(before, str(device))
            networks.append(_method(f"{outcome.title} (start)", colorizer, colorizer.decode))
        colorizer = Colorizer.from_pretrained(outcome.release(out), str(device))
        networks.append(_method(outcome.title, colorizer, colorizer.decode))
        if validation and colorizer.runtime.info.log_prior is not None:
            folder = outcome.release(out).parent
            best = decoding.kept_best_decoding(colorizer, validation, folder, device=device)
            name = f"{outcome.title} ({BEST_DECODING})"
            networks.append(_method(name, colorizer, best, primary=False))
    return networks


def checkpoint_rows(
    sources: Sequence[str], taken: Iterable[str], *, device: torch.device
) -> list[Method]:
    """One method per release file; they are not primary, since no recipe was trained for them.

    Args:
        sources: files, repositories of the Hugging Face Hub, or `default`, the packaged weights.
        taken: names of the recipes' rows.
        device: where the networks run.

    Raises:
        WeightsError: a file that cannot be loaded.
    """
    names = {*RESERVED, "mean", *taken}
    rows = []
    for source in sources:
        colorizer = Colorizer.from_pretrained(source, str(device))
        name = method_name(source, names)
        rows.append(_method(name, colorizer, colorizer.decode, primary=False))
    return rows


def _method(
    name: str, colorizer: Colorizer, decode: DecodeConfig, *, primary: bool = True
) -> Method:
    metadata = {"digest": colorizer.digest}
    return CachedPredictor(colorizer).method(name, decode, primary=primary, metadata=metadata)


def neighbors(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The networks in the order of their AuC, each less the next one, paired by photo."""
    figures = evaluation.figures()
    networks = [n for n, r in enumerate(evaluation.results) if "decode" in r.method.metadata]
    networks.sort(key=lambda number: -figures[number][0]["auc"].value)
    return [
        {
            "one": evaluation.results[one].method.name,
            "other": evaluation.results[other].method.name,
            "differences": {
                name: value.as_json() for name, value in evaluation.differences(one, other).items()
            },
        }
        for one, other in itertools.pairwise(networks)
    ]


def cache_key(
    test: TestSet,
    outcomes: Sequence[Outcome],
    compared: Sequence[Method],
    out: Path,
    measuring: BenchmarkEvaluator,
) -> str:
    """Digest of what a set's cached evaluation depends on: photos, weights, settings, code."""
    settings = json.dumps(measuring.settings.model_dump(), sort_keys=True)
    descriptions = json.dumps(measuring.descriptions, sort_keys=True)
    parts = [test.name, test.photos.digest, json.dumps(test.labels), settings, descriptions]
    parts += [__version__, code.measuring_code()]
    parts.append(json.dumps([claim.figure for claim in claims.CLAIMS]))
    parts.append(json.dumps([[method.name, dict(method.metadata)] for method in compared]))
    for outcome in outcomes:
        for path in (outcome.pretraining_checkpoint(out), outcome.release(out)):
            if path is not None and outcome.status == "done":
                parts.append(hashlib.sha256(path.read_bytes()).hexdigest())
        parts.append(f"{outcome.title} {outcome.status}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def save_cached(
    folder: Path,
    evaluation: Evaluation,
    histograms: Histograms,
    distances: dict[str, float],
    context: report.Context,
    *,
    key: str,
) -> dict[str, Any]:
    """Write a set's evaluation; returns its tree."""
    tree = report.to_dict(evaluation, replace(context, fid=distances))
    tree["neighbors"] = neighbors(evaluation)
    tree["stages"] = claims.compare_stages(evaluation)
    tree["claims"] = claims.measure_claims(evaluation)
    tree["key"] = key
    arrays = {f"errors/{name}": v for name, v in histograms.errors.items()}
    arrays |= {f"colors/{name}": v for name, v in histograms.colors.items()}
    for result in evaluation.results:
        for name, values in result.metrics.values.items():
            arrays[f"photos/{name}/{result.method.name}"] = values
        for name in ("within_20", "counts"):
            if name in result.metrics.sums:
                arrays[f"{name}/{result.method.name}"] = result.metrics.sums[name].astype(
                    np.float64
                )
    with atomic_open(folder / "arrays.npz") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    atomic_write(folder / "set.json", json.dumps(tree, indent=1, allow_nan=False))
    return tree


def load_cached(folder: Path, key: str) -> dict[str, Any] | None:
    """A set's cached evaluation; None where something that it depends on has changed."""
    file = folder / "set.json"
    if not file.is_file() or not (folder / "arrays.npz").is_file():
        return None
    tree: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return tree if tree.get("key") == key else None
