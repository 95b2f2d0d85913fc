"""The loss on validation photos, in the log and in the curves, and when it is measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from pix2color.color.lab import rgb_to_lab
from pix2color.config import BudgetConfig, Config, OptimConfig
from pix2color.evaluation.protocol import crop_photo, stack
from pix2color.training import schedule
from pix2color.training.metrics_log import MetricsLogger, draw_curves
from pix2color.training.setup import make_trainer

MakeConfig = Callable[..., Config]
L2 = ("model.head={type: regression}", "loss={cross_entropy: 0, l2: 1}")
GAN = (
    *("gan.enabled=true", "gan.base_channels=4", "gan.n_layers=1"),
    "gan.discriminator_warmup_samples=0",
)


def _validations(config: Config) -> list[dict[str, Any]]:
    lines = (Path(config.output) / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == "validation"]


def test_of_a_gray_network_it_is_the_squared_color_of_the_photos(tiny: MakeConfig) -> None:
    """An untrained regression predicts almost no color."""
    config = tiny("run", *L2, "train.num_val_photos=3", "train.batch_size=2", "budget.samples=2")
    trainer = make_trainer(config)
    trainer.fit()
    squares = [crop_photo(photo, "center", crop=None) for photo in trainer.validator.photos]
    assert len(squares) == 3
    rgb = stack([crop_photo(square, "resize", crop=32) for square in squares])
    truth = F.avg_pool2d(rgb_to_lab(rgb)[:, 1:], 4) / 110
    first = _validations(config)[0]
    assert first["samples"] == 0
    assert first["loss"] == pytest.approx(float(truth.square().mean()), rel=0.02)


@pytest.mark.parametrize(
    "options", [(), ("model.head.rebalance_lambda=0.5",), L2, (*L2, *GAN)], ids=str
)
def test_every_kind_of_recipe_has_one_at_each_validation(
    tiny: MakeConfig, options: tuple[str, ...]
) -> None:
    quick = ("train.batch_size=2", "budget.samples=4", "optim.decoder_lr=0.01")
    config = tiny("run", *options, *quick)
    make_trainer(config).fit()
    losses = [line["loss"] for line in _validations(config)]
    assert len(losses) == 2 and all(0 < loss < 20 for loss in losses)
    assert losses[0] != losses[1]


def test_it_is_of_the_photos_and_not_of_their_batches(tiny: MakeConfig) -> None:
    found = []
    for size in (1, 4):
        config = tiny(f"run{size}", *L2, "train.num_val_photos=4", f"train.batch_size={size}")
        trainer = make_trainer(config)
        generator = trainer.ema.module
        found.append(trainer.validator.mean_loss(generator, trainer.task.validation_loss)["loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_validations_are_even_over_the_budget_and_timed(tiny: MakeConfig) -> None:
    options = ("train.num_validations=3", "train.batch_size=2", "budget.samples=12")
    config = tiny("run", *L2, *options)
    make_trainer(config).fit()
    lines = _validations(config)
    assert [line["samples"] for line in lines] == [0, 4, 8, 12]
    seconds = [line["seconds"] for line in lines]
    assert seconds[0] == 0 and seconds == sorted(seconds) and seconds[-1] > 0


def test_the_curves_draw_it_beside_the_training_loss(tmp_path: Path) -> None:
    def drawn(*kinds: str) -> Image.Image:
        folder = tmp_path / "-".join(kinds)
        folder.mkdir()
        log = MetricsLogger(folder)
        for samples, loss in ((8, 1.0), (16, 0.5)):
            for kind in kinds:
                log.write(kind, samples, {"loss": loss + 2 * (kind == "validation")})
        draw_curves(folder)
        return Image.open(folder / "curves.png").convert("RGB")

    alone, both = drawn("train"), drawn("train", "validation")
    panel = (0, 0, alone.width // 4 + 10, alone.height)
    orange = torch.tensor([255, 127, 14])

    def has_orange(picture: Image.Image) -> bool:
        pixels = torch.from_numpy(np.array(picture.crop(panel))).flatten(0, 1).long()
        return bool(((pixels - orange).abs().sum(1) < 60).any())

    assert has_orange(both) and not has_orange(alone)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25])
def test_a_warm_up_may_be_a_share_of_the_budget(fraction: float) -> None:
    """However many samples that is."""
    optim = OptimConfig(warmup_samples=10_000, warmup_fraction=fraction, schedule="constant")
    for budget in (BudgetConfig(samples=400), BudgetConfig(samples=40_000)):
        total = budget.samples
        assert total is not None
        rates = []
        for samples in range(0, total, total // 40):
            spent = schedule.spent_fraction(budget, samples=samples, seconds=0)
            rates.append(schedule.learning_rate(1.0, optim, samples=samples + 1, fraction=spent))
        expected = [min(1.0, step / 40 / fraction) if fraction else 1.0 for step in range(40)]
        assert rates == pytest.approx(expected)


def test_minutes_have_one_too() -> None:
    optim, budget = OptimConfig(warmup_fraction=0.5, schedule="constant"), BudgetConfig(minutes=10)
    spent = schedule.spent_fraction(budget, samples=7, seconds=150)
    assert schedule.learning_rate(2.0, optim, samples=7, fraction=spent) == pytest.approx(1.0)
