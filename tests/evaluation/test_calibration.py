"""Fitting a calibration on photos, with a network whose faults are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F

from pix2color.color.lab import rgb_to_lab
from pix2color.config import DecodeConfig
from pix2color.data.dataset import Counts, PhotoSet
from pix2color.errors import DataError
from pix2color.evaluation import calibration
from pix2color.evaluation.calibration import MIN_PHOTOS, fit_calibration
from pix2color.evaluation.protocol import stack
from pix2color.inference import preprocess
from pix2color.photo import Photo
from pix2color.runtime.base import NetworkInfo, NetworkOutput

STRIDE, SIZE = 2, 32


class _Knowing:
    """A runtime that knows the true colors of some photos and gives `factor` times them."""

    kind, device = "torch", "cpu"
    info = NetworkInfo("knowing", "d1", DecodeConfig(input_size=SIZE), output_stride=STRIDE)

    def __init__(self, photos: list[np.ndarray], factor: float) -> None:
        self.sizes: list[int] = []
        self._ab: dict[bytes, np.ndarray] = {}
        for photo in photos:
            gray = preprocess.gray_values(Photo(photo))
            lightness, _ = preprocess.network_input(gray, SIZE, STRIDE)
            cells = tuple(side // STRIDE for side in lightness.shape)
            ab = F.adaptive_avg_pool2d(rgb_to_lab(stack([photo]))[:, 1:], cells)
            self._ab[lightness.tobytes()] = factor * ab[0].numpy()

    def run(self, lightness: np.ndarray, **options: Any) -> NetworkOutput:
        self.sizes.append(len(lightness))
        return NetworkOutput(np.stack([self._ab[one.tobytes()] for one in lightness[:, 0]]))


def photo_set(photos: list[np.ndarray], gray: int = 0) -> PhotoSet:
    names = [f"{number}.png" for number in range(len(photos))]
    counts = Counts(len(photos) + gray, len(photos), gray, 0, 0, ())
    return PhotoSet(photos, names, names, counts, bundled=False, unsplit=False)


@pytest.fixture(scope="module")
def crops(photos: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Parts of real photos, of two shapes."""
    random = np.random.default_rng(0)
    chosen = []
    for number in range(MIN_PHOTOS):
        photo = list(photos.values())[number % 3]  # the rocket has hardly any color
        height, width = ((SIZE, 40), (36, SIZE))[number % 2]
        top, left = (random.integers(0, photo.shape[i] - (height, width)[i]) for i in (0, 1))
        chosen.append(np.ascontiguousarray(photo[top : top + height, left : left + width]))
    return chosen


def test_twice_the_color_becomes_nearly_the_truth(crops: list[np.ndarray]) -> None:
    runtime = _Knowing(crops, 2.0)
    steps: list[tuple[int, int]] = []
    fit = fit_calibration(
        runtime,
        photo_set(crops),
        DecodeConfig(input_size=SIZE, calibration=1.0),
        weights="0123456789ab",
        batch=7,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert fit.before.cast > 5 and fit.after.cast < 0.3 * fit.before.cast
    assert fit.after.auc > fit.before.auc + 5
    assert fit.calibration.photos == MIN_PHOTOS and fit.calibration.weights == "0123456789ab"
    assert fit.calibration.input_size == SIZE
    assert max(runtime.sizes) == 7 and sum(runtime.sizes) == MIN_PHOTOS  # each photo once
    assert steps == sorted(steps) and steps[-1] == (2 * MIN_PHOTOS, 2 * MIN_PHOTOS)


@pytest.fixture
def some(crops: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """A quarter of them, which is enough here."""
    monkeypatch.setattr(calibration, "MIN_PHOTOS", MIN_PHOTOS // 4)
    return crops[: MIN_PHOTOS // 4]


def test_it_is_the_same_in_any_batch_and_share_scales_the_figures(some: list[np.ndarray]) -> None:
    runtime, photos = _Knowing(some, 2.0), photo_set(some)
    fits = [
        fit_calibration(
            runtime, photos, DecodeConfig(input_size=SIZE, calibration=share), weights="w", batch=n
        )
        for share, n in ((1.0, 16), (0.5, 16), (0.0, 1))
    ]
    whole, half, none = fits
    assert np.array_equal(whole.calibration.shift, half.calibration.shift)
    np.testing.assert_allclose(whole.calibration.shift, none.calibration.shift, atol=1e-4)
    assert whole.before == half.before and none.after == none.before
    assert whole.after.auc > half.after.auc > none.after.auc


def test_saturation_is_of_the_figures_only(some: list[np.ndarray]) -> None:
    runtime, photos = _Knowing(some, 2.0), photo_set(some)
    plain, gray = (
        fit_calibration(runtime, photos, DecodeConfig(input_size=SIZE, saturation=x), weights="w")
        for x in (1.0, 0.0)
    )
    assert np.array_equal(plain.calibration.shift, gray.calibration.shift)
    assert plain.before != gray.before


def test_too_few_photos_are_refused_before_the_network_runs(crops: list[np.ndarray]) -> None:
    runtime = _Knowing(crops, 1.0)
    few = photo_set(crops[:-1], gray=12)
    with pytest.raises(DataError) as caught:
        fit_calibration(runtime, few, DecodeConfig(input_size=SIZE), weights="w")
    said = str(caught.value)
    assert "199 color photos of 211 files" in said and "12 are gray" in said
    assert "at least 200" in said and "\n" not in said
    assert runtime.sizes == []
