"""Every runtime: L of any size -> what the weights compute, the same from any thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_model import write_calibrated, write_release
from scipy.special import softmax

from pix2color.checkpoints import checkpoint, release_file
from pix2color.color.ab_bins_numpy import BIN_CENTERS
from pix2color.config import DecodeConfig
from pix2color.errors import Pix2ColorError
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.prediction import Prediction
from pix2color.models.heads import ClassificationHead
from pix2color.runtime.base import Runtime
from pix2color.runtime.load import KINDS, load_runtime
from pix2color.runtime.torch import TorchRuntime

SIZES = ((1, 1), (31, 47), (64, 48))
HEADS: dict[str, dict[str, Any]] = {
    "classes": {},
    "regression": {"head": {"type": "regression"}},
    "linear": {"head": {"type": "regression", "activation": "linear", "ab_scale": 50}},
    "marginal64": {"head": {"type": "marginal64"}},
    "marginal64 mean": {"head": {"type": "marginal64", "decoding": "mean"}},
    "ddcolor": {
        "input_level": True,
        "decoder": "ddcolor",
        "ddcolor": {"width": 16, "queries": 5, "layers": 3},
        "output_stride": 1,
        "square_input": True,
        "input_multiple": 32,
        "head": {"type": "regression", "activation": "linear", "ab_scale": 1.0},
    },
    "shortcut": {
        "encoder": "siggraph_cnn",
        "conv_encoder": {"width": 4, "center_lightness": True},
        "decoder": "shortcut",
        "output_stride": 1,
        "hints": True,
        "head": {"type": "regression"},
    },
    "hints": {"hints": True},
}
"""Kinds of heads, networks with decoders of others, and those that take hints."""


def torch_runtime(release: Path) -> Runtime:
    return TorchRuntime(checkpoint.load(release))


def onnx_runtime(release: Path) -> Runtime:
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    from pix2color.runtime import onnx, onnx_export

    path = release.with_suffix(".onnx")
    onnx_export.write(path, checkpoint.load(release))
    return onnx.OnnxRuntime.read(path)


def graph_runtime(release: Path) -> Runtime:
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    from pix2color.runtime import onnx_export

    onnx_export.write_graph(release)
    return load_runtime(release, "cpu", kind="onnx")


RUNTIMES: dict[str, Callable[[Path], Runtime]] = {
    "torch": torch_runtime,
    "onnx": onnx_runtime,
    "onnx with a release file": graph_runtime,
}
"""The first word is the runtime's kind."""


@pytest.fixture(scope="module", params=HEADS)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of each kind."""
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.safetensors"
    return write_release(path, **HEADS[request.param])


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, release: Path) -> Runtime:
    result = RUNTIMES[request.param](release)
    assert result.kind == request.param.split()[0] and result.device == "cpu"
    return result


def lightness(batch: int, height: int, width: int) -> np.ndarray:
    random = np.random.default_rng(height)
    return random.uniform(0, 100, (batch, 1, height, width)).astype(np.float32)


def test_every_runtime_is_here() -> None:
    assert {name.split()[0] for name in RUNTIMES} == set(KINDS)


@pytest.mark.parametrize("size", SIZES)
def test_values_and_features_at_the_stride(runtime: Runtime, size: tuple[int, int]) -> None:
    plain = runtime.run(lightness(1, *size))
    full = runtime.run(lightness(1, *size), features=True)
    assert plain.features is None and full.features is not None
    assert np.array_equal(plain.values, full.values)
    cells = tuple(-(-side // runtime.info.output_stride) for side in size)
    channels = 2 if runtime.info.log_prior is None else 313
    assert plain.values.shape == (1, channels, *cells) and full.features.shape[2:] == cells
    for array in (plain.values, full.features):
        assert type(array) is np.ndarray and array.dtype == np.float32 and np.isfinite(array).all()


@pytest.mark.parametrize("size", SIZES)
def test_it_computes_what_the_weights_say(
    runtime: Runtime, release: Path, size: tuple[int, int]
) -> None:
    loaded = checkpoint.load(release)
    info, generator = runtime.info, loaded.generator
    assert info.output_stride == generator.stride and info.digest == loaded.digest
    assert info.decode == loaded.decode and info.accepts_hints is generator.accepts_hints
    assert info.square_input == loaded.model.square_input
    assert info.size_multiple == math.lcm(generator.stride, loaded.model.input_multiple)
    expected = generator.predict_raw(torch.from_numpy(lightness(1, *size)))
    if isinstance(generator.head, ClassificationHead):
        assert info.log_prior is not None
        np.testing.assert_array_equal(info.log_prior, generator.head.log_prior.numpy())
    else:
        expected = generator.head.to_ab(expected)
    # A step of marginal64 is 4 units: where two are equally likely, either is right.
    values = runtime.run(lightness(1, *size)).values
    different = np.abs(values - expected.numpy()) > 2e-3
    assert different.mean() <= (0.01 if "marginal64" in release.name else 0)


def test_threads_compute_what_one_thread_computes(runtime: Runtime) -> None:
    alone = [runtime.run(lightness(1, *size)).values for size in SIZES]
    with ThreadPoolExecutor(3) as pool:
        many = pool.map(lambda size: runtime.run(lightness(1, *size)).values, 3 * SIZES)
        assert all(np.array_equal(a, b) for a, b in zip(many, 3 * alone, strict=True))


def test_the_input_stays_as_it_was(runtime: Runtime) -> None:
    given = lightness(1, 31, 47)
    before = given.copy()
    runtime.run(given)
    assert np.array_equal(given, before)


@pytest.mark.parametrize("size", SIZES)
def test_hints_reach_a_network_that_takes_them_and_others_refuse(
    runtime: Runtime, release: Path, size: tuple[int, int]
) -> None:
    stride, given = runtime.info.output_stride, lightness(2, *size)
    hints = np.zeros((2, 3, -(-size[0] // stride), -(-size[1] // stride)), np.float32)
    if not runtime.info.accepts_hints:
        with pytest.raises(ValueError, match="takes no hints"):
            runtime.run(given, hints=hints)
        return
    without = runtime.run(given).values
    np.testing.assert_allclose(runtime.run(given, hints=hints).values, without, atol=1e-4)
    hints[1, :, -1, -1] = 0.5, -0.4, 1
    values = runtime.run(given, hints=hints).values
    np.testing.assert_allclose(values[0], without[0], atol=1e-4)
    assert np.abs(values[1] - without[1]).max() > 0.05
    generator = checkpoint.load(release).generator
    expected = generator.predict_raw(torch.from_numpy(given), torch.from_numpy(hints))
    if runtime.info.log_prior is None:
        expected = generator.head.to_ab(expected)
    np.testing.assert_allclose(values, expected.numpy(), atol=2e-3)


@pytest.fixture(scope="module", params=("classes", "regression"))
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A network without and with a calibration, which halves all chroma."""
    folder = tmp_path_factory.mktemp("pair")
    plain = write_release(folder / "plain.safetensors", **HEADS[request.param])
    return plain, write_calibrated(folder / "calibrated.safetensors", plain, share=0.5)


@pytest.mark.parametrize("kind", RUNTIMES)
def test_a_calibration_comes_with_the_weights(kind: str, pair: tuple[Path, Path]) -> None:
    plain, calibrated = (Colorizer(RUNTIMES[kind](path)) for path in pair)
    assert plain.runtime.info.calibration is None and plain.decode.calibration == 0
    stored, expected = calibrated.runtime.info.calibration, checkpoint.load(pair[1]).calibration
    assert stored is not None and expected is not None
    assert np.array_equal(stored.shift, expected.shift)
    assert stored.metadata() == expected.metadata() and stored.photos == 300
    assert calibrated.decode.calibration == 0.5
    gray = np.random.default_rng(0).integers(0, 256, (60, 90), np.uint8)
    before = plain.predict(gray).ab(plain.decode)
    prediction = calibrated.predict(gray)
    for share in (0.0, 0.5, 1.0):
        ab = prediction.ab(calibrated.resolve_decode(calibration=share))
        np.testing.assert_allclose(ab, (1 - share / 2) * before, rtol=1e-5, atol=1e-5)
    vivid = prediction.ab(calibrated.resolve_decode(calibration=1, saturation=3))
    np.testing.assert_allclose(vivid, 3 * 0.5 * before, rtol=1e-5, atol=1e-5)
    assert not np.array_equal(calibrated(gray), plain(gray))
    assert np.array_equal(calibrated(gray, calibration=0.0), plain(gray))


@pytest.mark.parametrize("kind", RUNTIMES)
def test_a_share_without_a_calibration_is_none(kind: str, tmp_path: Path) -> None:
    """A recipe may ask for a share before a calibration is fitted."""
    plain = release_file.read(write_release(tmp_path / "plain.safetensors"))
    asking = tmp_path / "asking.safetensors"
    decode = {**plain.meta["decode"], "calibration": 0.5}
    release_file.write(asking, plain.tensors, {**plain.meta, "decode": decode})
    info = RUNTIMES[kind](asking).info
    assert info.calibration is None and info.decode.calibration == 0


@pytest.mark.parametrize("kind", RUNTIMES)
def test_weights_without_a_calibration_say_so(kind: str, pair: tuple[Path, Path]) -> None:
    colorizer = Colorizer(RUNTIMES[kind](pair[0]))
    assert colorizer.resolve_decode(calibration=0.0) == colorizer.decode
    with pytest.raises(
        Pix2ColorError, match=r"plain\.\w+ have no calibration.*pix2color calibrate"
    ):
        colorizer.resolve_decode(calibration=0.5)
    with pytest.raises(Pix2ColorError, match="calibration = 2"):
        colorizer.resolve_decode(calibration=2)


def test_an_unknown_runtime_is_answered_with_the_known(release: Path) -> None:
    with pytest.raises(Pix2ColorError, match=" and ".join(KINDS)):
        load_runtime(release, kind="tensorrt")


@pytest.mark.parametrize("vividness", [0.0, 0.54, 1.0])
@pytest.mark.parametrize("temperature", [0.1, 0.38, 1.0])
def test_decoding_in_numpy_equals_that_of_the_head(temperature: float, vividness: float) -> None:
    """On dense random logits. float32 logits are rounded, which a temperature below 1 amplifies;
    torch also adds the 313 classes in float32."""
    random = np.random.default_rng(0)
    logits = (4 * random.standard_normal((313, 48, 72))).astype(np.float32)
    prior = random.dirichlet(np.ones(313))
    head = ClassificationHead(1, torch.from_numpy(prior))
    grid = np.zeros((1, 1), np.float32)
    prediction = Prediction(logits, grid, grid, log_prior=head.log_prior.numpy())
    ab = prediction.ab(DecodeConfig(temperature=temperature, vividness=vividness))
    with torch.no_grad():
        by_head = head.to_ab(
            torch.from_numpy(logits[None]), temperature=temperature, vividness=vividness
        )
    np.testing.assert_allclose(ab, by_head[0].numpy(), rtol=0, atol=3e-4 / temperature)
    exact = softmax((logits - vividness * np.log(prior)[:, None, None]) / temperature, axis=0)
    exact = np.einsum("khw,kc->chw", exact, BIN_CENTERS)
    np.testing.assert_allclose(ab, exact, rtol=0, atol=1e-4 / temperature)
