"""export, and the ONNX backend as a user of infer.py and speed meets it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_model import write_release
from PIL import Image

from pix2color.cli import infer, main, profile

pytest.importorskip("onnx", reason="the onnx extra is not installed")
pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network; beside it, exported once: small.onnx."""
    path = write_release(tmp_path_factory.mktemp("weights") / "small.safetensors")
    assert (
        main(["export", "--checkpoint", str(path), "--onnx", str(path.with_suffix(".onnx"))]) == 0
    )
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/pix2color"


@pytest.fixture
def photo(tmp_path: Path, small_photos: list[np.ndarray]) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(small_photos[0]).convert("L").save(path)
    return path


def test_an_exported_file_colors_as_its_weights_do(
    weights: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for path in (weights, weights.with_suffix(".onnx")):
        out, report = tmp_path / path.suffix, tmp_path / f"{path.suffix}.json"
        arguments = [str(photo), "--out", str(out), "--checkpoint", str(path), "--report"]
        assert infer.main([*arguments, str(report)]) == 0
        pixels = np.asarray(Image.open(out / "photo.png")).astype(int)
        found[path.suffix] = pixels, json.loads(report.read_text())["weights"]
        said = b"backend onnx" in (out / "photo.png").read_bytes()
        assert said == (path.suffix == ".onnx")
    (one, digest), (other, same) = found.values()
    assert digest == same
    assert np.abs(one - other).max() <= 4 and np.ptp(one, axis=2).max() > 10


def test_export_says_what_it_wrote(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.onnx"
    assert main(["export", "--checkpoint", str(weights), "--onnx", str(out)]) == 0
    assert "out.onnx (" in (said := capsys.readouterr().out) and "of torch's ab" in said
    assert main(["export", "--onnx", str(tmp_path / "out.bin")]) == 2
    assert "must end in .onnx" in capsys.readouterr().err
    assert main(["export", "--checkpoint", str(out), "--onnx", str(out)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    (tmp_path / "file").touch()
    below = tmp_path / "file/out.onnx"
    assert main(["export", "--checkpoint", str(weights), "--onnx", str(below)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_backend_exports_other_weights_once(
    weights: Path, photo: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(photo), "--out", str(tmp_path / "out"), "--checkpoint", str(weights)]
    for said in (True, False):
        assert infer.main([*arguments, "--backend", "onnx"]) == 0
        assert ("exporting the network to" in capsys.readouterr().err) == said
    assert len(list(cache.iterdir())) == 1
    onnx = str(weights.with_suffix(".onnx"))
    wrong = [*arguments[:3], "--checkpoint", onnx, "--backend", "torch"]
    assert infer.main(wrong) == 2
    assert "onnxruntime only" in capsys.readouterr().err
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert infer.main([*arguments[:3], "--checkpoint", onnx, "--device", "cuda"]) == 2
        assert "error: onnxruntime has no device 'cuda' here" in capsys.readouterr().err


def test_without_the_extra_infer_says_what_to_install(
    weights: Path,
    photo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    onnx = str(weights.with_suffix(".onnx"))
    assert infer.main([str(photo), "--out", str(tmp_path / "out"), "--checkpoint", onnx]) == 2
    assert 'pip install "pix2color[onnx]"' in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


def test_speed_compares_backends(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "speed.json"
    arguments = ["--megapixels", "0.05", "--runs", "2", "--json", str(path)]
    backends = ["--backend", "torch", "onnx", "--checkpoint", str(weights)]
    assert profile.main([*arguments, *backends]) == 0
    assert "0.05 MP JPEG, onnx" in capsys.readouterr().out
    assert [p["backend"] for p in json.loads(path.read_text())["photos"]] == ["torch", "onnx"]


@pytest.mark.slow
def test_the_start_of_the_command_is_timed_for_each(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--megapixels", "0.05", "--runs", "1", "--start", "--checkpoint", str(weights)]
    assert profile.main([*arguments, "--backend", "torch", "onnx"]) == 0
    said = capsys.readouterr().out
    assert "first photo, torch" in said and "first photo, onnx" in said and "processor" in said
