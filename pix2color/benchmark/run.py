"""A benchmark from its plan to its report."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from pix2color._version import __version__
from pix2color.benchmark import claims, images, measure, page, plots, train
from pix2color.benchmark import plan as plans
from pix2color.benchmark.measure import BenchmarkEvaluator, TestSet
from pix2color.benchmark.plan import BenchmarkPlan, RecipeRun
from pix2color.benchmark.train import Observer, Outcome
from pix2color.data.dataset import ALL_SPLITS, PhotoSet, Pixels, Split, load_photos
from pix2color.errors import DataError, TrainingError
from pix2color.evaluation.methods import Method
from pix2color.evaluation.protocol import crop_photo
from pix2color.evaluation.report import charted_rows
from pix2color.evaluation.share_chart import share_chart
from pix2color.io import atomic_write
from pix2color.runtime.device import find_device

Log = Callable[[str], object]
OnProgress = Callable[[str, int, int], object]
"""Called with (set, photos done, photos in all)."""


class Benchmark:
    """The comparison of all recipes of a plan. The constructor checks everything before training.

    Args:
        plan: of `plan.load_plan`.
        folder: of the recipes, where the plan lists `all`.
        roots: folders and .tar shards of training photos; none: those bundled with scikit-image.
        out: the report's folder.
        device: of measuring; None: a GPU where there is one. Training has accelerate's.
        log: called with lines for people.
        smoke: skip the minimum-photo check.

    Raises:
        Pix2ColorError: photos, recipes, weights or what is in `out` do not allow it.
    """

    def __init__(
        self,
        plan: BenchmarkPlan,
        folder: Path,
        *,
        roots: Sequence[str],
        out: Path,
        device: str | None,
        log: Log,
        smoke: bool = False,
    ) -> None:
        self.plan, self.out, self.log, self.roots = plan, out, log, tuple(roots)
        self.device = find_device(device)
        self.runs: list[RecipeRun] = plans.resolve_runs(plan, folder, out=out, roots=roots, log=log)
        train.check(self.runs, out)
        self._checkpoint_rows()  # a file that cannot be loaded is said before any training
        self.evaluator = BenchmarkEvaluator(plan.evaluate, device=self.device, log=log)
        self.training = self._load("train", plan.max_photos)
        self.validation = self._load("val", plan.evaluate.photos)
        test = self._load("test", plan.evaluate.photos)
        if roots and not smoke and any(p.unsplit for p in (self.training, self.validation, test)):
            raise DataError(
                f"{self.training.counts.found} photos are too few for a split into train, val and"
                " test",
                remedy="add photos to {data.roots}",
            )
        train.check_photos(self.training, out)
        self.sets = [self.evaluator.test_set(plans.FIRST_SET, test)]
        self.sets += [self._load_test_set(name, root) for name, root in plan.test_sets.items()]
        if plan.evaluate.classifier and all(test.labels is None for test in self.sets):
            raise DataError(
                f"no photo of {' or '.join(test.name for test in self.sets)} has a class for the"
                " classifier",
                remedy="name their folders like ImageNet classes (n01443537 or goldfish)",
            )
        self.outcomes: list[Outcome] = []

    def train(self, observer: Observer, stopped: Callable[[], bool]) -> None:
        """Train every recipe that is not trained yet.

        Raises:
            KeyboardInterrupt: `stopped` returned True; the state is saved.
        """
        self.outcomes = train.train_all(
            self.runs,
            (self.training, self.validation),
            self.out,
            gan_budget_fraction=self.plan.gan_budget_fraction,
            log=self.log,
            observer=observer,
            stopped=stopped,
        )

    def report(self, on_progress: OnProgress, *, public: Path | None = None) -> Path:
        """Measure the trained recipes and write the report; returns its page.

        Args:
            on_progress: of the photos measured.
            public: a folder for a second report, without images of the data's photos.

        Raises:
            TrainingError: no recipe finished.
        """
        compared = [
            *measure.baselines(self.training, seed=self.plan.seed),
            *measure.network_methods(
                self.outcomes, self.out, device=self.device, validation=self._decoding_squares()
            ),
            *self._checkpoint_rows(),
        ]
        if not any(row.primary for row in compared):
            raise TrainingError(
                "no recipe finished: "
                + "; ".join(f"{one.name}: {one.reason}" for one in self.outcomes)
            )
        trees = {test.name: self._measure(test, compared, on_progress) for test in self.sets}
        self._draw(compared, trees)
        tree = self._tree(trees)
        if public is not None:
            page.publish(public, tree, self.out / "pictures")
        return page.write(self.out, tree)

    def _checkpoint_rows(self) -> list[Method]:
        names = [run.name for run in self.runs]
        return measure.checkpoint_rows(self.plan.checkpoints, names, device=self.device)

    def _decoding_squares(self) -> list[Pixels]:
        """Validation photos as they are measured, on which best decodings are chosen."""
        evaluate = self.plan.evaluate
        if not evaluate.best_decoding:
            return []
        photos = self.validation.photos[: evaluate.decoding_photos]
        return [crop_photo(photo, "center", crop=evaluate.crop) for photo in photos]

    def _draw(self, compared: Sequence[Method], trees: dict[str, Any]) -> None:
        folder, first = self.out / "pictures", self.sets[0]
        num_shown, device = self.plan.evaluate.num_shown, self.device
        arrays = dict(np.load(self.out / "sets" / first.name / "arrays.npz"))
        names = [row["name"] for row in trees[first.name]["rows"]]
        plots.errors(folder / "errors.png", arrays, names[1:])
        plots.color_histogram(folder / "colors.png", arrays, names)
        plots.colorfulness(folder / "colorfulness.png", trees)
        atomic_write(folder / "shares.png", share_chart(charted_rows(trees[first.name])))
        runs = {one.title: self.out / "runs" / one.name for one in self.outcomes}
        existing = {name: run for name, run in runs.items() if run.is_dir()}
        plots.losses(folder / "losses.png", existing)
        earlier = {one.title: one.parent_seconds for one in self.outcomes}
        plots.learning_curves(folder / "curves.png", existing, earlier)
        images.draw_grids(folder, first, compared, num_shown=num_shown)
        images.draw_temperatures(folder, self.outcomes, self.out, device=device)
        if self.plan.evaluate.failures:
            images.draw_failures(folder, first, compared, arrays)

    def _tree(self, trees: dict[str, Any]) -> dict[str, Any]:
        """The content of metrics.json."""
        return {
            "pix2color": __version__,
            "versions": _versions(self.device),
            "plan": _without_paths(self.plan),
            "data": {
                "train": len(self.training),
                "validation": len(self.validation),
                **measure.describe_photos(self.training),
            },
            "recipes": [asdict(one) | {"title": one.title} for one in self.outcomes],
            "claims": claims.judge(trees),
            "sets": trees,
        }

    def _measure(
        self, test: TestSet, compared: Sequence[Method], on_progress: OnProgress
    ) -> dict[str, Any]:
        folder = self.out / "sets" / test.name
        key = measure.cache_key(test, self.outcomes, compared, self.out, self.evaluator)
        tree = measure.load_cached(folder, key)
        if tree is not None:
            return tree
        first = test is self.sets[0]
        results = self.evaluator.measure(
            test,
            compared,
            failures=first and self.plan.evaluate.failures,
            timed=first,
            progress=lambda done, total: on_progress(test.name, done, total),
        )
        return measure.save_cached(folder, *results, self.evaluator.context(test), key=key)

    def _load(self, split: Split, limit: int | None) -> PhotoSet:
        data_configs = [run.config.data for run in self.runs]
        data = data_configs[0].model_copy(
            update={
                "roots": self.roots,
                "split": self.plan.split,
                "max_photos": limit,
                "cache_size": max(data.cache_size for data in data_configs),  # crops are shares
            }
        )
        return load_photos(data, splits=[split], announce=self.log if split == "train" else None)

    def _load_test_set(self, name: str, root: str) -> TestSet:
        limit = self.plan.evaluate.photos
        side = max(8, self.plan.evaluate.crop)
        data = self.runs[0].config.data.model_copy(
            update={"roots": (root,), "max_photos": limit, "cache_size": side}
        )
        return self.evaluator.test_set(name, load_photos(data, splits=ALL_SPLITS, keep_gray=True))


def _without_paths(plan: BenchmarkPlan) -> dict[str, Any]:
    """The plan as plain values, with names of files in place of private paths."""
    tree = plan.model_dump(mode="json")
    if plan.recipes != "all":
        tree["recipes"] = [plans.recipe_name(name) for name in plan.recipes]
    tree["checkpoints"] = [Path(path).name for path in tree["checkpoints"]]
    for section in ("pretrained", "test_sets"):
        tree[section] = {key: Path(path).name for key, path in tree[section].items()}
    evaluate = tree["evaluate"]
    for key in ("lpips_backbone", "fd_backbone", "classifier", "fid"):
        evaluate[key] = evaluate[key] and Path(evaluate[key]).name
    return tree


def _versions(device: torch.device) -> dict[str, str]:
    """What times and the last digits of the metrics depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "pix2color": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "Python": platform.python_version(),
        "device": f"{device.type} ({name}, {os.cpu_count()} CPU cores)",
    }
