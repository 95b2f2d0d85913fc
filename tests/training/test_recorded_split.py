"""A release file records which photos were held out of its training."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2color.checkpoints import release_file
from pix2color.cli import evaluate
from pix2color.config import Config
from pix2color.data.dataset import load_photos
from pix2color.errors import EXIT_OK
from pix2color.training.export import export_run
from pix2color.training.setup import make_trainer

SPLIT = ("data.split.train=0.5", "data.split.val=0.3", "data.split.test=0.2")


@pytest.fixture
def trained(
    small_photos: list[np.ndarray], tmp_path: Path, tiny: Callable[..., Config]
) -> Callable[..., Config]:
    """Trains one step on 24 photos; the arguments are the run's name and overrides."""
    (tmp_path / "many").mkdir()
    for number in range(24):
        photo = np.roll(small_photos[number % 4], 3 * number, axis=1)
        Image.fromarray(photo).save(tmp_path / "many" / f"{number}.png")

    def train(run: str, *overrides: str) -> Config:
        config = tiny(run, f"data.roots={tmp_path / 'many'}", "budget.samples=4", *overrides)
        make_trainer(config).fit()
        return config

    return train


def test_photos_held_out_of_a_run_are_measured_by_its_release_file(
    trained: Callable[..., Config], tmp_path: Path
) -> None:
    config = trained("run", *SPLIT)
    released, report = Path(config.output) / "release.safetensors", tmp_path / "report"
    assert release_file.read(released).meta["data"]["split"] == {
        "train": 0.5, "val": 0.3, "test": 0.2,
    }  # fmt: skip
    arguments = ["--quick", "--no-default", "--quiet", "--crop", "32", "--resamples", "0"]
    arguments += ["--data", *config.data.roots, "--split", "val", "--checkpoint", str(released)]
    assert evaluate.main([*arguments, "--out", str(report)]) == EXIT_OK
    with (report / "photos.csv").open(newline="") as file:
        measured = {line["photo"] for line in csv.DictReader(file)}
    sets = [load_photos(config.data, splits=[split]).names for split in ("train", "val")]
    assert measured == set(sets[1]) and measured
    assert not measured & set(sets[0])


def test_an_average_of_runs_with_other_splits_records_none(
    trained: Callable[..., Config], tmp_path: Path
) -> None:
    first, same = (Path(trained(name, *SPLIT).output) for name in ("first", "same"))
    other = Path(trained("other").output)  # the default split
    recorded = {}
    for run in (same, other):
        out, average = tmp_path / f"{run.name}.safetensors", [export_run(run, graph=False)]
        made = export_run(first, out, average=average, graph=False)
        recorded[run.name] = release_file.read(made).meta["data"]
    assert recorded["same"]["split"]["train"] == 0.5
    assert "split" not in recorded["other"]
