"""Baselines, and networks whose passes are shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pix2color.cli import infer
from pix2color.config import DecodeConfig
from pix2color.evaluation import checkpoint_methods, methods, protocol
from pix2color.evaluation.methods import Batch, CachedPredictor
from pix2color.inference.colorizer import Colorizer


@pytest.fixture(scope="module")
def squares(small_photos: list[np.ndarray]) -> list[np.ndarray]:
    return [protocol.crop_photo(photo, "center", crop=48) for photo in small_photos]


@pytest.fixture(scope="module")
def batch(squares: list[np.ndarray]) -> Batch:
    return Batch.of(squares, range(4), "cpu")


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_the_evaluated_image_is_the_file_that_a_user_gets(
    photos: dict[str, np.ndarray], name: str, tmp_path: Path
) -> None:
    """To the last code value, though other photos are evaluated with it."""
    photo = protocol.crop_photo(photos[name], "center", crop=None)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    assert infer.main([str(tmp_path / "photo.png"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    written = np.asarray(Image.open(tmp_path / "out" / "photo.png").convert("RGB"))
    default, small = checkpoint_methods.checkpoint_methods(["default"], sweep=[{"input_size": 64}])
    batch = Batch.of([photo[::-1].copy(), photo], [0, 1], "cpu")
    assert np.array_equal(default.predict(batch)[1], written)
    assert not np.array_equal(small.predict(batch)[1], written)


def test_truth_and_gray_are_the_ends(batch: Batch) -> None:
    assert np.array_equal(methods.truth().predict(batch), batch.photos)
    for image, gray in zip(methods.gray().predict(batch), batch.gray, strict=True):
        assert np.array_equal(image, np.stack([gray] * 3, axis=-1))


def test_random_takes_another_photos_colors_once(squares: list[np.ndarray], batch: Batch) -> None:
    def mean_ab(images: list[np.ndarray]) -> np.ndarray:
        return Batch(images, [0, 1, 2, 3]).ab.mean((2, 3)).numpy()

    drawn, true = methods.random(squares, seed=5).predict(batch), mean_ab(squares)
    sources = [int(np.linalg.norm(true - ab, axis=1).argmin()) for ab in mean_ab(drawn)]
    assert sorted(sources) == [0, 1, 2, 3]
    assert all(number != source for number, source in enumerate(sources))
    again = methods.random(squares, seed=5).predict(batch)
    assert np.array_equal(again, drawn)


def test_random_from_training_photos_fits_any_shape(small_photos: list[np.ndarray]) -> None:
    method = methods.random(small_photos[1:], seed=0, from_evaluated=False)
    batch = Batch.of([small_photos[0]] * 5, range(5), "cpu")
    assert [image.shape for image in method.predict(batch)] == [small_photos[0].shape] * 5


def test_settings_share_a_pass_and_sizes_do_not(warm_runtime: Any, batch: Batch) -> None:
    network = CachedPredictor(Colorizer(warm_runtime))
    plain = network.method("plain", DecodeConfig(input_size=32))
    colorless = network.method("colorless", DecodeConfig(input_size=32, saturation=0))
    large = network.method("large", DecodeConfig(input_size=64))
    first = plain.predict(batch)
    assert np.array_equal(colorless.predict(batch), methods.gray().predict(batch))
    assert warm_runtime.passes == 4  # one per photo
    large.predict(batch)
    assert np.array_equal(plain.predict(batch), first)
    assert warm_runtime.passes == 8
    plain.predict(batch.mirrored())
    assert warm_runtime.passes == 12
