"""The small filters against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pix2color.inference import filters

SIZES = ((1, 1), (1, 7), (3, 2), (48, 72), (125, 190))


@pytest.fixture(params=SIZES, ids=str)
def plane(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(0).normal(50, 20, request.param).astype(np.float32)


@pytest.mark.parametrize(("outside", "mode"), [("edge", "nearest"), ("zero", "constant")])
@pytest.mark.parametrize("window", [3, 9])
def test_the_mean_of_a_window(plane: np.ndarray, window: int, outside: str, mode: str) -> None:
    planes = np.stack([plane, plane[::-1]])
    expected = ndimage.uniform_filter(planes, (0, window, window), mode=mode)
    found = filters.box_mean(planes, window, outside=outside)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.dtype == np.float32


def test_the_median_and_the_gaussian(plane: np.ndarray) -> None:
    assert np.array_equal(filters.median3(plane), ndimage.median_filter(plane, 3))
    np.testing.assert_allclose(
        filters.gaussian(plane, 0.8), ndimage.gaussian_filter(plane, 0.8), atol=1e-4
    )
