"""The calibration of the page against that of infer.py, in node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from node import run_in_node

_BODY = """
const { ab, lightness, calibration, share } = given;
const cells = { rows: 1, columns: lightness.length };
const colors = { ...cells, data: Float32Array.from(ab) };
page.calibrate(colors, { ...cells, data: Float32Array.from(lightness) }, calibration, share);
return [...colors.data];
"""


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_colors_are_calibrated_as_in_infer(share: float, tmp_path: Path) -> None:
    module = pytest.importorskip("pix2color.color.chroma_calibration", reason="no calibration yet")
    from pix2color.web import network

    random = np.random.default_rng(4)
    fitter = module.CalibrationFitter()
    truth = random.normal(0, 25, (2, 200, 200)).astype(np.float32)
    lightness = random.uniform(0, 100, (200, 200)).astype(np.float32)
    fitter.add(truth * 0.6 + 4, truth, lightness)
    fitted = fitter.fit(temperature=0.4, vividness=0.4, input_size=192, weights="0123456789ab")
    ab = random.normal(0, 40, (2, 1, 2000)).astype(np.float32)
    ab[:, 0, :5] = 0
    ab[:, 0, 5:9] = [[0, 0, -150, 1e-7], [-0.0, 130, 0, 0]]
    lightness = np.linspace(0, 100, 2000, dtype=np.float32)[None]
    given = {
        "ab": ab.ravel().tolist(), "lightness": lightness.ravel().tolist(), "share": share,
        "calibration": network.calibration_table(fitted),
    }  # fmt: skip
    ours = np.reshape(run_in_node(tmp_path, "decode.js", _BODY, given), ab.shape)
    expected = fitted.apply(ab, lightness, share)
    assert np.abs(ours - expected).max() < 1e-3
    assert np.abs(expected - ab).max() > 1
