"""The calibration of the page against that of infer.py, in node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "pix2color/web/page"
_SCRIPT = """
import { readFileSync } from "node:fs";
import { calibrate } from %s;
const { ab, lightness, calibration, share } = JSON.parse(readFileSync(0, "utf8"));
const cells = { rows: 1, columns: lightness.length };
const colors = { ...cells, data: Float32Array.from(ab) };
calibrate(colors, { ...cells, data: Float32Array.from(lightness) }, calibration, share);
console.log(JSON.stringify([...colors.data]));
"""


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_colors_are_calibrated_as_in_infer(share: float, tmp_path: Path) -> None:
    module = pytest.importorskip("pix2color.color.chroma_calibration", reason="no calibration yet")
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
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
    script = tmp_path / "run.mjs"
    shutil.copytree(PAGE, tmp_path / "page")
    (tmp_path / "page/package.json").write_text('{"type": "module"}')
    script.write_text(_SCRIPT % json.dumps((tmp_path / "page/decode.js").as_uri()))
    done = subprocess.run(
        [node, str(script)], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ours = np.reshape(json.loads(done.stdout), ab.shape)
    expected = fitted.apply(ab, lightness, share)
    assert np.abs(ours - expected).max() < 1e-3
    assert np.abs(expected - ab).max() > 1
