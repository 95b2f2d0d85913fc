"""`train.selection_metric`: which weights are kept as the best."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision

from pix2color.config import Config
from pix2color.training import trainer as module
from pix2color.training.setup import make_trainer

MakeConfig = Callable[..., Config]


@pytest.mark.parametrize(
    ("figure", "best", "at"), [("auc", 93.0, 12), ("cast", 14.0, 8), ("composite", 93.0, 12)]
)
def test_the_highest_is_the_best_and_the_lowest_cast(
    figure: str, best: float, at: int, tiny: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every figure but cast, whose lowest value is kept; the start counts for nothing."""
    values = iter([(99.0, 1.0), (91.0, 20.0), (92.0, 14.0), (93.0, 17.0)])

    def stand_in(*args: object, **options: object) -> dict[str, float]:
        higher, lower = next(values)
        return {"auc": higher, "composite": higher, "cast": lower}

    monkeypatch.setattr(module, "validate", stand_in)
    config = tiny(
        "run",
        f"train.selection_metric={figure}",
        "budget.samples=12",
        "train.validate_every_samples=4",
    )
    summary = make_trainer(config).fit()
    assert (summary.best, summary.best_samples) == (best, at)


def test_cast_stands_in_the_log_and_fd_where_a_backbone_is_named(
    tiny: MakeConfig, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "squeeze.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), file)
    for run, options in (("without", ()), ("with", (f"train.fd_backbone={file}",))):
        config = tiny(
            run,
            "budget.samples=4",
            "train.selection_metric=cast",
            "train.num_val_photos=3",
            *options,
        )
        make_trainer(config).fit()
        log = (Path(config.output) / "metrics.jsonl").read_text().splitlines()
        lines = [one for one in map(json.loads, log) if one["kind"] == "validation"]
        assert all(0 < line["cast"] < 100 for line in lines)
        assert all(("fd" in line) == bool(options) for line in lines)
