"""The map of chroma by lightness and hue: what it keeps, what it changes, and how it is fitted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pix2color.color import chroma_calibration as cc
from pix2color.color.chroma_calibration import CalibrationFitter, ChromaCalibration

FITTED = {"temperature": 0.38, "vividness": 0.45, "input_size": 192, "weights": "0123456789ab"}
KNOTS = cc.KNOT_STEP * np.arange(1, cc.KNOTS + 1)
SHARES = st.floats(0, 1, width=32)


def table(shift: np.ndarray) -> ChromaCalibration:
    return ChromaCalibration(shift.astype(np.float32), 700, **FITTED)


IDENTITY = table(np.zeros(cc.SHAPE))


@st.composite
def calibrations(draw: st.DrawFn) -> ChromaCalibration:
    """Any map within the bounds: monotonic, gains up to 2."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    slopes = random.uniform(0, 2, cc.SHAPE) * (random.random(cc.SHAPE) < 0.7)
    return table(np.cumsum(slopes * cc.KNOT_STEP, axis=-1) - KNOTS)


@st.composite
def colors(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """ab and L of 5 x 7 places, gray and black ones among them."""
    values = st.floats(-150, 150, width=32)
    ab = draw(hnp.arrays(np.float32, (2, 5, 7), elements=values))
    ab[:, 0, :3] = 0
    lightness = draw(hnp.arrays(np.float32, (5, 7), elements=st.floats(0, 100, width=32)))
    return ab, lightness


def chroma(ab: np.ndarray) -> np.ndarray:
    return np.hypot(ab[0], ab[1])


@given(calibrations(), colors())
@settings(max_examples=25, deadline=None)
def test_without_a_share_or_a_shift_no_bit_changes(
    calibration: ChromaCalibration, places: tuple[np.ndarray, np.ndarray]
) -> None:
    ab, lightness = places
    assert np.array_equal(calibration.apply(ab, lightness, 0.0), ab)
    for share in (0.3, 1.0):
        assert np.array_equal(IDENTITY.apply(ab, lightness, share), ab)


@given(calibrations(), colors(), SHARES)
@settings(max_examples=50, deadline=None)
def test_hues_stay_grays_stay_and_nothing_doubles(
    calibration: ChromaCalibration, places: tuple[np.ndarray, np.ndarray], share: float
) -> None:
    ab, lightness = places
    before = ab.copy()
    out = calibration.apply(ab, lightness, share)
    assert out.dtype == np.float32 and out.shape == ab.shape and np.isfinite(out).all()
    assert np.array_equal(ab, before)
    assert (out[:, (ab == 0).all(axis=0)] == 0).all()
    assert (chroma(out) <= chroma(ab) * (1 + share) * (1 + 1e-5)).all()
    # The cross product of two directions is 0 where they are the same, the dot product not below.
    assert np.abs(out[0] * ab[1] - out[1] * ab[0]).max() <= 1e-5 * float(chroma(ab).max() ** 2)
    assert (out[0] * ab[0] + out[1] * ab[1] >= 0).all()


@given(calibrations(), st.floats(0, 100), st.floats(-180, 180), SHARES)
@settings(max_examples=50, deadline=None)
def test_more_chroma_stays_more(
    calibration: ChromaCalibration, lightness: float, hue: float, share: float
) -> None:
    steps = np.linspace(0, 160, 400, dtype=np.float32)
    direction = np.array([np.cos(np.radians(hue)), np.sin(np.radians(hue))], np.float32)
    ab = direction[:, None, None] * steps[None, None]
    out = chroma(calibration.apply(ab, np.full((1, 400), lightness, np.float32), share))
    assert (np.diff(out[0]) >= -2e-3).all()


@given(calibrations(), st.floats(1, 120), SHARES)
@settings(max_examples=25, deadline=None)
def test_it_has_no_steps_in_hue_or_lightness(
    calibration: ChromaCalibration, strength: float, share: float
) -> None:
    """Hue is followed around the circle, across 0 and 180 degrees."""
    steps = 3600
    hue = np.radians(np.linspace(-5, 365, steps, dtype=np.float32))[None]
    ab = np.float32(strength) * np.stack((np.cos(hue), np.sin(hue)))
    around = chroma(calibration.apply(ab, np.full((1, steps), 42.0, np.float32), share))
    # Chromas of neighboring cells, 15 degrees apart, differ by at most 2c.
    assert np.abs(np.diff(around)).max() <= 2 * strength * (370 / steps) / 15 * 1.1 + 1e-2
    lightness = np.linspace(0, 100, steps, dtype=np.float32)[None]
    one = np.broadcast_to(np.float32(strength) * np.ones((2, 1, 1), np.float32), (2, 1, steps))
    up = chroma(calibration.apply(one, lightness, share))
    assert np.abs(np.diff(up)).max() <= 2 * 1.42 * strength * (100 / steps) / 5 * 1.1 + 1e-2


def scenes(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """ab and L of photos whose colors spread over all hues, more with some lightnesses."""
    random = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        lightness = random.uniform(0, 100, (80, 60)).astype(np.float32)
        spread = 6 + 0.15 * lightness
        out.append(((random.standard_normal((2, 80, 60)) * spread).astype(np.float32), lightness))
    return out


def fitted(
    photos: list[tuple[np.ndarray, np.ndarray]], change: float | np.ndarray
) -> ChromaCalibration:
    fitter = CalibrationFitter()
    for true_ab, lightness in photos:
        fitter.add((true_ab * change).astype(np.float32), true_ab, lightness)
    return fitter.fit(**FITTED)


def test_fitted_on_the_truth_it_is_the_identity() -> None:
    calibration = fitted(scenes(5), 1.0)
    assert np.abs(calibration.shift).max() < 1e-3
    assert calibration.metadata() == {"photos": 5, **FITTED}


@pytest.mark.parametrize(("factor", "gain"), [(2.0, 0.5), (0.6, 1 / 0.6), (0.25, 2.0)])
def test_it_undoes_a_factor_up_to_the_limit_of_its_gain(factor: float, gain: float) -> None:
    calibration = fitted(scenes(200), factor)
    for ab, lightness in scenes(3, seed=1):
        predicted = ab * np.float32(factor)
        # Of very saturated colors, which hardly occur, little is known.
        common = (chroma(ab) < 25) & (chroma(ab) > 2)
        out = chroma(calibration.apply(predicted, lightness, 1.0))[common]
        expected = gain * chroma(predicted)[common]
        assert np.abs(out - expected).mean() < 0.05 * expected.mean()
        half = chroma(calibration.apply(predicted, lightness, 0.5))[common]
        np.testing.assert_allclose(half, (out + chroma(predicted)[common]) / 2, rtol=1e-4)


def test_a_surplus_of_a_hue_becomes_neutral() -> None:
    """White things that are yellow too often: most pale yellow goes, the yellow of others stays."""
    random = np.random.default_rng(0)
    fitter = CalibrationFitter()
    for _ in range(200):
        lightness = np.full((40, 40), 92.0, np.float32)
        true_ab = random.normal(0, 0.5, (2, 40, 40)).astype(np.float32)
        true_ab[1, :8] = random.uniform(35, 60, (8, 40))  # a fifth is yellow indeed
        predicted = true_ab.copy()
        predicted[1, 8:] = random.uniform(5, 20, (32, 40))  # and all that is white, a little
        fitter.add(predicted, true_ab, lightness)
    calibration = fitter.fit(**FITTED)
    yellow = np.array([[[0, 0]], [[12, 50]]], np.float32)
    pale, strong = calibration.apply(yellow, lightness[:1, :2], 1.0)[1, 0]
    assert pale < 1.5
    assert strong == pytest.approx(50, abs=2)


def test_a_photo_counts_as_much_as_another_whatever_its_size() -> None:
    (ab, lightness), *_ = scenes(1)
    small, large = CalibrationFitter(), CalibrationFitter()
    small.add(ab * 2, ab, lightness)
    double = np.repeat(np.repeat(ab, 2, axis=1), 2, axis=2)
    large.add(double * 2, double, np.repeat(np.repeat(lightness, 2, axis=0), 2, axis=1))
    np.testing.assert_allclose(small.fit(**FITTED).shift, large.fit(**FITTED).shift, atol=1e-4)


def test_lightness_and_hues_without_pixels_are_left_alone() -> None:
    fitter = CalibrationFitter()
    lightness = np.full((50, 50), 50.0, np.float32)
    blue = np.stack((np.zeros((50, 50)), np.full((50, 50), -30.0))).astype(np.float32)
    for _ in range(200):
        fitter.add(blue, blue / 2, lightness)
    calibration = fitter.fit(**FITTED)
    assert chroma(calibration.apply(blue, lightness, 1.0)).max() < 20
    for ab, other in ((-blue, lightness), (blue, np.full_like(lightness, 90))):
        np.testing.assert_allclose(calibration.apply(ab, other, 1.0), ab, atol=0.01)


@given(calibrations())
@settings(max_examples=10, deadline=None)
def test_what_is_encoded_decodes_to_the_same_bits(calibration: ChromaCalibration) -> None:
    again = cc.decode(calibration.encode())
    assert np.array_equal(again.shift, calibration.shift)
    assert again.metadata() == calibration.metadata()


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        (np.zeros((20, 24, 59)), "20 x 24 x 59, not 20 x 24 x 60"),
        (np.zeros((24, 20, 60)), "24 x 20 x 60"),
        (np.full(cc.SHAPE, np.nan), "not finite"),
        (np.full(cc.SHAPE, 3.0), "gains outside of 0..2"),
        (np.full(cc.SHAPE, -3.0), "gains outside of 0..2"),
        (np.where(np.arange(60) == 30, -20.0, 0.0) * np.ones(cc.SHAPE), "not monotonic"),
    ],
)
def test_a_table_that_is_no_map_is_named(shift: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        table(shift)


def test_an_encoding_that_is_damaged_is_named() -> None:
    encoded = IDENTITY.encode()
    for broken, said in (
        (encoded | {"shift": encoded["shift"][:-8]}, "bytes, not 115200"),
        (encoded | {"shift": "not base64!"}, "base64"),
        ({k: v for k, v in encoded.items() if k != "weights"}, "lack weights"),
        ({k: v for k, v in encoded.items() if k != "shift"}, "0 bytes"),
        ("nothing", "0 bytes"),
    ):
        with pytest.raises(ValueError, match=said):
            cc.decode(broken)
