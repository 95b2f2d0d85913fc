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

from pix2color import config as configs
from pix2color._version import __version__
from pix2color.benchmark import measure, page, pictures, plots, train
from pix2color.benchmark import plan as plans
from pix2color.benchmark.measure import Meter, TestSet
from pix2color.benchmark.plan import Entry, Plan
from pix2color.benchmark.train import Observer, Outcome
from pix2color.data.photos import ALL_PARTS, Part, PhotoSet, load_photos
from pix2color.errors import DataError, TrainingError
from pix2color.evaluation.report import charted_rows
from pix2color.evaluation.rows import Row
from pix2color.evaluation.share_chart import share_chart
from pix2color.inference.devices import find_device
from pix2color.io import atomic_write

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
        plan: Plan,
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
        self.entries: list[Entry] = plans.entries(plan, folder, out=out, roots=roots, say=say)
        train.check(self.entries, out)
        self.meter = Meter(plan.evaluate, device=self.device, say=say)
        self.training = self._load("train", plan.limit)
        self.validation = self._load("val", plan.evaluate.photos)
        unseen = self._load("test", plan.evaluate.photos)
        if roots and not smoke and any(p.shared for p in (self.training, self.validation, unseen)):
            raise DataError(
                f"{self.training.counts.found} photos are too few for a split into train, val and"
                " test: name more with --data"
            )
        train.check_photos(self.training, out)
        self.sets = [self.meter.test_set(plans.FIRST_SET, unseen)]
        self.sets += [self._further(name, root) for name, root in plan.tests.items()]
        if plan.evaluate.classifier and all(test.labels is None for test in self.sets):
            raise DataError(
                f"--classifier: no photo of {' or '.join(test.name for test in self.sets)} has a"
                " class: name their folders like ImageNet classes (n01443537 or goldfish)"
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
            gan_share=self.plan.gan_share,
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
            *measure.network_rows(self.outcomes, self.out, device=self.device),
        ]
        if not any(row.featured for row in compared):
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

    def _draw(self, compared: Sequence[Row], trees: dict[str, Any]) -> None:
        folder, first = self.out / "pictures", self.sets[0]
        shown, device = self.plan.evaluate.shown, self.device
        arrays = dict(np.load(self.out / "sets" / first.name / "arrays.npz"))
        names = [row["name"] for row in trees[first.name]["rows"]]
        plots.errors(folder / "errors.png", arrays, names[1:])
        plots.colours(folder / "colours.png", arrays, names)
        plots.colourfulness(folder / "colourfulness.png", trees)
        atomic_write(folder / "shares.png", share_chart(charted_rows(trees[first.name])))
        runs = {one.title: self.out / "runs" / one.name for one in self.outcomes}
        ended = {name: run for name, run in runs.items() if run.is_dir()}
        plots.losses(folder / "losses.png", ended)
        pictures.draw_grids(folder, first, compared, shown=shown, device=device)
        pictures.draw_temperatures(folder, self.outcomes, self.out, device=device)
        if self.plan.evaluate.failures:
            pictures.draw_failures(folder, first, compared, arrays, device=device)

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
                "broken": [list(one) for one in counts.broken],
                "toy": self.training.toy,
            },
            "recipes": [asdict(one) | {"title": one.title} for one in self.outcomes],
            "sets": trees,
        }

    def _measure(self, test: TestSet, compared: Sequence[Row], told: Told) -> dict[str, Any]:
        folder = self.out / "sets" / test.name
        key = measure.key(test, self.outcomes, self.out, self.meter)
        tree = measure.kept(folder, key)
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
        return measure.keep(folder, *found, self.meter.context(test), key=key)

    def _load(self, part: Part, limit: int | None) -> PhotoSet:
        given = [entry.config.data for entry in self.entries]
        data = given[0].model_copy(
            update={
                "root": self.roots,
                "split": self.plan.split,
                "limit": limit,
                "side": max(one.side for one in given),  # crops are shares of it
            }
        )
        return load_photos(data, parts=[part], announce=self.say if part == "train" else None)

    def _further(self, name: str, root: str) -> TestSet:
        limit = self.plan.evaluate.photos
        side = max(8, self.plan.evaluate.crop)
        data = self.entries[0].config.data.model_copy(
            update={"root": (root,), "limit": limit, "side": side}
        )
        return self.meter.test_set(name, load_photos(data, parts=ALL_PARTS, keep_gray=True))


def _without_paths(plan: Plan) -> dict[str, Any]:
    """The plan as plain values, files by their names: where they lie is nobody's business."""
    tree = plan.model_dump(mode="json")
    if plan.recipes != "all":
        tree["recipes"] = [configs.table_name(name) for name in plan.recipes]
    for section in ("pretrained", "tests"):
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
