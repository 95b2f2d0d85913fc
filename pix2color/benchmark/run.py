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
from pix2color.benchmark import images, measure, page, plots, train
from pix2color.benchmark import plan as plans
from pix2color.benchmark.measure import BenchmarkEvaluator, TestSet
from pix2color.benchmark.plan import BenchmarkPlan, RecipeRun
from pix2color.benchmark.train import Observer, Outcome
from pix2color.data.dataset import ALL_SPLITS, PhotoSet, Split, load_photos
from pix2color.errors import DataError, TrainingError
from pix2color.evaluation.methods import Method
from pix2color.evaluation.report import charted_rows
from pix2color.evaluation.share_chart import share_chart
from pix2color.io import atomic_write
from pix2color.runtime.device import find_device

Say = Callable[[str], object]
Told = Callable[[str, int, int], object]
"""(what, photos done, photos in all)."""


class Benchmark:
    """Everything that can be wrong is found when it is made, before any training.

    Args:
        plan: of `plan.load_plan`.
        folder: of the recipes, where the plan lists `all`.
        roots: folders and .tar shards of training photos; none: those bundled with scikit-image.
        out: the report's folder.
        device: of measuring; None: a GPU where there is one. Training has accelerate's.
        say: is given lines for people.
        smoke: the photos may be as few as they like.

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
        say: Say,
        smoke: bool = False,
    ) -> None:
        self.plan, self.out, self.say, self.roots = plan, out, say, tuple(roots)
        self.device = find_device(device)
        self.entries: list[RecipeRun] = plans.resolve_runs(
            plan, folder, out=out, roots=roots, say=say
        )
        train.check(self.entries, out)
        self.meter = BenchmarkEvaluator(plan.evaluate, device=self.device, say=say)
        self.training = self._load("train", plan.max_photos)
        self.validation = self._load("val", plan.evaluate.photos)
        unseen = self._load("test", plan.evaluate.photos)
        if roots and not smoke and any(p.unsplit for p in (self.training, self.validation, unseen)):
            raise DataError(
                f"{self.training.counts.found} photos are too few for a split into train, val and"
                " test",
                remedy="add photos to {data.roots}",
            )
        train.check_photos(self.training, out)
        self.sets = [self.meter.test_set(plans.FIRST_SET, unseen)]
        self.sets += [self._further(name, root) for name, root in plan.test_sets.items()]
        if plan.evaluate.classifier and all(test.labels is None for test in self.sets):
            raise DataError(
                f"no photo of {' or '.join(test.name for test in self.sets)} has a class for the"
                " classifier",
                remedy="name their folders like ImageNet classes (n01443537 or goldfish)",
            )
        self.outcomes: list[Outcome] = []

    def train(self, observer: Observer, stopped: Callable[[], bool]) -> None:
        """Train what is not trained yet.

        Raises:
            KeyboardInterrupt: `stopped` said so; the state is saved.
        """
        self.outcomes = train.train_all(
            self.entries,
            (self.training, self.validation),
            self.out,
            gan_share=self.plan.gan_budget_fraction,
            say=self.say,
            observer=observer,
            stopped=stopped,
        )

    def report(self, told: Told, *, publish: Path | None = None) -> Path:
        """Measure what is trained and write the report; returns its page.

        Args:
            told: of the photos measured.
            publish: a folder for a second report, without pictures of the data's photos.

        Raises:
            TrainingError: no recipe came to its end.
        """
        compared = [
            *measure.baselines(self.training, seed=self.plan.seed),
            *measure.network_methods(self.outcomes, self.out, device=self.device),
        ]
        if not any(row.primary for row in compared):
            raise TrainingError(
                "no recipe came to its end: "
                + "; ".join(f"{one.name}: {one.reason}" for one in self.outcomes)
            )
        trees = {test.name: self._measure(test, compared, told) for test in self.sets}
        self._draw(compared, trees)
        tree = self._tree(trees)
        if publish is not None:
            page.publish(publish, tree, self.out / "pictures")
        return page.write(self.out, tree)

    def _draw(self, compared: Sequence[Method], trees: dict[str, Any]) -> None:
        folder, first = self.out / "pictures", self.sets[0]
        shown, device = self.plan.evaluate.num_shown, self.device
        arrays = dict(np.load(self.out / "sets" / first.name / "arrays.npz"))
        names = [row["name"] for row in trees[first.name]["rows"]]
        plots.errors(folder / "errors.png", arrays, names[1:])
        plots.color_histogram(folder / "colors.png", arrays, names)
        plots.colorfulness(folder / "colorfulness.png", trees)
        atomic_write(folder / "shares.png", share_chart(charted_rows(trees[first.name])))
        runs = {one.title: self.out / "runs" / one.name for one in self.outcomes}
        ended = {name: run for name, run in runs.items() if run.is_dir()}
        plots.losses(folder / "losses.png", ended)
        images.draw_grids(folder, first, compared, shown=shown, device=device)
        images.draw_temperatures(folder, self.outcomes, self.out, device=device)
        if self.plan.evaluate.failures:
            images.draw_failures(folder, first, compared, arrays, device=device)

    def _tree(self, trees: dict[str, Any]) -> dict[str, Any]:
        """What metrics.json holds."""
        counts = self.training.counts
        return {
            "pix2color": __version__,
            "versions": _versions(self.device),
            "plan": _without_paths(self.plan),
            "data": {
                "train": len(self.training),
                "validation": len(self.validation),
                "digest": self.training.digest[:12],
                "found": counts.found,
                "nearly_gray_left_out": counts.gray,
                "duplicates": counts.duplicates,
                "broken": [list(one) for one in counts.corrupt],
                "toy": self.training.bundled,
            },
            "recipes": [asdict(one) | {"title": one.title} for one in self.outcomes],
            "sets": trees,
        }

    def _measure(self, test: TestSet, compared: Sequence[Method], told: Told) -> dict[str, Any]:
        folder = self.out / "sets" / test.name
        key = measure.cache_key(test, self.outcomes, self.out, self.meter)
        tree = measure.load_cached(folder, key)
        if tree is not None:
            return tree
        first = test is self.sets[0]
        found = self.meter.measure(
            test,
            compared,
            failures=first and self.plan.evaluate.failures,
            timed=first,
            progress=lambda done, total: told(test.name, done, total),
        )
        return measure.save_cached(folder, *found, self.meter.context(test), key=key)

    def _load(self, part: Split, limit: int | None) -> PhotoSet:
        given = [entry.config.data for entry in self.entries]
        data = given[0].model_copy(
            update={
                "roots": self.roots,
                "split": self.plan.split,
                "max_photos": limit,
                "cache_size": max(one.cache_size for one in given),  # crops are shares of it
            }
        )
        return load_photos(data, splits=[part], announce=self.say if part == "train" else None)

    def _further(self, name: str, root: str) -> TestSet:
        limit = self.plan.evaluate.photos
        side = max(8, self.plan.evaluate.crop)
        data = self.entries[0].config.data.model_copy(
            update={"roots": (root,), "max_photos": limit, "cache_size": side}
        )
        return self.meter.test_set(name, load_photos(data, splits=ALL_SPLITS, keep_gray=True))


def _without_paths(plan: BenchmarkPlan) -> dict[str, Any]:
    """The plan as plain values, files by their names: where they lie is nobody's business."""
    tree = plan.model_dump(mode="json")
    if plan.recipes != "all":
        tree["recipes"] = [plans.recipe_name(name) for name in plan.recipes]
    for section in ("pretrained", "test_sets"):
        tree[section] = {key: Path(path).name for key, path in tree[section].items()}
    measured = tree["evaluate"]
    for key in ("lpips_backbone", "fd_backbone", "classifier", "fid"):
        measured[key] = measured[key] and Path(measured[key]).name
    return tree


def _versions(device: torch.device) -> dict[str, str]:
    """What the figures of time and the last digits of the others depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "pix2color": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "Python": platform.python_version(),
        "device": f"{device.type} ({name}, {os.cpu_count()} CPU cores)",
    }
