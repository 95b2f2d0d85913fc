"""restore: the scan comes back from what infer.py --lossless-jpeg wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_model import use_fake_model
from PIL import Image

from pix2color.cli import infer, restore


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_model(monkeypatch)


def test_it_gives_back_the_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jpeglib", reason="the lossless-jpeg extra is not installed")
    scan = tmp_path / "scan.jpg"
    gray = np.random.default_rng(0).integers(0, 256, (50, 70), dtype=np.uint8)
    Image.fromarray(gray).save(scan)
    out, back = tmp_path / "out", tmp_path / "back"
    assert infer.main([str(scan), "--out", str(out), "--lossless-jpeg"]) == 0
    assert Image.open(out / "scan.jpg").mode == "RGB"
    assert restore.main([str(out / "scan.jpg"), "--out", str(back)]) == 0
    assert np.array_equal(np.asarray(Image.open(back / "scan.jpg")), np.asarray(Image.open(scan)))
    assert restore.main([str(scan), "--out", str(tmp_path / "none")]) == 1
    assert "no color" in capsys.readouterr().err
