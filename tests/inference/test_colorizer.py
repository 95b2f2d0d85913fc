"""Colorizer: kinds of pictures, what is kept, options, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_model import Tint, fake_colorizer
from PIL import Image

from pix2color.errors import Pix2ColorError
from pix2color.inference.colorizer import Colorizer
from pix2color.photo import Photo, profiles, read, write


@pytest.fixture
def colorizer() -> Colorizer:
    return fake_colorizer()


@pytest.fixture
def gray(photos: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(Image.fromarray(photos["coffee"]).convert("L").resize((90, 60)))


def test_every_kind_of_picture_comes_back_as_it_came(
    colorizer: Colorizer, gray: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "gray.png"
    Image.fromarray(gray).save(path)
    expected = colorizer(gray)
    assert expected.shape == (60, 90, 3) and expected.dtype == np.uint8
    assert np.ptp(expected.astype(int), axis=2).max() > 20  # there is color
    assert (np.asarray(colorizer(Image.fromarray(gray))) == expected).all()
    assert (colorizer(path).pixels == expected).all()
    assert (colorizer(str(path)).pixels == expected).all()
    assert (colorizer(Photo(gray.copy())).pixels == expected).all()
    many = colorizer([gray, path, Image.fromarray(gray)])
    assert [type(m) for m in many] == [np.ndarray, Photo, Image.Image]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
def test_arrays_keep_type_and_alpha(colorizer: Colorizer, dtype: type, channels: int) -> None:
    top = 1.0 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    shape = (40, 50, channels) if channels else (40, 50)
    array = (np.random.default_rng(0).uniform(0, 1, shape) * top).astype(dtype)
    out = colorizer(array)
    assert out.dtype == dtype
    assert out.shape == (40, 50, 4 if channels in (2, 4) else 3)
    if channels in (2, 4):
        # float16 has steps of 1/2048 below 1
        tolerance = 1e-3 if dtype == np.float16 else 1e-4 * top
        assert np.allclose(out[..., 3], array[..., -1], atol=tolerance)


def test_white_of_float16_stays_white(colorizer: Colorizer) -> None:
    white = np.ones((40, 50), np.float16)
    assert colorizer(white).min() > 0.99


def test_an_opened_png_of_16_bits_has_the_depth_that_pillow_gives_it(
    colorizer: Colorizer, gray: np.ndarray, tmp_path: Path
) -> None:
    deep = np.repeat(gray[..., None].astype(np.uint16) * 257, 3, axis=2)
    write(Photo(deep), tmp_path / "16.png")
    assert read(tmp_path / "16.png").bits == 16
    out = colorizer(Image.open(tmp_path / "16.png"))
    assert out.mode == "RGB" and out.size == (90, 60)
    eight = Image.fromarray(np.repeat(gray[..., None], 3, axis=2))
    assert (np.asarray(out) == np.asarray(colorizer(eight))).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_pillow_modes(colorizer: Colorizer, photos: dict[str, np.ndarray], mode: str) -> None:
    image = Image.fromarray(photos["coffee"]).resize((60, 40)).convert(mode)
    image.info["dpi"] = (300, 300)
    out = colorizer(image)
    assert out.size == (60, 40) and out.mode in ("RGB", "RGBA")
    assert out.info["dpi"] == (300, 300)


def test_one_pixel_and_slivers(colorizer: Colorizer) -> None:
    for shape in ((1, 1), (1, 500), (500, 1), (2, 3)):
        assert colorizer(np.full(shape, 120, np.uint8)).shape == (*shape, 3)


def test_gray_profile_gives_way_to_srgb_and_rgb_stays(
    colorizer: Colorizer, gray: np.ndarray, tmp_path: Path
) -> None:
    photo = colorizer(Photo(gray.copy(), icc=profiles.srgb_profile()))
    assert photo.icc == profiles.srgb_profile()


def test_all_pages_are_colored(colorizer: Colorizer, gray: np.ndarray) -> None:
    photo = Photo(gray.copy(), pages=(Photo(gray[:30].copy()), Photo(gray[:, :20].copy())))
    out = colorizer(photo)
    assert [p.pixels.shape for p in (out, *out.pages)] == [(60, 90, 3), (30, 90, 3), (60, 20, 3)]


def test_options_reach_the_network(colorizer: Colorizer, gray: np.ndarray) -> None:
    network = colorizer.runtime.generator  # type: ignore[attr-defined]
    assert isinstance(network, Tint)
    colorizer(gray, input_size=96)
    assert network.sizes[-1] == (96, 144)
    colorizer(gray)
    assert network.sizes[-1] == (48, 72)
    assert (colorizer(gray, saturation=0.0) == gray[..., None]).all()


@pytest.mark.parametrize("options", [{"input_size": 3}, {"temperature": 0}, {"vivid": 1}])
def test_wrong_options_name_themselves(
    colorizer: Colorizer, gray: np.ndarray, options: dict[str, float]
) -> None:
    with pytest.raises(Pix2ColorError, match=next(iter(options))):
        colorizer(gray, **options)


def test_wrong_pictures_are_errors(colorizer: Colorizer) -> None:
    for wrong in (np.zeros((3, 3), np.int64), np.zeros(4, np.uint8), np.full((2, 2), 2.0), 5):
        with pytest.raises(Pix2ColorError):
            colorizer(wrong)  # type: ignore[call-overload]
    with pytest.raises(Pix2ColorError, match="no such file"):
        colorizer("missing.jpg")


def test_an_absent_device_is_an_error() -> None:
    with pytest.raises(Pix2ColorError, match="no device"):
        Colorizer.from_pretrained(device="warp9")


def test_reading_back_what_was_colored(
    colorizer: Colorizer, gray: np.ndarray, tmp_path: Path
) -> None:
    write(colorizer(Photo(gray.copy(), format="PNG")), tmp_path / "out.png")
    assert (read(tmp_path / "out.png").pixels == colorizer(gray)).all()
