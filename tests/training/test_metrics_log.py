"""The run's record: means over an interval, lines that survive a kill, curves."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from pix2color.training.metrics_log import MetricAverager, MetricsLogger, draw_curves, read_log


def test_means_of_an_interval() -> None:
    means = MetricAverager()
    for value in (1.0, 2.0, 6.0):
        means.update({"l2": torch.tensor(value)})
    means.update({"adversarial": torch.tensor(-1.0, requires_grad=True)})
    assert means.compute() == {"l2": 3.0, "adversarial": -1.0}
    assert means.compute() == {}


def test_resuming_drops_what_will_come_again_and_what_was_cut_short(tmp_path: Path) -> None:
    log = MetricsLogger(tmp_path)
    for samples in (8, 16, 24):
        log.write("train", samples, {"loss": 1 / 3})
    with log.path.open("a") as file:
        file.write('{"kind": "train", "samp')
    MetricsLogger(tmp_path, resumed_at=16).write("train", 24, {"loss": 2.0})
    assert read_log(log.path) == [
        {"kind": "train", "samples": 8, "loss": 0.333333},
        {"kind": "train", "samples": 16, "loss": 0.333333},
        {"kind": "train", "samples": 24, "loss": 2.0},
    ]
    MetricsLogger(tmp_path)
    assert read_log(log.path) == []


def test_curves_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    log = MetricsLogger(tmp_path)
    draw_curves(tmp_path)
    assert not (tmp_path / "curves.png").exists()
    log.write("train", 8, {"loss": 1.0})
    log.write("validation", 8, {"auc": 90.0})
    log.write("train", 16, {"loss": 0.5})
    draw_curves(tmp_path)
    with Image.open(tmp_path / "curves.png") as image:
        image.load()
        assert image.width > 200
