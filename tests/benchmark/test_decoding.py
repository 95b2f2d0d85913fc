"""The best decoding of a network with classes: the rule, and that a choice is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pix2color import build
from pix2color.benchmark import decoding
from pix2color.checkpoints import checkpoint
from pix2color.config import load
from pix2color.evaluation.evaluator import evaluate_methods
from pix2color.evaluation.methods import CachedPredictor
from pix2color.inference.colorizer import Colorizer

CPU = torch.device("cpu")


@pytest.fixture
def squares(small_photos: list[np.ndarray]) -> list[np.ndarray]:
    return [photo[:40, :40] for photo in small_photos[:3]]


@pytest.fixture
def colorizer(tmp_path: Path) -> Colorizer:
    """Of a small untrained network whose colors differ from place to place."""
    options = ["model.conv_encoder.width=4", "model.upsample.stages=[[], [8]]"]
    config = load("zhang_class", [*options, "decode.input_size=40"])
    torch.manual_seed(0)
    generator = build.build_generator(config.model)
    with torch.no_grad():
        generator.head.project.weight.mul_(300)
    checkpoint.save(tmp_path / "one.safetensors", generator, config=config, data={})
    return Colorizer.from_pretrained(tmp_path / "one.safetensors", "cpu")


def test_it_has_the_lowest_cast_of_those_that_cost_little_auc(
    colorizer: Colorizer, squares: list[np.ndarray]
) -> None:
    chosen = decoding.best_decoding(colorizer, squares, device=CPU)
    network = CachedPredictor(colorizer)
    rows = {}
    for temperature in decoding.TEMPERATURES:
        for vividness in decoding.VIVIDNESS:
            update = {"temperature": temperature, "vividness": vividness}
            decode = colorizer.decode.model_copy(update=update)
            method = network.method("one", decode)
            values = evaluate_methods(squares, [method], resamples=0, timed=False).figures()[2][0]
            rows[temperature, vividness] = values["auc"].value, values["cast"].value
    auc, cast = rows[chosen.temperature, chosen.vividness]
    least = rows[1.0, 0.0][0] - 1
    assert auc >= least
    assert cast == pytest.approx(min(c for a, c in rows.values() if a >= least))
    assert len({round(c, 3) for _, c in rows.values()}) > 5  # the settings differ
    others = chosen.model_copy(update={"temperature": 1.0, "vividness": 0.0})
    assert others == colorizer.decode.model_copy(update={"temperature": 1.0, "vividness": 0.0})


def test_a_choice_is_kept_for_the_same_photos(
    colorizer: Colorizer,
    squares: list[np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = decoding.kept_best_decoding(colorizer, squares, tmp_path, device=CPU)

    def called(*args: object, **options: object) -> None:
        raise AssertionError("chosen again")

    monkeypatch.setattr(decoding, "best_decoding", called)
    assert decoding.kept_best_decoding(colorizer, squares, tmp_path, device=CPU) == chosen
    with pytest.raises(AssertionError, match="chosen again"):
        decoding.kept_best_decoding(colorizer, squares[:2], tmp_path, device=CPU)
