"""`train.selection_metric`: which weights are kept as the best, and the figures of a validation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision

from pix2color.build import build_generator
from pix2color.checkpoints import checkpoint
from pix2color.config import Config
from pix2color.training.checkpointing import TrainState
from pix2color.training.setup import make_trainer
from pix2color.training.validator import Validator

MakeConfig = Callable[..., Config]


@pytest.mark.parametrize(
    ("metric", "best", "at"), [("auc", 93.0, 12), ("cast", 14.0, 8), ("composite", 93.0, 12)]
)
def test_the_highest_is_the_best_and_the_lowest_cast(
    metric: str, best: float, at: int, tiny: MakeConfig
) -> None:
    """The figures before the first step are not kept."""
    config = tiny("run", f"train.selection_metric={metric}")
    generator = build_generator(config.model)
    device = torch.device("cpu")
    validator = Validator(config, [], data_stats={}, folder=Path(config.output), device=device)
    state = TrainState()
    figures = [(99.0, 1.0), (91.0, 20.0), (92.0, 14.0), (93.0, 17.0)]
    for step, (higher, lower) in enumerate(figures):
        state.steps, state.samples = step, 4 * step
        assert validator.release(state) is None or step > 1
        values = {"auc": higher, "composite": higher, "cast": lower}
        validator.keep_best(generator, values, state)
    assert (validator.best(state), state.best_samples) == (best, at)
    release = validator.release(state)
    assert release is not None
    assert checkpoint.load(release).meta["data"]["samples"] == at


def test_the_log_holds_cast_and_fd_where_a_backbone_is_named(
    tiny: MakeConfig, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "squeeze.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), file)
    for run, options in (("without", ()), ("with", (f"train.fd_backbone={file}",))):
        config = tiny(
            run,
            "budget.samples=4",
            "train.selection_metric=composite",
            "train.num_val_photos=3",
            *options,
        )
        summary = make_trainer(config).fit()
        log = (Path(config.output) / "metrics.jsonl").read_text().splitlines()
        lines = [line for line in map(json.loads, log) if line["kind"] == "validation"]
        assert all(0 < line["cast"] < 100 for line in lines)
        assert all(("fd" in line) == bool(options) for line in lines)
        assert summary.best == pytest.approx(lines[-1]["composite"], rel=1e-4)
