"""What is cut out of photos, how they are batched, and the figures a training watches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pix2color.color.lab import rgb_to_lab
from pix2color.config import DecodeConfig
from pix2color.evaluation import methods, protocol, validate
from pix2color.evaluation.evaluator import evaluate_methods
from pix2color.inference.colorizer import Colorizer


def _ramp(height: int, width: int) -> np.ndarray:
    return np.arange(height * width * 3, dtype=np.uint32).reshape(height, width, 3).astype(np.uint8)


def test_center_is_the_middle_square_and_never_enlarged() -> None:
    photo = _ramp(50, 81)
    square = protocol.crop_photo(photo, "center", crop=None)
    assert np.array_equal(square, photo[:, 15:65])
    assert protocol.crop_photo(photo, "center", crop=200).shape == (50, 50, 3)
    assert protocol.crop_photo(photo, "center", crop=32).shape == (32, 32, 3)


def test_resize_stretches_and_full_keeps() -> None:
    photo = _ramp(50, 81)
    assert protocol.crop_photo(photo, "resize", crop=64).shape == (64, 64, 3)
    assert np.array_equal(protocol.crop_photo(photo, "full", crop=64), photo)


def test_reducing_keeps_the_mean_color(photos: dict[str, np.ndarray]) -> None:
    small = protocol.crop_photo(photos["coffee"], "resize", crop=40)
    assert small.mean((0, 1)) == pytest.approx(photos["coffee"].mean((0, 1)), abs=1.0)


def test_batches_hold_photos_of_one_shape_each_once() -> None:
    shapes = [(8, 8), (8, 9), (8, 8), (8, 8), (8, 9)]
    photos = [_ramp(*shape) for shape in shapes]
    found = list(protocol.group_by_shape(photos, size=2))
    assert sorted(i for group in found for i in group) == list(range(5))
    assert all(len({shapes[i] for i in group}) == 1 and len(group) <= 2 for group in found)
    assert max(map(len, protocol.group_by_shape(photos, size=9, pixels=130))) == 2
    assert max(map(len, protocol.group_by_shape(photos, size=9, pixels=1))) == 1


def test_the_network_sees_its_own_size(warm: Any) -> None:
    lightness = torch.rand(1, 1, 40, 60) * 100
    ab = protocol.predict_ab_fast(warm, lightness, DecodeConfig(input_size=32))
    assert warm.sizes == [(32, 48)]
    assert ab.shape == (1, 2, 40, 60)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 5)])
def test_photos_of_any_size_are_colored(warm: Any, shape: tuple[int, int]) -> None:
    ab = protocol.predict_ab_fast(
        warm, torch.full((1, 1, *shape), 50.0), DecodeConfig(input_size=32)
    )
    assert ab.shape == (1, 2, *shape)
    assert ab.isfinite().all()


class _Gray:
    training = False

    def train(self, mode: bool = True) -> None:
        """As nn.Module's."""

    def predict(self, lightness: torch.Tensor, decode: DecodeConfig) -> torch.Tensor:
        """No color."""
        return torch.zeros(len(lightness), 2, *lightness.shape[-2:])


def test_validate_of_gray_gains_nothing(small_photos: list[np.ndarray]) -> None:
    found = validate(_Gray(), small_photos, DecodeConfig(input_size=32))
    assert [found[f"{name}_gain"] for name in ("auc", "auc_rebalanced", "psnr")] == [0, 0, 0]
    assert found["colorfulness"] == pytest.approx(0, abs=0.02)
    assert found["colorfulness_truth"] > 20
    assert found["bins"] > 20
    assert found["cast"] > 30  # the share of pixels with a color
    assert all(isinstance(value, float) for value in found.values())


def test_validate_of_the_truth_gains_all(small_photos: list[np.ndarray]) -> None:
    squares = [protocol.crop_photo(photo, "center", crop=None) for photo in small_photos]
    truth = rgb_to_lab(protocol.stack(squares))

    class Oracle(_Gray):
        def predict(self, lightness: torch.Tensor, decode: DecodeConfig) -> torch.Tensor:
            return truth[:, 1:]

    found = validate(Oracle(), small_photos, DecodeConfig(input_size=72))
    assert found["auc"] == pytest.approx(100, abs=1e-3)
    assert found["auc_rebalanced"] == pytest.approx(100, abs=1e-3)
    assert found["psnr"] == pytest.approx(100, abs=1e-3)
    assert found["colorfulness_ratio"] == pytest.approx(1, abs=1e-4)
    assert found["composite"] == pytest.approx(125, abs=0.01)
    assert found["cast"] == pytest.approx(0, abs=0.01)
    assert "fd" not in found


def test_validate_measures_cast_and_fd_as_an_evaluation_does(
    warm: Any, warm_runtime: Any, small_photos: list[np.ndarray]
) -> None:
    """Nearly: upsampling and rounding differ."""

    class Means:
        def features(self, rgb: torch.Tensor) -> torch.Tensor:
            return 255 * rgb.mean((2, 3))

    squares = [protocol.crop_photo(photo, "center", crop=48) for photo in small_photos]
    decode, backbone = DecodeConfig(input_size=32), Means()
    found = validate(warm, squares, decode, backbone=backbone, batch=3)  # type: ignore[arg-type]
    warm_method = methods.CachedPredictor(Colorizer(warm_runtime)).method("warm", decode)
    measured = evaluate_methods(squares, [warm_method], backbone=backbone, resamples=0)  # type: ignore[arg-type]
    figures = measured.figures()[2][0]
    for name, tolerance in (("auc", 0.01), ("cast", 0.1), ("fd", 0.1)):
        assert found[name] == pytest.approx(figures[name].value, rel=tolerance), name
    assert found["cast"] > 0 and found["fd"] > 0


def test_validate_leaves_the_network_in_its_mode(warm: Any, small_photos: list[np.ndarray]) -> None:
    validate(warm, small_photos, DecodeConfig(input_size=32), batch=1)
    assert warm.training
    assert warm.passes == len(small_photos)


def test_validate_takes_the_largest_side_it_is_given(
    warm: Any, small_photos: list[np.ndarray]
) -> None:
    full = validate(warm, small_photos, DecodeConfig(input_size=32))
    small = validate(warm, small_photos, DecodeConfig(input_size=32), crop=24)
    assert small["auc"] != full["auc"]
    assert small["auc"] == pytest.approx(full["auc"], abs=3)
