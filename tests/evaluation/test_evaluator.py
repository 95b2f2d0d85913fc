"""The whole evaluation on real photos: fixed points, and that batches change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from pix2color.config import DecodeConfig
from pix2color.evaluation import methods, protocol
from pix2color.evaluation.evaluator import Evaluation, evaluate_methods
from pix2color.evaluation.lpips import Lpips
from pix2color.evaluation.methods import CachedPredictor, Method
from pix2color.evaluation.registry import FAILURES
from pix2color.inference.colorizer import Colorizer


@pytest.fixture(scope="module")
def squares(small_photos: list[np.ndarray]) -> list[np.ndarray]:
    """Two shapes, so that batches have to be told apart."""
    large = [protocol.crop_photo(photo, "center", crop=None) for photo in small_photos]
    return [*large[:2], protocol.crop_photo(small_photos[2], "center", crop=48), large[3]]


@pytest.fixture(scope="module")
def lpips(tmp_path_factory: pytest.TempPathFactory) -> Lpips:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeeze.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    return Lpips("squeeze", backbone=path)


class _Readable:
    """Reads the class of a photo off its brightness, where it has colors."""

    def topk_correct(
        self, rgb: torch.Tensor, labels: list[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        colored = (rgb[:, 0] - rgb[:, 2]).abs().flatten(1).mean(1) > 0.01
        return colored.double(), torch.ones(len(rgb), dtype=torch.float64)


class _Means:
    """A backbone whose features are the mean of each channel."""

    def features(self, rgb: torch.Tensor) -> torch.Tensor:
        return 255 * rgb.mean((2, 3))


@pytest.fixture(scope="module")
def evaluation(squares: list[np.ndarray], lpips: Lpips) -> Evaluation:
    half = Method.from_ab("half", lambda batch: batch.ab / 2, primary=True)
    return evaluate_methods(
        squares,
        [methods.random(squares), half],
        lpips=lpips,
        backbone=_Means(),  # type: ignore[arg-type]
        classifier=_Readable(),  # type: ignore[arg-type]
        labels=[0, 1, 2, 3],
        failures=True,
        num_images=3,
        resamples=50,
    )


def test_truth_reaches_every_end(evaluation: Evaluation) -> None:
    found, gains = evaluation.figures()[0]
    value = {name: one.value for name, one in found.items()}
    assert evaluation.results[0].method.name == "truth"
    for name in ("auc", "auc_rebalanced", "psnr", "psnr_lab", "top1", "top1_recovered"):
        assert value[name] == pytest.approx(100, abs=2e-3), name
    assert value["lpips"] == pytest.approx(0, abs=1e-6)
    assert value["lpips_change"] == pytest.approx(-100, abs=1e-3)
    for name in ("ssim", "colorfulness_ratio", "colorfulness_lab_ratio", "chroma_ratio"):
        assert value[name] == pytest.approx(1, abs=1e-4), name
    for name in ("patchiness", "border", "contour", "bleeding", "js_divergence", "cast", "fd"):
        assert value[name] == pytest.approx(0, abs=1e-2), name
    assert gains["auc"].value > 5


def test_gray_has_no_color_and_gains_nothing(evaluation: Evaluation) -> None:
    found, gains = evaluation.figures()[1]
    assert evaluation.results[1].method.name == "gray"
    assert found["colorfulness"].value == pytest.approx(0, abs=0.02)
    assert found["colorfulness_lab"].value == pytest.approx(0, abs=0.01)
    assert found["bleeding"].value == pytest.approx(100, abs=0.01)
    assert all(one.value == 0 for name, one in gains.items() if np.isfinite(one.value))


def test_half_the_color_lies_between(evaluation: Evaluation) -> None:
    truth, gray, _, half = (values for values, _ in evaluation.figures())
    for name in ("auc", "auc_rebalanced", "psnr", "lpips", "colorfulness"):
        ends = sorted((truth[name].value, gray[name].value))
        assert ends[0] < half[name].value < ends[1], name
    assert 0 < half["cast"].value < gray["cast"].value
    assert 0 < half["fd"].value < gray["fd"].value
    assert half["cast"].low <= half["cast"].value <= half["cast"].high
    assert half["colorfulness_lab_ratio"].value == pytest.approx(0.5, abs=1e-3)
    assert half["auc"].low <= half["auc"].value <= half["auc"].high
    assert half["flip_difference"].value == pytest.approx(0)
    assert set(FAILURES) <= set(half)


def test_only_featured_rows_are_timed(evaluation: Evaluation) -> None:
    timed = [result.method.name for result in evaluation.results if result.milliseconds is not None]
    assert timed == ["half"]


def test_pictures_are_kept_in_the_photos_order(
    evaluation: Evaluation, squares: list[np.ndarray]
) -> None:
    for shown, photo in zip(evaluation.images["truth"], squares, strict=False):
        assert shown.shape == photo.shape
        assert np.array_equal(shown, photo)
    assert len(evaluation.images["half"]) == 3


def test_a_part_of_the_photos_has_its_own_figures(
    evaluation: Evaluation, squares: list[np.ndarray]
) -> None:
    part = evaluation.select(np.array([0, 3]))
    alone = evaluate_methods([squares[0], squares[3]], [], resamples=0)
    for name in ("auc", "auc_rebalanced", "psnr", "cast"):
        expected = alone.figures()[1][0][name].value
        assert part.figures()[1][0][name].value == pytest.approx(expected, abs=1e-4)
    assert part.num_bins == alone.num_bins


def test_the_batch_changes_nothing(warm_runtime: Any, squares: list[np.ndarray]) -> None:
    def measure(batch: int) -> dict[str, float]:
        row = CachedPredictor(Colorizer(warm_runtime)).method("warm", DecodeConfig(input_size=48))
        found = evaluate_methods(squares, [row], batch=batch, resamples=0).figures()[2][0]
        return {name: one.value for name, one in found.items()}

    assert measure(1) == pytest.approx(measure(4), rel=1e-5)


def test_rows_need_names_of_their_own(squares: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="another name"):
        evaluate_methods(squares, [methods.gray()])


def test_photos_of_a_pixel_are_measured(tmp_path: Path) -> None:
    photo = np.full((1, 1, 3), (200, 30, 60), dtype=np.uint8)
    found = evaluate_methods([photo], [], failures=True, resamples=5).figures()[1][0]
    assert found["auc"].value < 80
    assert np.isnan(found["ssim"].value)
