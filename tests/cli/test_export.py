"""export, and onnxruntime as a user of infer.py and speed meets it."""

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


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network, without a graph beside it."""
    return write_release(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as one ONNX file."""
    path = tmp_path_factory.mktemp("exported") / "small.onnx"
    assert main(["export", "--checkpoint", str(weights), "--onnx", str(path)]) == 0
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
    weights: Path, exported: Path, photo: Path, tmp_path: Path
) -> None:
    found = {}
    for path in (weights, exported):
        out, report = tmp_path / path.suffix, tmp_path / f"{path.suffix}.json"
        arguments = [str(photo), "--out", str(out), "--checkpoint", str(path), "--report"]
        assert infer.main([*arguments, str(report)]) == 0
        pixels = np.asarray(Image.open(out / "photo.png")).astype(int)
        found[path.suffix] = pixels, json.loads(report.read_text())["weights"]
        said = b"runtime onnx" in (out / "photo.png").read_bytes()
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


def test_weights_without_a_graph_are_exported_once(
    weights: Path,
    exported: Path,
    photo: Path,
    cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [str(photo), "--out", str(tmp_path / "out"), "--checkpoint", str(weights)]
    for said in (True, False):
        assert infer.main([*arguments, "--runtime", "onnx"]) == 0
        assert ("exporting the network to" in capsys.readouterr().err) == said
    assert len(list(cache.iterdir())) == 1
    onnx = str(exported)
    wrong = [*arguments[:3], "--checkpoint", onnx, "--runtime", "torch"]
    assert infer.main(wrong) == 2
    assert "onnxruntime only" in capsys.readouterr().err
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert infer.main([*arguments[:3], "--checkpoint", onnx, "--device", "cuda"]) == 2
        assert "error: onnxruntime has no device 'cuda' here" in capsys.readouterr().err


def test_without_onnxruntime_infer_says_what_to_install(
    exported: Path,
    photo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    arguments = [str(photo), "--out", str(tmp_path / "out"), "--checkpoint", str(exported)]
    assert infer.main(arguments) == 2
    assert "pip install onnxruntime" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


def test_speed_compares_runtimes(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "speed.json"
    arguments = ["--megapixels", "0.05", "--runs", "2", "--json", str(path)]
    runtimes = ["--runtime", "torch", "onnx", "--checkpoint", str(weights)]
    assert profile.main([*arguments, *runtimes]) == 0
    assert "0.05 MP JPEG, onnx" in capsys.readouterr().out
    assert [p["runtime"] for p in json.loads(path.read_text())["photos"]] == ["torch", "onnx"]


@pytest.mark.slow
def test_the_start_of_the_command_is_timed_for_each(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--megapixels", "0.05", "--runs", "1", "--start", "--checkpoint", str(weights)]
    assert profile.main([*arguments, "--runtime", "torch", "onnx"]) == 0
    said = capsys.readouterr().out
    assert "first photo, torch" in said and "first photo, onnx" in said and "processor" in said
