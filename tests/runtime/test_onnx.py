"""onnxruntime in torch's place: the same colors, the same promises, and files that are wrong."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_model import halving, write_release
from PIL import Image
from torch import Tensor

from pix2color.checkpoints import checkpoint
from pix2color.errors import Pix2ColorError, WeightsError
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.prediction import Prediction
from pix2color.photo import Photo
from pix2color.runtime.base import Runtime
from pix2color.runtime.load import load_runtime
from pix2color.runtime.torch import TorchRuntime

onnx_format = pytest.importorskip("onnx", reason="the onnx extra is not installed")
from pix2color.runtime import onnx, onnx_export  # noqa: E402
from pix2color.runtime.onnx import OnnxRuntime  # noqa: E402

ODD = (("astronaut", 97, 131), ("coffee", 161, 243), ("chelsea", 235, 187))  # height, width


@pytest.fixture(scope="module")
def released() -> checkpoint.Checkpoint:
    return checkpoint.load()


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory, released: checkpoint.Checkpoint) -> Path:
    """The packaged network as ONNX."""
    path = tmp_path_factory.mktemp("onnx") / "out.onnx"
    assert onnx_export.write(path, released) < onnx_export.TOLERANCE
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network as release file; shared: do not write into its folder."""
    return write_release(tmp_path_factory.mktemp("small") / "small.safetensors")


@pytest.fixture(scope="module")
def exported(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That network as one ONNX file."""
    path = tmp_path_factory.mktemp("exported") / "small.onnx"
    onnx_export.write(path, checkpoint.load(small))
    return path


@pytest.fixture
def traced(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares tests the tracing of the small network, which takes most of an export."""
    monkeypatch.setattr(onnx_export, "_graph", lambda generator: exported.read_bytes())


def lightness_of(photo: np.ndarray, height: int, width: int) -> np.ndarray:
    gray = Image.fromarray(photo).convert("L").resize((width, height))
    return np.asarray(gray, np.float32)[None, None] / np.float32(2.55)


def gray_of(photo: np.ndarray, width: int = 90, height: int = 60) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).convert("L").resize((width, height)))


def ab_of(runtime: Runtime, lightness: np.ndarray) -> np.ndarray:
    output, info = runtime.run(lightness), runtime.info
    return Prediction(output.values[0], lightness[0, 0], lightness[0, 0], info.log_prior).ab(
        info.decode
    )


@pytest.mark.parametrize(("name", "height", "width"), ODD)
def test_ab_of_real_photos_is_torch_s_at_odd_sizes(
    name: str,
    height: int,
    width: int,
    packaged: Path,
    released: checkpoint.Checkpoint,
    photos: dict[str, np.ndarray],
) -> None:
    lightness = lightness_of(photos[name], height, width)
    exported, original = OnnxRuntime.read(packaged), TorchRuntime(released)
    ab, expected = (ab_of(runtime, lightness) for runtime in (exported, original))
    assert ab.shape == expected.shape and np.abs(expected).max() > 2  # it is not gray
    assert np.abs(ab - expected).max() < onnx_export.TOLERANCE
    features, expected = (
        runtime.run(lightness, features=True).features for runtime in (exported, original)
    )
    np.testing.assert_allclose(features, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        {"encoder": "resnet18", "attention": True},
        {"encoder": "mobilenet_v2", "decoder": "hypercolumn", "output_stride": 2},
        {"head": {"compat": "aml"}, "output_stride": 4},
    ],
    ids=lambda model: "-".join(str(value) for value in model.values()),
)
def test_other_networks_too(
    model: dict[str, Any], tmp_path: Path, photos: dict[str, np.ndarray]
) -> None:
    found = checkpoint.load(write_release(tmp_path / "other.safetensors", **model))
    onnx_export.write(tmp_path / "out.onnx", found)
    network = OnnxRuntime.read(tmp_path / "out.onnx")
    lightness = lightness_of(photos["coffee"], 61, 93)
    expected = TorchRuntime(found).run(lightness).values
    np.testing.assert_allclose(network.run(lightness).values, expected, atol=1e-3, rtol=1e-3)


def test_what_cannot_be_exported_is_said(tmp_path: Path, small: Path) -> None:
    found = checkpoint.load(small)

    class Odd(type(found.generator)):  # type: ignore[misc]
        def predict_features(self, lightness: Tensor) -> tuple[Tensor, Tensor]:
            return lightness, torch.linalg.matrix_exp(lightness)

    found.generator.__class__ = Odd
    with pytest.raises(WeightsError, match=r"cannot be exported to ONNX: .*matrix_exp"):
        onnx_export.write(tmp_path / "out.onnx", found)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("traced")
def test_a_network_that_differs_is_not_written(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "_difference", lambda exported, original: 0.2)
    with pytest.raises(WeightsError, match=r"differs by 0\.2"):
        onnx_export.write(tmp_path / "out.onnx", checkpoint.load(small))
    assert not list(tmp_path.iterdir())


def test_the_file_alone_is_a_colorizer(
    packaged: Path, released: checkpoint.Checkpoint, photos: dict[str, np.ndarray]
) -> None:
    colorizer = Colorizer.from_pretrained(packaged)
    torchs = Colorizer(TorchRuntime(released))
    assert (colorizer.runtime.kind, torchs.runtime.kind) == ("onnx", "torch")
    assert colorizer.decode == released.decode and colorizer.digest == released.digest
    gray = gray_of(photos["coffee"], 301, 203)
    one, other = colorizer(gray), torchs(gray)
    assert np.abs(one.astype(int) - other).max() <= 4  # half a unit of ab, rounded
    assert (one == other).mean() > 0.99 and np.ptp(one.astype(int), axis=2).max() > 20
    hint = {"x": 150, "y": 100, "color": "#2040ff"}
    versions = colorizer(gray, variants=2, hints=[hint])
    assert (versions[0] != one).any() and (versions[1] != versions[0]).any()
    assert np.abs(colorizer.confidence(gray) - torchs.confidence(gray)).max() < 0.01


def test_the_same_bytes_in_any_order_and_thread(
    exported: Path, photos: dict[str, np.ndarray]
) -> None:
    grays = [gray_of(p, 90 + 7 * n, 60) for n, p in enumerate(photos.values())]
    wanted = [image.tobytes() for image in Colorizer.from_pretrained(exported)(grays)]
    colorizer = Colorizer.from_pretrained(exported)
    backwards = [image.tobytes() for image in colorizer(grays[::-1])]
    assert backwards[::-1] == wanted
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda gray: colorizer(gray).tobytes(), grays * 4))
    assert found == wanted * 4
    batch = np.concatenate([lightness_of(p, 48, 72) for p in photos.values()])
    together = colorizer.runtime.run(batch).values
    for number, one in enumerate(batch):
        assert np.array_equal(colorizer.runtime.run(one[None]).values[0], together[number])


# --- memory and devices --------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["Failed to allocate memory for requested buffer", "bad_alloc"])
def test_out_of_memory_tries_smaller_networks_and_says_so(
    words: str, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colorizer = Colorizer.from_pretrained(exported)
    network = colorizer.runtime
    assert isinstance(network, OnnxRuntime)
    whole = network._sessions["cpu"]

    class Cramped:
        def run(self, wanted: Any, given: dict[str, np.ndarray]) -> Any:
            if min(given["lightness"].shape[2:]) > 100:
                raise Exception(f"[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : {words}")
            return whole.run(wanted, given)

    monkeypatch.setitem(network._sessions, "cpu", Cramped())
    out = colorizer.colorize(
        Photo(np.full((300, 200), 99, np.uint8)), colorizer.resolve_decode(input_size=192)
    )
    assert out.notes == ("out of memory: network at 96 pixels on cpu",)


def allow_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime says that it has CUDA."""
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnx.library(), "get_available_providers", lambda: providers)


def test_a_full_gpu_gives_way_to_the_cpu(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = OnnxRuntime._session

    def full(self: OnnxRuntime, device: str) -> Any:
        if device == "cuda":
            raise Exception("CUDA failure 2: out of memory")
        return make(self, device)

    monkeypatch.setattr(OnnxRuntime, "_session", full)
    allow_cuda(monkeypatch)
    colorizer = Colorizer(OnnxRuntime.read(exported, device="cuda"))
    out = colorizer.colorize(Photo(np.full((30, 20), 99, np.uint8)))
    assert out.notes == ("out of memory: network at 48 pixels on cpu",)


def test_a_fault_of_another_kind_is_not_taken_for_it(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colorizer = Colorizer.from_pretrained(exported)
    monkeypatch.setattr(colorizer.runtime, "_sessions", {"cpu": object()})
    with pytest.raises(RuntimeError, match="onnxruntime"):
        colorizer.colorize(Photo(np.full((30, 20), 99, np.uint8)))


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "warp9"])
def test_a_device_that_onnxruntime_lacks_is_named(
    device: str, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = onnx.library()
    monkeypatch.setattr(library, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(Pix2ColorError, match=f"no device '{device}' here; .*leave device out"):
        Colorizer.from_pretrained(exported, device)
    assert Colorizer.from_pretrained(exported).runtime.device == "cpu"


def test_another_provider_is_not_taken_in_silence(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        def __init__(self, *arguments: object, **options: object) -> None: ...

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    allow_cuda(monkeypatch)
    colorizer = Colorizer(OnnxRuntime.read(exported, device="cuda"))
    monkeypatch.setattr(onnx.library(), "InferenceSession", Session)
    with pytest.raises(Pix2ColorError, match="no device 'cuda' here"):
        colorizer.colorize(Photo(np.full((30, 20), 99, np.uint8)))


# --- which runtime, and the cache ----------------------------------------------------------------


@pytest.mark.usefixtures("traced")
def test_other_weights_are_exported_once_and_said_so(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    for _ in range(2):
        found = Colorizer.from_pretrained(small, runtime="onnx", announce=said.append)
        assert found.runtime.kind == "onnx" and found.digest == checkpoint.load(small).digest
    (path,) = (tmp_path / "pix2color").iterdir()
    assert path.name.startswith(found.digest) and len(said) == 1 and str(path) in said[0]


@pytest.mark.usefixtures("traced")
def test_a_cache_that_cannot_be_written_is_said_with_a_way_out(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"cannot be written.*pix2color export"):
        Colorizer.from_pretrained(small, runtime="onnx")


def test_runtimes_that_do_not_fit(exported: Path) -> None:
    with pytest.raises(Pix2ColorError, match="runs in onnxruntime only"):
        load_runtime(exported, kind="torch")
    with pytest.raises(Pix2ColorError, match="no runtime 'tflite': there are torch and onnx"):
        load_runtime(kind="tflite")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("onnx", r'exporting needs onnx: pip install "pix2color\[onnx\]"$'),
        ("onnxruntime", "onnxruntime is not installed: pip install onnxruntime$"),
    ],
)
def test_a_missing_package_is_one_line(
    module: str, said: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Pix2ColorError, match=said):
        Colorizer.from_pretrained(small, runtime="onnx")


# --- files that are wrong ------------------------------------------------------------------------


def changed(path: Path, change: Callable[[dict[str, str]], Any]) -> bytes:
    """An ONNX file with other metadata."""
    model = onnx_format.load(path)
    texts = {one.key: one.value for one in model.metadata_props}
    change(texts)
    del model.metadata_props[:]
    onnx_format.helper.set_model_props(model, texts)
    data: bytes = model.SerializeToString()
    return data


def not_ours() -> bytes:
    """A graph that gives back what it takes."""
    value = [
        onnx_format.helper.make_tensor_value_info(name, onnx_format.TensorProto.FLOAT, [1])
        for name in "xy"
    ]
    node = onnx_format.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx_format.helper.make_graph([node], "identity", value[:1], value[1:])
    opset = onnx_format.helper.make_opsetid("", 17)
    model = onnx_format.helper.make_model(graph, ir_version=8, opset_imports=[opset])
    data: bytes = model.SerializeToString()
    return data


WRONG: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda path: b"", "not a whole ONNX file"),
    "text": (lambda path: b"not a network", "not a whole ONNX file"),
    "truncated": (lambda path: path.read_bytes()[:-5000], "not a whole ONNX file"),
    "half": (lambda path: path.read_bytes()[: path.stat().st_size // 2], "not a whole ONNX file"),
    "not ours": (lambda path: not_ours(), "not an ONNX file of pix2color; make one with"),
    "newer": (
        lambda path: changed(path, lambda t: t.update(format="pix2color-onnx-9")),
        r"of this version \(it says pix2color-onnx-9",
    ),
    "no decode": (
        lambda path: changed(path, lambda t: t.pop("decode")), "another version of pix2color",
    ),
    "unknown option": (
        lambda path: changed(path, lambda t: t.update(decode=json.dumps({"glow": 1}))),
        "another version of pix2color",
    ),
    "no prior": (
        lambda path: changed(path, lambda t: t.pop("log_prior")), "another version of pix2color",
    ),
    "short prior": (
        lambda path: changed(path, lambda t: t.update(log_prior="[1, 2]")),
        "another version of pix2color",
    ),
    "no map": (
        lambda path: changed(path, lambda t: t.update(calibration='{"shift": "AAAA"}')),
        "calibration cannot be used: the table has 3 bytes, not 115200; export it again",
    ),
    "map of unknown origin": (
        lambda path: changed(path, lambda t: t.update(calibration=json.dumps(
            {key: value for key, value in halving("").encode().items() if key != "weights"}
        ))),
        "calibration cannot be used: its metadata lack weights",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_files_are_named(kind: str, exported: Path, tmp_path: Path) -> None:
    make, words = WRONG[kind]
    path = tmp_path / "wrong.onnx"
    path.write_bytes(make(exported))
    with pytest.raises(WeightsError, match=words) as raised:
        Colorizer.from_pretrained(path)
    assert "wrong.onnx" in str(raised.value) and "\n" not in str(raised.value)


def test_no_file_is_said() -> None:
    with pytest.raises(WeightsError, match=r"no weights file none\.onnx"):
        Colorizer.from_pretrained("none.onnx")


def test_the_example_of_the_docs_colors_a_photo(
    packaged: Path,
    released: checkpoint.Checkpoint,
    photos: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = (Path(__file__).parents[2] / "docs/onnx.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    gray = gray_of(photos["coffee"], 150, 100)
    Image.fromarray(gray).save("photo.jpg", quality=100)
    example = example.replace('"out.onnx"', repr(str(packaged)))
    exec(compile(example, "docs/onnx.md", "exec"), {})
    one = np.asarray(Image.open("colored.png")).astype(float)
    other = Colorizer(TorchRuntime(released))(gray).astype(float)
    assert np.ptp(one, axis=2).max() > 40
    assert np.abs(one - other).mean() < 6  # chroma is enlarged in another way
