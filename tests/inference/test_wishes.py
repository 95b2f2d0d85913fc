"""Hints, palettes, variants and confidence, with the packaged weights on the bundled photos."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.color
import skimage.data
import torch
from fake_model import released, write_release
from PIL import Image

from pix2color.color.lab import rgb_to_lab
from pix2color.errors import Pix2ColorError
from pix2color.guidance.hints import Hint, parse_hints, rasterize, read_hints
from pix2color.guidance.palette import match_palette, palette_of
from pix2color.guidance.propagation import propagate_hints
from pix2color.guidance.variants import distance, sample_variants
from pix2color.inference import preprocess
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.prediction import Prediction
from pix2color.photo import profiles, read
from pix2color.runtime.backends import TorchRuntime

PHOTOS = Path(__file__).parents[2] / "photos"
BLUE = "#2040ff"


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def guess(colorizer: Colorizer) -> Prediction:
    codes = preprocess.gray_values(read(PHOTOS / "astronaut.jpg"))
    return colorizer.predict(codes, 96, features=True)


def lab_of(pixels: np.ndarray) -> np.ndarray:
    rgb = torch.from_numpy(pixels[..., :3].copy()).permute(2, 0, 1)[None]
    return rgb_to_lab(rgb.float() / 255)[0].numpy()


# --- a network that is told ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Colorizer:
    """A network that takes hints, not trained: its input for them is random."""
    path = write_release(tmp_path_factory.mktemp("hints") / "hints.safetensors", hints=True)
    colorizer = Colorizer.from_pretrained(path, device="cpu")
    assert isinstance(colorizer.backend, TorchRuntime)
    given = colorizer.backend.generator.hint_input
    assert given is not None
    for parameter in given.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(0))
    return colorizer


def test_a_network_that_takes_hints_is_told_and_others_are_not(
    listener: Colorizer, colorizer: Colorizer
) -> None:
    codes = preprocess.gray_values(read(PHOTOS / "astronaut.jpg"))
    hints = parse_hints([{"x": 120, "y": 80, "color": BLUE}])
    assert listener.backend.accepts_hints and not colorizer.backend.accepts_hints
    for one, differs in ((listener, True), (colorizer, False)):
        plain, told = one.predict(codes, 96), one.predict(codes, 96, hints=hints)
        assert torch.equal(plain.raw, told.raw) is not differs
    with pytest.raises(Pix2ColorError, match="outside"):
        listener.predict(codes, 96, hints=parse_hints([{"x": 9999, "y": 0, "color": BLUE}]))


def test_a_color_that_is_told_is_still_pinned_exactly(listener: Colorizer) -> None:
    gray = np.full((96, 96), 120, np.uint8)
    pixels = listener(gray, hints=[{"box": [8, 8, 87, 87], "ab": [10, -20]}])
    np.testing.assert_allclose(lab_of(pixels)[1:, 48, 48], [10, -20], atol=1.5)


# --- reading ---------------------------------------------------------------------------------


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
        ([{"x": 1, "y": 2, "color": "red"}], "unknown key color; known: ab, box, color"),
        ([{"color": "red"}], "give a point"),
        ([{"x": 1, "y": 2, "box": [0, 0, 1, 1], "color": "red"}], "give a point"),
        ([{"x": 1, "y": 2}], "give a color such as"),
        ([{"x": 1, "y": 2, "color": "reddish"}], "unknown color 'reddish'"),
        ([{"x": 1, "y": 2, "ab": [500, 0]}], "no color that sRGB has"),
        ([{"x": 1, "y": 2, "ab": [1]}], "not a list of 2 numbers"),
        ([{"x": 1, "color": "red"}], "None is not a number"),
        ([{"x": True, "y": 2, "color": "red"}], "True is not a number"),
        ([{"points": [], "color": "red"}], "points is a list"),
        ([{"x": 1, "y": 2, "radius": -1, "color": "red"}], "radius -1 is negative"),
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


# --- drawing ---------------------------------------------------------------------------------


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


# --- spreading -------------------------------------------------------------------------------


def test_no_hint_changes_nothing(guess: Prediction, colorizer: Colorizer) -> None:
    ab = guess.ab(colorizer.decode)
    none = np.zeros(ab.shape[1:], np.float32)
    assert np.array_equal(
        propagate_hints(guess, ab, none, np.zeros(ab.shape, np.float32)), ab.numpy()
    )


def test_a_hint_is_met_and_fades(guess: Prediction, colorizer: Colorizer) -> None:
    ab = guess.ab(colorizer.decode)
    rows, columns = ab.shape[1:]
    share = np.zeros((rows, columns), np.float32)
    wanted = np.zeros((2, rows, columns), np.float32)
    y, x = rows // 2, columns // 2
    share[y, x], wanted[:, y, x] = 1, (20, -60)
    found = propagate_hints(guess, ab, share, wanted)
    change = np.linalg.norm(found - ab.numpy(), axis=0)
    assert found[:, y, x] == pytest.approx([20, -60], abs=2)
    assert change.sum() > 3 * change[y, x]  # its neighbors follow
    assert change[:, 0].max() < 0.15 * change.max()  # the border of the photo hardly does
    assert (found == propagate_hints(guess, ab, share, wanted)).all()


def test_the_truth_at_more_points_is_nearer_to_it(colorizer: Colorizer) -> None:
    """What hints are for: each further true color makes the whole photo truer."""
    photo = skimage.data.astronaut()
    true = lab_of(photo)[1:]
    points = np.random.default_rng(0).integers(8, 500, (40, 2))
    errors = []
    for count in (0, 5, 40):
        hints = [
            Hint((float(true[0, y, x]), float(true[1, y, x])), ((float(x), float(y)),))
            for y, x in points[:count]
        ]
        out = colorizer(photo, hints=hints, size=96)
        errors.append(np.linalg.norm(lab_of(out)[1:] - true, axis=0).mean())
    assert errors[2] < 0.9 * errors[1] and errors[1] < 0.98 * errors[0]


# --- palettes --------------------------------------------------------------------------------


def test_a_palette_draws_the_colors_to_it(guess: Prediction, colorizer: Colorizer) -> None:
    green = Image.new("RGB", (64, 64), (40, 160, 60))
    palette = palette_of(green)
    assert float(palette.sum()) == pytest.approx(1)
    shares = []
    for strength in (0.0, 0.5, 1.0):
        p = match_palette(guess, palette, strength).log_probabilities().exp().mean((1, 2))
        shares.append(float((p * (palette > 0.01)).sum()))
    own = guess.log_probabilities()
    assert torch.allclose(match_palette(guess, palette, 0.0).log_probabilities(), own, atol=1e-3)
    assert shares[0] < shares[1] < shares[2] and shares[2] > 0.5
    with pytest.raises(Pix2ColorError, match=r"lies in 0\.\.1"):
        match_palette(guess, palette, 2.0)


def test_a_reference_without_colors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Pix2ColorError, match="has no colors"):
        palette_of(PHOTOS / "camera.jpg")
    with pytest.raises(Pix2ColorError, match=r"reference .*none\.jpg"):
        palette_of(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(Pix2ColorError, match="not a photo of a format"):
        palette_of(tmp_path / "text.jpg")


def test_a_reference_is_read_as_any_other_photo(tmp_path: Path) -> None:
    """Its profile is applied, its orientation too, and a huge one is an error in plain words."""
    red = np.full((40, 60, 3), (140, 90, 60), np.uint8)
    swapped = np.ascontiguousarray(red[..., ::-1])
    Image.fromarray(red).save(tmp_path / "red.png")
    Image.fromarray(swapped).save(tmp_path / "swapped.png", icc_profile=_swapping_profile())
    palette = palette_of(tmp_path / "red.png")
    assert torch.allclose(palette_of(tmp_path / "swapped.png"), palette, atol=0.05)
    assert torch.allclose(palette_of(Image.open(tmp_path / "swapped.png")), palette, atol=0.05)
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    end = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + end)
    with pytest.raises(Pix2ColorError, match=r"reference .*bomb\.png.*above the limit"):
        palette_of(tmp_path / "bomb.png")


def _swapping_profile() -> bytes:
    """sRGB whose first channel is blue and whose last is red."""
    icc = bytearray(profiles.srgb_profile())
    (count,) = struct.unpack_from(">I", icc, 128)
    for i in range(count):
        place = 132 + 12 * i
        name = bytes(icc[place : place + 4])
        icc[place : place + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(name, name)
    return bytes(icc)


# --- variants and confidence -----------------------------------------------------------------


def test_variants_differ_where_the_network_is_unsure(
    guess: Prediction, colorizer: Colorizer
) -> None:
    decode = colorizer.decode
    versions = sample_variants(guess, 4, decode)
    assert len(versions) == 4 and versions[0] is guess
    pictures = [one.ab(decode) for one in versions]
    pairs = [distance(a, b) for i, a in enumerate(pictures) for b in pictures[:i]]
    assert min(pairs) > 1
    apart = torch.stack([(p - pictures[0]).norm(dim=0) for p in pictures[1:]]).mean(0)
    sure = guess.confidence()
    middle = sure.median()
    assert float(apart[sure < middle].mean()) > 1.3 * float(apart[sure >= middle].mean())
    again = [one.ab(decode) for one in sample_variants(guess, 4, decode)]
    assert all(torch.equal(a, b) for a, b in zip(pictures, again, strict=True))


def test_variants_are_coherent_in_space(guess: Prediction, colorizer: Colorizer) -> None:
    """Neighbors differ no more in a variant than they do in the guess, by much."""
    first, *others = (
        one.ab(colorizer.decode) for one in sample_variants(guess, 4, colorizer.decode)
    )

    def roughness(ab: torch.Tensor) -> float:
        return float(ab.diff(dim=1).norm(dim=0).mean() + ab.diff(dim=2).norm(dim=0).mean())

    assert max(roughness(ab) for ab in others) < 2 * roughness(first)


def test_confidence_is_low_where_any_color_would_do(guess: Prediction) -> None:
    prior = guess.head.log_prior  # type: ignore[union-attr]
    raw = guess.raw.clone()
    raw[:, 0, 0] = prior
    raw[:, 0, 1] = -50
    raw[7, 0, 1] = 50
    sure = guess.with_logits(raw).confidence()
    assert float(sure[0, 0]) == pytest.approx(0, abs=1e-3)
    assert float(sure[0, 1]) == pytest.approx(1, abs=1e-3)
    assert 0 <= float(sure.min()) <= float(sure.max()) <= 1


def test_weights_without_classes_say_so() -> None:
    colorizer = Colorizer(released())
    picture = np.full((60, 80), 120, np.uint8)
    for options in ({"variants": 3}, {"reference": Image.new("RGB", (8, 8), "red")}):
        with pytest.raises((Pix2ColorError, AttributeError)):
            colorizer(picture, **options)
    with pytest.raises(Pix2ColorError, match="313 classes"):
        colorizer.confidence(picture)


# --- Python ----------------------------------------------------------------------------------


def test_from_python(colorizer: Colorizer) -> None:
    picture = Image.open(PHOTOS / "camera.jpg")
    plain = np.asarray(colorizer(picture, size=64))
    red = colorizer(picture, size=64, hints=[{"x": 100, "y": 40, "color": "tomato"}])
    assert isinstance(red, Image.Image)
    assert lab_of(np.asarray(red))[1, 40, 100] > lab_of(plain)[1, 40, 100] + 10
    versions = colorizer(picture, size=64, variants=3)
    assert len(versions) == 3 and all(one.size == picture.size for one in versions)
    assert np.array_equal(np.asarray(versions[0]), plain)
    sure = colorizer.confidence(picture, size=64)
    assert sure.shape == plain.shape[:2] and 0 <= sure.min() < sure.max() <= 1
    with pytest.raises(Pix2ColorError, match="hints are for one picture"):
        colorizer([picture], hints=[{"x": 1, "y": 1, "color": BLUE}])
    with pytest.raises(Pix2ColorError, match="at least 1"):
        colorizer(picture, variants=0)
