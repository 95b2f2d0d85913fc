"""Every runtime: L of any size -> raw, the same from any thread, near to what torch computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from fake_model import write_release
from torch import Tensor

from pix2color.checkpoints import checkpoint
from pix2color.errors import Pix2ColorError
from pix2color.runtime import backends
from pix2color.runtime.backends import NAMES, Runtime, TorchRuntime

CPU = torch.device("cpu")
SIZES = ((1, 1), (31, 47), (64, 48))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("weights") / "small.safetensors")


def torch_runtime(release: Path) -> Runtime:
    return TorchRuntime(checkpoint.load(release).generator)


def onnx_runtime(release: Path) -> Runtime:
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="the onnx extra is not installed")
    from pix2color.runtime import onnx, onnx_export

    path = release.with_suffix(".onnx")
    onnx_export.write(path, checkpoint.load(release))
    return onnx.OnnxRuntime.read(path)


RUNTIMES: dict[str, Callable[[Path], Runtime]] = {"torch": torch_runtime, "onnx": onnx_runtime}


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, release: Path) -> Runtime:
    found = RUNTIMES[request.param](release)
    assert found.kind == request.param
    return found


def lightness(batch: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height)
    return torch.rand(batch, 1, height, width, generator=generator) * 100


def test_every_runtime_is_here() -> None:
    assert set(RUNTIMES) == set(NAMES)


@pytest.mark.parametrize("size", SIZES)
def test_raw_and_features_at_the_stride(runtime: Runtime, size: tuple[int, int]) -> None:
    raw, none = runtime.run(lightness(1, *size), CPU)
    again, features = runtime.run(lightness(1, *size), CPU, features=True)
    assert none is None and features is not None
    assert torch.equal(raw, again)
    cells = tuple(-(-side // runtime.stride) for side in size)
    assert raw.shape == (1, 313, *cells) and features.shape[2:] == cells
    for found in (raw, features):
        assert found.dtype == torch.float32 and found.device == CPU
        assert bool(found.isfinite().all()) and not found.requires_grad
    ab = runtime.head.to_ab(raw, temperature=0.5, vividness=0.2)
    assert ab.shape == (1, 2, *cells) and bool(ab.isfinite().all())


@pytest.mark.parametrize("size", SIZES)
def test_it_computes_what_the_weights_say(
    runtime: Runtime, release: Path, size: tuple[int, int]
) -> None:
    generator = checkpoint.load(release).generator
    assert runtime.stride == generator.stride
    assert runtime.accepts_hints == (generator.hint_input is not None)
    wanted = generator.predict_raw(lightness(1, *size))
    torch.testing.assert_close(runtime.run(lightness(1, *size), CPU)[0], wanted, atol=1e-3, rtol=0)


def test_threads_get_what_one_gets(runtime: Runtime) -> None:
    alone = [runtime.run(lightness(1, *size), CPU)[0] for size in SIZES]
    with ThreadPoolExecutor(3) as pool:
        many = pool.map(lambda size: runtime.run(lightness(1, *size), CPU)[0], 3 * SIZES)
        assert all(torch.equal(a, b) for a, b in zip(many, 3 * alone, strict=True))


def test_the_input_is_left_as_it_was(runtime: Runtime) -> None:
    given = lightness(1, 31, 47)
    before = given.clone()
    runtime.run(given, CPU)
    assert torch.equal(given, before)


def test_an_unknown_runtime_is_answered_with_the_known(release: Path) -> None:
    with pytest.raises(Pix2ColorError, match=" and ".join(NAMES)):
        backends.load(release, None, backend="tensorrt")
