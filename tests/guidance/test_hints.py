"""Hints: reading, checks, the grid, and networks that accept them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.color
import torch
from fake_model import write_release
from photo_lab import lab_of

from pix2color.errors import Pix2ColorError
from pix2color.guidance.hints import Hint, encode_hints, parse_hints, rasterize, read_hints
from pix2color.inference.colorizer import Colorizer
from pix2color.models.hint_encoder import encode_hints as models_encode_hints

BLUE = "#2040ff"


def test_points_strokes_and_boxes_are_read(tmp_path: Path) -> None:
    tree = [
        {"x": 12, "y": 8, "color": BLUE},
        {"points": [[0, 0], [5, 9.5]], "radius": 2, "ab": [20, -30]},
        {"box": [9, 8, 2, 3], "color": "tomato"},
    ]
    file = tmp_path / "hints.json"
    file.write_text(json.dumps(tree))
    point, stroke, box = read_hints(file)
    assert isinstance(point, Hint) and point.points == ((12.0, 8.0),)
    expected = skimage.color.rgb2lab(np.array([0x20, 0x40, 0xFF]) / 255)[1:]
    assert point.ab == pytest.approx(tuple(expected), abs=0.1)
    assert isinstance(stroke, Hint) and stroke.ab == (20, -30) and stroke.radius == 2
    assert isinstance(box, Hint) and box.box == (2, 3, 9, 8)
    file.write_text(json.dumps({"a.jpg": tree}))
    assert read_hints(file) == {"a.jpg": [point, stroke, box]}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"x": 1, "y": 2}, "expected a list"),
        ([3], "hint 1: expected an object"),
        ([{"x": 1, "y": 2, "hue": "red"}], "unknown key hue; known: ab, box, color"),
        ([{"color": "red"}], "give a point"),
        ([{"x": 1, "y": 2, "box": [0, 0, 1, 1], "color": "red"}], "give a point"),
        ([{"x": 1, "y": 2}], "give a color such as"),
        ([{"x": 1, "y": 2, "color": "reddish"}], "unknown color 'reddish'"),
        ([{"x": 1, "y": 2, "ab": [500, 0]}], "no color that sRGB has"),
        ([{"x": 1, "y": 2, "ab": [1]}], "not a list of 2 numbers"),
        ([{"x": 1, "color": "red"}], "None is not a number"),
        ([{"x": True, "y": 2, "color": "red"}], "True is not a number"),
        ([{"points": [], "color": "red"}], "points is a list"),
        ([{"x": 1, "y": 2, "radius": -1, "color": "red"}], "radius -1 is outside 0"),
    ],
)
def test_what_is_no_hint_is_named(tree: Any, message: str) -> None:
    with pytest.raises(Pix2ColorError, match=message):
        parse_hints(tree)


def test_files_that_are_no_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(Pix2ColorError, match="cannot be read"):
        read_hints(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('[{"x": 1,\n "y": }]')
    with pytest.raises(Pix2ColorError, match="no JSON, line 2"):
        read_hints(tmp_path / "bad.json")


def test_a_point_is_its_cell_and_a_box_its_area() -> None:
    share, ab = rasterize([Hint((10, 20), ((35.0, 5.0),))], (40, 80), (4, 8))
    assert share[0, 3] == 1 and share.sum() == 1
    assert ab[:, 0, 3].tolist() == [10, 20]
    share, _ = rasterize([Hint((1, 1), box=(10, 10, 29, 19))], (40, 80), (4, 8))
    assert share.sum() == pytest.approx(2) and share[1, 1] == share[1, 2] == 1
    share, _ = rasterize([Hint((1, 1), ((20.0, 20.0),), radius=10)], (40, 80), (4, 8))
    assert share.sum() * 100 == pytest.approx(np.pi * 100, rel=0.15)


def test_a_hint_outside_the_photo_is_refused() -> None:
    for hint in (Hint((1, 1), ((80.0, 3.0),)), Hint((1, 1), box=(0, -2, 3, 3))):
        with pytest.raises(Pix2ColorError, match=r"hint 1: .* outside the photo of 80 x 40"):
            rasterize([hint], (40, 80), (4, 8))


@pytest.fixture(scope="module")
def hint_colorizer(tmp_path_factory: pytest.TempPathFactory) -> Colorizer:
    """A network that takes hints, not trained: its input for them is random."""
    path = write_release(tmp_path_factory.mktemp("hints") / "hints.safetensors", hints=True)
    return Colorizer.from_pretrained(path, device="cpu")


def test_hints_reach_a_network_that_accepts_them_and_no_other(
    hint_colorizer: Colorizer, colorizer: Colorizer, astronaut_gray: np.ndarray
) -> None:
    gray = astronaut_gray
    hints = parse_hints([{"x": 120, "y": 80, "color": BLUE}])
    for network, accepts in ((hint_colorizer, True), (colorizer, False)):
        assert network.runtime.info.accepts_hints is accepts
        plain, hinted = network.predict(gray, 96), network.predict(gray, 96, hints=hints)
        assert np.array_equal(plain.values, hinted.values) is not accepts
    with pytest.raises(Pix2ColorError, match="outside"):
        hint_colorizer.predict(gray, 96, hints=parse_hints([{"x": 9999, "y": 0, "color": BLUE}]))


def test_hints_are_encoded_as_in_training() -> None:
    hints = [Hint((10, 20), ((35.0, 5.0),)), Hint((-30, 5), box=(10, 10, 29, 19))]
    coverage, ab = rasterize(hints, (40, 80), (4, 8))
    expected = models_encode_hints(
        torch.from_numpy(ab)[None], torch.from_numpy(coverage)[None, None]
    )
    np.testing.assert_allclose(encode_hints(hints, (40, 80), (4, 8)), expected[0], atol=1e-6)


def test_a_hinted_color_is_met_where_the_network_sees_hints(hint_colorizer: Colorizer) -> None:
    gray = np.full((96, 96), 120, np.uint8)
    pixels = hint_colorizer(gray, hints=[{"box": [8, 8, 87, 87], "ab": [10, -20]}])
    np.testing.assert_allclose(lab_of(pixels)[1:, 48, 48], [10, -20], atol=1.5)
