"""Hints drawn from the truth for training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pix2color.checkpoints import checkpoint
from pix2color.color.constants import AB_RANGE
from pix2color.config import Config
from pix2color.runtime.load import load_runtime
from pix2color.training.export import export_run
from pix2color.training.setup import make_trainer
from pix2color.training.simulated_hints import sample_hints

AB = 40 * torch.randn(1, 2, 32, 32, generator=torch.Generator().manual_seed(0))


def test_what_is_given_is_the_truth_and_elsewhere_is_nothing() -> None:
    hints = sample_hints(AB.expand(20, -1, -1, -1), range(20))
    given = hints[:, 2:] == 1
    assert given.any()
    torch.testing.assert_close(hints[:, :2] * AB_RANGE, AB.expand(20, -1, -1, -1) * given)
    assert set(hints[:, 2].unique().tolist()) == {0.0, 1.0}


def test_a_photo_has_seven_points_on_average_and_one_in_eight_has_none() -> None:
    counts = sample_hints(AB.expand(2000, -1, -1, -1), range(2000))[:, 2].sum(dim=(1, 2))
    assert 6.3 < counts.mean() < 7.3
    assert 0.10 < (counts == 0).float().mean() < 0.15


def test_points_depend_on_the_seed_of_the_photo_alone() -> None:
    both = AB.expand(2, -1, -1, -1)
    first = sample_hints(both, [3, 5])
    assert torch.equal(first, sample_hints(both, [3, 5]))
    assert torch.equal(first[1], sample_hints(AB, [5])[0])
    assert not torch.equal(first[0], first[1])


def test_a_training_with_hints_starts_from_weights_without_and_releases_both(
    tiny: Callable[..., Config],
) -> None:
    short = ("train.batch_size=4", "budget.samples=8")
    plain = make_trainer(tiny("plain", *short)).fit()
    start = f"init_from={plain.release}"
    made = make_trainer(tiny("hinted", *short, "model.hints=true", start)).fit()
    assert made.release is not None
    generator = checkpoint.load(made.release).generator
    assert generator.hint_input is not None
    assert any(parameter.abs().max() > 0 for parameter in generator.hint_input.parameters())
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    released = export_run(made.release.parent)
    runtime = load_runtime(released, "cpu")
    assert runtime.kind == "onnx" and runtime.info.accepts_hints
