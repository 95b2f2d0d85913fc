"""The graph beside a release file: which runtime is taken, that both agree, and what is refused."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_model import write_release
from PIL import Image

from pix2color.checkpoints import release_file
from pix2color.cli import infer, main
from pix2color.errors import WeightsError
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.preprocess import gray_values
from pix2color.photo import read
from pix2color.runtime import load, onnx
from pix2color.runtime.load import load_runtime

PHOTOS = sorted((Path(__file__).parents[2] / "photos").glob("*.jpg"))
DEFAULT = release_file.DEFAULT_FILE


@pytest.fixture(scope="module")
def default() -> dict[str, Colorizer]:
    """The packaged weights in each runtime."""
    return {kind: Colorizer.from_pretrained(device="cpu", runtime=kind) for kind in load.KINDS}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small release file with its graph; shared: copy it before it is changed."""
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    path = write_release(tmp_path_factory.mktemp("pair") / "small.safetensors")
    assert main(["export", "--graph", "--checkpoint", str(path)]) == 0
    return path


@pytest.fixture
def pair(made: Path, tmp_path: Path) -> Path:
    """A copy of them, weights first."""
    for path in (made, made.with_suffix(".onnx")):
        shutil.copy(path, tmp_path)
    return tmp_path / made.name


# --- the packaged weights ------------------------------------------------------------------------


def test_the_packaged_graph_is_that_of_the_packaged_weights() -> None:
    """Where this fails after a change of the weights: python -m pix2color export --graph"""
    graph = DEFAULT.with_suffix(".onnx")
    named = onnx.metadata(graph.read_bytes())["digest"]
    assert named == release_file.read(DEFAULT, framework="np").digest
    assert graph.stat().st_size < 130e3


def test_the_packaged_graph_is_valid_onnx_and_runs_without_pix2color() -> None:
    """Other programs find the weights by the location that the graph states."""
    checker = pytest.importorskip("onnx", reason="the onnx extra is not installed").checker
    checker.check_model(DEFAULT.with_suffix(".onnx"))
    session = onnx.library().InferenceSession(DEFAULT.with_suffix(".onnx"))
    lightness = np.full((1, 1, 64, 96), 50, np.float32)
    (raw,) = session.run(["raw"], {"lightness": lightness})
    ours = load_runtime(device="cpu", kind="onnx").run(lightness).values
    np.testing.assert_allclose(raw, ours, atol=1e-3)


def test_both_runtimes_know_the_same_network(default: dict[str, Colorizer]) -> None:
    one, other = (default[kind].runtime.info for kind in load.KINDS)
    assert one.log_prior is not None and other.log_prior is not None
    assert np.array_equal(one.log_prior, other.log_prior)
    for name in ("name", "digest", "decode", "output_stride"):
        assert getattr(one, name) == getattr(other, name)


def assert_within_a_code(one: np.ndarray, other: np.ndarray) -> None:
    """8-bit photos round ab to half a unit: where that falls otherwise, codes differ by more."""
    difference = np.abs(one.astype(int) - other)
    assert (difference <= 1).mean() > 0.9999 and difference.max() <= 4


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_both_runtimes_color_a_photo_alike(path: Path, default: dict[str, Colorizer]) -> None:
    photo = read(path)
    gray = gray_values(photo)
    one, other = (default[kind].predict_ab(gray, default[kind].decode) for kind in load.KINDS)
    assert np.abs(one - other).max() <= 0.01 and np.ptp(one) > 10
    codes = [default[kind].colorize(photo).pixels.astype(int) for kind in load.KINDS]
    assert_within_a_code(*codes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"variants": 2}, {"hints": [{"x": 60, "y": 50, "color": "red"}]}]
)
def test_both_runtimes_guide_alike(options: dict, default: dict[str, Colorizer]) -> None:
    image = Image.open(PHOTOS[0])
    one, other = (default[kind](image, **options) for kind in load.KINDS)
    for a, b in zip(*([x] if isinstance(x, Image.Image) else x for x in (one, other)), strict=True):
        assert_within_a_code(np.asarray(a), np.asarray(b))
    sure = [default[kind].confidence(image) for kind in load.KINDS]
    np.testing.assert_allclose(*sure, atol=1e-3)


# --- which runtime runs which weights ------------------------------------------------------------


def test_on_a_cpu_the_graph_is_taken_and_torch_where_there_is_none(pair: Path) -> None:
    assert load_runtime(pair, "cpu").kind == "onnx"
    assert load_runtime(pair, "cpu", kind="torch").kind == "torch"
    pair.with_suffix(".onnx").unlink()
    assert load_runtime(pair, "cpu").kind == "torch"


def test_a_gpu_takes_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = tmp_path / "driver"
    monkeypatch.setattr(load, "_GPU_DRIVERS", (str(driver),))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert load.runs_on_cpu(None) and load.runs_on_cpu("cpu") and not load.runs_on_cpu("cuda:1")
    driver.touch()
    assert not load.runs_on_cpu(None) and load.runs_on_cpu("cpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert load.runs_on_cpu("auto")


def test_a_renamed_pair_works_from_any_folder(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_runtime(pair, "cpu", kind="onnx")
    other = tmp_path / "elsewhere" / "it's größer.safetensors"
    other.parent.mkdir()
    pair.with_suffix(".onnx").rename(other.with_suffix(".onnx"))
    blob = pair.rename(tmp_path / "blob")
    other.symlink_to(blob)  # as the Hub's cache does
    monkeypatch.chdir("/")
    lightness = np.linspace(0, 100, 40 * 56, dtype=np.float32).reshape(1, 1, 40, 56)
    for name in (other, other.with_suffix(".onnx")):
        runtime = load_runtime(name, "cpu")
        assert runtime.kind == "onnx" and runtime.info.digest == before.info.digest
        assert np.array_equal(runtime.run(lightness).values, before.run(lightness).values)


@pytest.mark.parametrize("digest", ["221299086363", "012345678901", "12e345678901"])
def test_a_digest_that_looks_like_a_number(pair: Path, digest: str) -> None:
    library = pytest.importorskip("onnx", reason="the onnx extra is not installed")
    data = pair.with_suffix(".onnx").read_bytes()
    model = library.load_model_from_string(data)
    library.helper.set_model_props(model, onnx.metadata(data) | {"digest": digest})
    weights = replace(release_file.read(pair, framework="np"), digest=digest)
    runtime = onnx.OnnxRuntime(model.SerializeToString(), "small.onnx", weights=weights)
    assert runtime.info.digest == digest


def test_infer_takes_the_runtime_that_is_asked_for(pair: Path, tmp_path: Path) -> None:
    colored = {}
    for kind in load.KINDS:
        arguments = [str(PHOTOS[0]), "--checkpoint", str(pair), "--runtime", kind]
        assert infer.main([*arguments, "--out", str(tmp_path / kind)]) == 0
        path = tmp_path / kind / PHOTOS[0].name
        assert (b"runtime onnx" in path.read_bytes()) == (kind == "onnx")
        colored[kind] = np.asarray(Image.open(path)).astype(int)
    assert np.abs(colored["torch"] - colored["onnx"]).mean() < 0.1


# --- what is refused -----------------------------------------------------------------------------


def refused(pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The line that infer.py says; nothing is written."""
    out = tmp_path / "out"
    arguments = [str(PHOTOS[0]), "--checkpoint", str(pair), "--out", str(out), *options]
    assert infer.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and not out.exists()
    return said


def test_a_graph_of_other_weights(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(pair.read_bytes())
    data[-1] ^= 1  # one bit of one weight
    pair.write_bytes(data)
    said = refused(pair, tmp_path, capsys)
    assert "small.onnx belongs to other weights than small.safetensors" in said
    assert "python -m pix2color export --graph" in said and "--runtime to torch" in said
    assert infer.main([str(PHOTOS[0]), "--checkpoint", str(pair), "--runtime", "torch",
                       "--out", str(tmp_path / "torch")]) == 0  # fmt: skip
    assert main(["export", "--graph", "--checkpoint", str(pair)]) == 0
    assert load_runtime(pair, "cpu").kind == "onnx"


def test_a_damaged_graph(pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = pair.with_suffix(".onnx")
    whole = graph.read_bytes()
    for data in (b"", whole[:-100], whole[: len(whole) // 2], b"<html>"):
        graph.write_bytes(data)
        assert "small.onnx is not a whole ONNX file" in refused(pair, tmp_path, capsys)


def test_a_graph_without_its_weights(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.unlink()
    assert "no weights file" in refused(pair.with_suffix(".onnx"), tmp_path, capsys)


def test_an_old_onnxruntime(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.__version__", "1.9.0")
    said = refused(pair, tmp_path, capsys)
    assert "onnxruntime 1.9.0 is too old: pip install -U onnxruntime" in said


def test_without_torch_weights_without_a_graph_say_what_to_do(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith(("pix2color.runtime.", "pix2color.check"))]:
        if name.rsplit(".", 1)[1] in ("torch", "device", "onnx_export", "checkpoint"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    said = refused(pair, tmp_path, capsys, "--runtime", "torch")
    assert "torch is not installed: pip install torch" in said
    pair.with_suffix(".onnx").unlink()
    for options in ((), ("--runtime", "onnx")):
        said = refused(pair, tmp_path, capsys, *options)
        assert "no graph small.onnx beside small.safetensors" in said
        assert "export --graph" in said and "pip install torch" in said


def test_a_network_that_takes_hints_colors_alike_in_both(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    path = write_release(tmp_path / "hints.safetensors", hints=True)
    assert main(["export", "--graph", "--checkpoint", str(path)]) == 0
    one, other = (Colorizer.from_pretrained(path, runtime=kind) for kind in load.KINDS)
    assert one.runtime.info.accepts_hints and other.runtime.info.accepts_hints
    photo = np.asarray(Image.open(PHOTOS[0]).reduce(4))
    hint = {"x": 20, "y": 15, "color": "red"}
    plain = one(photo)
    for hints in ([], [hint]):
        colored = one(photo, hints=hints)
        assert_within_a_code(colored, other(photo, hints=hints))
        assert np.array_equal(colored, plain) is not bool(hints)


# --- both files or neither -----------------------------------------------------------------------


def test_a_pair_replaces_a_pair_or_nothing(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    from pix2color.runtime import onnx_export

    graph = pair.with_suffix(".onnx")
    before = {path: path.read_bytes() for path in (pair, graph)}

    def other(path: Path) -> None:
        write_release(path, decoder_channels=[8])

    with monkeypatch.context() as patch:
        patch.setattr(onnx_export, "TOLERANCE", -1)
        with pytest.raises(WeightsError, match="as ONNX differs"):
            onnx_export.write_pair(pair, other, graph=True)
    assert {path: path.read_bytes() for path in pair.parent.iterdir()} == before
    onnx_export.write_pair(pair, other, graph=True)
    assert load_runtime(pair, "cpu").info.digest == release_file.read(pair).digest
    assert pair.read_bytes() != before[pair] and graph.read_bytes() != before[graph]
    onnx_export.write_pair(pair, other, graph=False)
    assert [path.name for path in pair.parent.iterdir()] == [pair.name]
