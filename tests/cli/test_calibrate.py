"""python -m pix2color calibrate, run in this process with a small untrained network."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_model import write_calibrated, write_release
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from pix2color.checkpoints import checkpoint, release_file
from pix2color.cli import calibrate, evaluate, main
from pix2color.evaluation import calibration
from pix2color.inference.colorizer import Colorizer
from pix2color.photo.gray import is_gray
from pix2color.runtime.load import load_runtime

SIZE = 48


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("weights") / "small.safetensors")


def save_parts(folder: Path, photos: list[np.ndarray], count: int, *, gray: bool = False) -> Path:
    """Parts of photos that have colors, of SIZE x 64 pixels; no two are alike."""
    random = np.random.default_rng(count)
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while number < count:
        photo = photos[number % len(photos)]
        top, left = (random.integers(0, side - 64) for side in photo.shape[:2])
        part = photo[top : top + SIZE, left : left + 64]
        if not is_gray(part):
            image = Image.fromarray(part).convert("L" if gray else "RGB")
            image.save(folder / f"{'gray' if gray else 'color'}{number}.png")
            number += 1
    return folder


@pytest.fixture(scope="module")
def colored(photos: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [photos[name] for name in ("astronaut", "coffee", "chelsea")]


@pytest.fixture(scope="module")
def data(colored: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folder and a shard, together 210 photos with colors, and 5 gray ones."""
    root = tmp_path_factory.mktemp("data")
    folder = save_parts(root / "folder", colored, 150)
    save_parts(folder, colored, 5, gray=True)
    packed = save_parts(root / "packed", colored[::-1], 60)
    with tarfile.open(root / "shard.tar", "w") as tar:
        for path in sorted(packed.iterdir()):
            tar.add(path, path.name)
    return [folder, root / "shard.tar"]


def run(*arguments: str | Path) -> int:
    return calibrate.main([*map(str, arguments), "--quiet"])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said


def test_a_new_file_has_the_table_and_the_same_weights(
    weights: Path, data: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, before = tmp_path / "new" / "calibrated.safetensors", weights.read_bytes()
    options = ("--temperature", "0.7", "--vividness", "0.2", "--calibration", "0.8")
    assert run("--checkpoint", weights, "--data", *data, "--out", out, *options) == 0
    said = capsys.readouterr().out
    assert weights.read_bytes() == before
    graph = out.with_suffix(".onnx")
    assert {path.name for path in out.parent.iterdir()} == {out.name, graph.name}
    made, source = release_file.read(out), release_file.read(weights)
    assert made.tensors.keys() == source.tensors.keys()
    assert all(torch.equal(made.tensors[key], source.tensors[key]) for key in source.tensors)
    decode = made.meta.pop("decode")
    assert decode == {
        **source.meta.pop("decode"), "temperature": 0.7, "vividness": 0.2, "calibration": 0.8,
    }  # fmt: skip
    assert made.meta == source.meta
    assert made.calibration is not None
    assert made.calibration.metadata() == {
        "photos": 210, "temperature": 0.7, "vividness": 0.2, "input_size": SIZE,
        "weights": release_file.weights_digest(source.tensors),
    }  # fmt: skip
    assert "fitted on 210 photos (5 gray ones left out)" in said and str(out) in said
    assert f"and its graph {graph.name}" in said
    runtime = load_runtime(out, "cpu")
    assert runtime.kind == "onnx" and runtime.info.calibration is not None
    assert runtime.info.calibration.encode() == made.calibration.encode()
    assert runtime.info.decode.calibration == 0.8

    # The figures are those of evaluate, which colors the photos as infer.py does.
    report = tmp_path / "report"
    assert evaluate.main([
        *("--data", *map(str, data), "--checkpoint", str(out), "--no-default"),
        *("--protocol", "full", "--quick", "--resamples", "0", "--variant", "plain:calibration=0"),
        *("--out", str(report), "--quiet"),
    ]) == 0  # fmt: skip
    rows = {row["name"]: row for row in json.loads((report / "metrics.json").read_text())["rows"]}
    figures = re.findall(r"(cast|AuC) of these photos: ([\d.]+) % -> ([\d.]+) %", said)
    assert [name for name, *_ in figures] == ["cast", "AuC"]
    for name, *values in figures:
        key = name.lower()
        for row, value in zip(("calibrated (plain)", "calibrated"), values, strict=True):
            # evaluate keeps the gray photos, 5 of 215.
            assert float(value) == pytest.approx(rows[row]["figures"][key]["value"], abs=3)
    (_, cast, calibrated_cast), _ = figures
    assert float(calibrated_cast) < float(cast)


def test_the_new_file_colors_by_its_table(
    weights: Path, tmp_path: Path, small_photos: list[np.ndarray]
) -> None:
    calibrated = Colorizer.from_pretrained(write_calibrated(tmp_path / "half.safetensors", weights))
    gray = np.asarray(Image.fromarray(small_photos[0]).convert("L"))
    plain = Colorizer.from_pretrained(weights)
    assert np.array_equal(calibrated(gray, calibration=0.0), plain(gray))
    spread = [int(np.ptp(c(gray).astype(int), axis=2).sum()) for c in (calibrated, plain)]
    assert spread[0] < 0.75 * spread[1]


def test_a_calibration_of_other_weights_is_replaced(
    weights: Path, data: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """infer.py refuses such a file and names this command, so the command accepts it."""
    monkeypatch.setattr(calibration, "MIN_PHOTOS", 40)  # a poor map is one, too
    stale = write_calibrated(tmp_path / "stale.safetensors", weights)
    with safe_open(stale, framework="pt") as file:
        texts = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    tensors["head.project.weight"] *= 2
    save_file(tensors, stale, metadata=texts)
    assert main(["infer", str(data[0]), "--checkpoint", str(stale), "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert str(stale) in said and "fitted for other weights" in said and "calibrate" in said
    fresh = tmp_path / "fresh.safetensors"
    options = ("--limit", "40", "--no-graph")
    assert run("--checkpoint", stale, "--data", *data, "--out", fresh, *options) == 0
    assert not fresh.with_suffix(".onnx").exists()
    loaded = checkpoint.load(fresh)
    assert loaded.calibration is not None and loaded.calibration.photos == 40
    assert loaded.decode.calibration == 0.5


def test_too_few_photos_are_refused(
    weights: Path, data: list[Path], colored: list[np.ndarray], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out.safetensors"
    common = ("--checkpoint", weights, "--out", out)
    said = refused(capsys, *common, "--data", data[0])
    assert "150 color photos of 155 files" in said and "5 are gray" in said
    assert "at least 200" in said and "--data" in said
    said = refused(capsys, *common, "--data", *data, "--fold", "1/2")
    assert "105 color photos" in said
    gray = save_parts(tmp_path / "gray", colored, 20, gray=True)
    said = refused(capsys, *common, "--data", gray)
    assert "20 are gray" in said and "needs color photos" in said
    assert not out.exists()


def test_impossible_arguments_are_refused_at_once(
    weights: Path, data: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those and a graph that cannot be written."""
    copy = tmp_path / "copy.safetensors"
    shutil.copyfile(weights, copy)
    content = copy.read_bytes()
    given = ("--checkpoint", copy, "--data", *data, "--out")
    assert "is the input" in refused(capsys, *given, tmp_path / "../" / tmp_path.name / copy.name)
    assert "must end in .safetensors" in refused(capsys, *given, tmp_path / "out.onnx")
    (tmp_path / "folder.safetensors").mkdir()
    assert "folder.safetensors" in refused(capsys, *given, tmp_path / "folder.safetensors")
    (tmp_path / "taken.onnx").mkdir()
    assert "taken.onnx" in refused(capsys, *given, tmp_path / "taken.safetensors")
    out = tmp_path / "out.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)
        said = refused(capsys, *given, out)
        assert "needs onnx" in said and "leave the graph out with --no-graph" in said
    onnx = ("--checkpoint", "net.onnx", "--data", *data, "--out", out)
    assert "the .safetensors that it was exported from" in refused(capsys, *onnx)
    for option, value, said in (
        ("--calibration", "1.5", "at most 1"),
        ("--calibration", "nan", "from 0 to 1"),
        ("--temperature", "0", "temperature = 0"),
        ("--fold", "3/2", "K/N"),
        ("--limit", "0", "at least 1"),
        ("--device", "abacus", "no device"),
    ):
        assert said in refused(capsys, *given, out, option, value)
    assert copy.read_bytes() == content and not out.exists()
