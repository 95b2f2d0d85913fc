"""Networks written as ONNX files, for onnxruntime and other programs (the `onnx` extra).

Two kinds: `write_graph` puts a graph without weights beside a release file, for `infer.py`; `write`
makes one file that holds all, for other programs.
The graph takes L of any size, B,1,H,W in 0..100, and pads and crops by itself; it gives `raw`,
B,C,ceil(H/stride),ceil(W/stride), and `features`, the decoder's last. What follows, from raw to ab,
is decoding; its settings and constants are in the metadata (docs/onnx.md). A network that accepts
hints has a second input for them.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pix2color._version import __version__
from pix2color.checkpoints import checkpoint, hub, release_file
from pix2color.color import ab_bins_numpy
from pix2color.errors import PhotoError, Pix2ColorError, WeightsError
from pix2color.io import atomic_write_all
from pix2color.models.generator import Generator
from pix2color.models.heads import ClassificationHead
from pix2color.photo.writing import atomic_open_photo
from pix2color.runtime.base import Floats, Runtime
from pix2color.runtime.onnx import FORMAT, HINTS, INITIALIZERS, INPUT, OUTPUTS, OnnxRuntime
from pix2color.runtime.torch import TorchRuntime

TOLERANCE = 0.01
"""ab units by which an exported network may differ."""
_OPSET = 17
_PREFIX = "generator."  # of the names of weights in a traced `_Graph`
_TRIALS = ((97, 131), (64, 96))  # height, width


def write(path: Path, released: checkpoint.Checkpoint) -> float:
    """Write a network as ONNX, whole or not at all, and compare it with the original.

    Returns:
        The greatest difference of ab, Lab units, over noise of two sizes.

    Raises:
        WeightsError: it has parts that ONNX lacks, it differs, or the file cannot be written.
        Pix2ColorError: the extra is not installed.
    """
    onnx = library()
    model = onnx.load_model_from_string(_graph(released.generator))
    onnx.helper.set_model_props(model, _metadata(released) | _decoding(released))
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    difference = _compare(OnnxRuntime(data, path.name, device="cpu"), released)
    _write(path, data)
    return difference


def write_graph(weights: Path) -> tuple[Path, float]:
    """Write the graph of a release file beside it, whole or not at all, after a comparison.

    Its metadata name the file's digest: other weights under that name are refused.

    Args:
        weights: the release file, NAME.safetensors.

    Returns:
        NAME.onnx, and the greatest difference of ab as `write`.

    Raises:
        WeightsError, Pix2ColorError: as `write`.
    """
    released = checkpoint.load(weights)
    path = weights.with_suffix(".onnx")
    onnx = library()
    model = onnx.load_model_from_string(_graph(released.generator))
    names = _without_weights(model, weights)
    onnx.helper.set_model_props(model, _metadata(released) | {INITIALIZERS: json.dumps(names)})
    data = model.SerializeToString()
    file = release_file.read(weights, framework="np")
    difference = _compare(OnnxRuntime(data, path.name, device="cpu", weights=file), released)
    _write(path, data)
    return path, difference


def write_pair(out: Path, write: Callable[[Path], None], *, graph: bool) -> None:
    """Write a release file and its graph beside it, both or neither.

    Args:
        out: NAME.safetensors.
        write: writes the release file to the path that it is given.
        graph: False leaves no NAME.onnx: one that is there is of the weights that are replaced.

    Raises:
        WeightsError, Pix2ColorError: as `write_graph`.
        OSError: a file cannot be written.
    """
    beside = out.with_suffix(".onnx")
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / out.name
        write(written)
        files = {out: written.read_bytes()}
        if graph:
            try:
                files[beside] = write_graph(written)[0].read_bytes()
            except WeightsError as error:
                remedy = "write the release file without a graph ({no_graph}); torch runs it"
                raise WeightsError(error.message, remedy=remedy) from None
        atomic_write_all(files)
    if not graph:
        beside.unlink(missing_ok=True)


def check_pair_can_be_written() -> None:
    """Raise Pix2ColorError where onnx is missing, before the work whose result is written.

    The graph is optional, so the error names how to leave it out.
    """
    try:
        library()
    except Pix2ColorError:
        raise Pix2ColorError(
            "the graph beside a release file needs onnx",
            remedy='install it with pip install "pix2color[onnx]", or leave the graph out with'
            " {no_graph}",
        ) from None


def renamed(graph: bytes, weights: str) -> bytes:
    """A graph of `write_graph` for its weights under another file name.

    pix2color finds them by the graph's own name; other programs need this.
    """
    model = library().load_model_from_string(graph)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = weights
    data: bytes = model.SerializeToString()
    return data


def _compare(exported: Runtime, released: checkpoint.Checkpoint) -> float:
    difference = _difference(exported, TorchRuntime(released))
    if difference > TOLERANCE:
        raise WeightsError(
            f"{released.name} as ONNX differs by {difference:.2g} in ab: not written"
        )
    return difference


def _write(path: Path, data: bytes) -> None:
    try:
        with atomic_open_photo(path) as file:
            file.write(data)
    except PhotoError as error:
        raise WeightsError(f"{path} {error}") from None


def cached(name_or_path: str | None, *, announce: Callable[[str], None] | None = None) -> Path:
    """The ONNX file of some weights in the user's cache; written there at first use.

    Its name holds the digest of the weights, so that no other weights replace it.

    Args:
        name_or_path: as `checkpoint.load`.
        announce: called with a message before it is written.

    Raises:
        WeightsError: as `checkpoint.load` and `write`.
    """
    digest = release_file.read(hub.resolve(name_or_path or "default")).digest
    path = cache_folder() / f"{digest}-{FORMAT}.onnx"
    if not path.is_file():
        if announce is not None:
            announce(f"exporting the network to {path}, once")
        try:
            write(path, checkpoint.load(name_or_path))
        except WeightsError as error:
            raise WeightsError(
                str(error),
                remedy="or write the file with `python -m pix2color export` and name it as"
                " {checkpoint}",
            ) from None
    return path


def cache_folder() -> Path:
    """XDG_CACHE_HOME/pix2color, or .cache/pix2color of the user's home."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "pix2color"


def _without_weights(model: Any, weights: Path) -> list[str]:
    """Let a graph's initializers be external data in a release file; float16 ones pass a Cast.

    Returns:
        The names of those tensors.
    """
    onnx = library()
    data = weights.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")  # of the tensors: the safetensors format
    header = json.loads(data[8:start])
    casts, names, short = [], [], {}
    for tensor in model.graph.initializer:
        name = tensor.name.removeprefix(_PREFIX)
        if name not in header:
            continue
        names.append(name)
        dims, (first, end) = list(tensor.dims), header[name]["data_offsets"]
        is_half = header[name]["dtype"] == "F16"
        if is_half:
            casts.append(
                onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT)
            )
        else:
            short[tensor.name] = name
        kind = onnx.TensorProto.FLOAT16 if is_half else onnx.TensorProto.FLOAT
        tensor.CopyFrom(onnx.TensorProto(name=name, dims=dims, data_type=kind))
        tensor.data_location = onnx.TensorProto.EXTERNAL
        place = {"location": weights.name, "offset": start + first, "length": end - first}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
    nodes = [*casts, *model.graph.node]  # a Cast before its use, as the format asks
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _shorten_names(model, short)
    return names


def _shorten_names(model: Any, names: dict[str, str]) -> None:
    """Rename values by `names`, and intermediate ones to numbers: names are half of a graph."""
    for node in model.graph.node:
        node.ClearField("name")
        for value in node.output:
            if value not in OUTPUTS:
                names.setdefault(value, str(len(names)))
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]


class _Graph(nn.Module):
    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        features, raw = self.generator.predict_features(*inputs)
        return raw, features


def _graph(generator: Generator) -> bytes:
    """Traced: the exporter of torch.export takes minutes where this one takes seconds."""
    library()
    lightness, hints = map(torch.from_numpy, _noise(70, 90, generator.stride))
    trial = {INPUT: lightness} | ({HINTS: hints} if generator.accepts_hints else {})
    axes = {name: {0: "batch", 2: f"{name}_h", 3: f"{name}_w"} for name in (*trial, *OUTPUTS)}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation, and shapes: `write` compares the outputs
        path = Path(folder) / "graph.onnx"
        try:
            torch.onnx.export(
                _Graph(generator).eval(),
                tuple(trial.values()),
                path,
                input_names=list(trial),
                output_names=list(OUTPUTS),
                dynamic_axes=axes,
                opset_version=_OPSET,
                # Batch norms stay nodes with their own weights; onnxruntime fuses them itself.
                training=torch.onnx.TrainingMode.PRESERVE,
                dynamo=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise WeightsError(f"this network cannot be exported to ONNX: {reason}") from None
        return path.read_bytes()


def _metadata(released: checkpoint.Checkpoint) -> dict[str, str]:
    """What every ONNX file of a network says."""
    return {
        "format": FORMAT,
        "version": __version__,
        "notice": released.meta.get("notice", checkpoint.NOTICE),
        "digest": released.digest,
        "stride": json.dumps(released.generator.stride),
    }


def _decoding(released: checkpoint.Checkpoint) -> dict[str, str]:
    """What a file without a release file beside it has to say as well."""
    meta = released.meta
    tree: dict[str, Any] = {
        "decode": released.decode.model_dump(mode="json"),
        "model": meta["model"],
    }
    tree |= {key: meta[key] for key in ("data", "figures", "config_digest") if key in meta}
    head = released.generator.head
    if isinstance(head, ClassificationHead):
        tree["log_prior"] = head.log_prior.tolist()
        tree["bins"] = ab_bins_numpy.BIN_CENTERS.tolist()
    if released.calibration is not None:
        tree["calibration"] = released.calibration.encode()
    return {key: v if isinstance(v, str) else json.dumps(v) for key, v in tree.items()}


def _difference(exported: Runtime, original: Runtime) -> float:
    largest = 0.0
    for height, width in _TRIALS:
        lightness, hints = _noise(height, width, original.info.output_stride)
        for given in (None, hints) if original.info.accepts_hints else (None,):
            ab, expected = (_ab(runtime, lightness, given) for runtime in (exported, original))
            largest = max(largest, float(np.abs(ab - expected).max()))
    return largest


def _noise(height: int, width: int, stride: int) -> tuple[Floats, Floats]:
    """L, 1,1,H,W, and for a fifth of its cells hints, 1,3,h,w."""
    random = np.random.default_rng(height)
    lightness = random.uniform(0, 100, (1, 1, height, width)).astype(np.float32)
    hints = random.uniform(-0.5, 0.5, (1, 3, -(-height // stride), -(-width // stride)))
    hints[:, 2] = random.uniform(size=hints.shape[2:]) < 0.2
    return lightness, (hints * hints[:, 2:]).astype(np.float32)


def _ab(runtime: Runtime, lightness: Floats, hints: Floats | None) -> Floats:
    info = runtime.info
    values = runtime.run(lightness, hints=hints).values[0]
    if info.log_prior is None:
        return values
    return ab_bins_numpy.annealed_mean(
        values,
        temperature=info.decode.temperature,
        log_prior=info.log_prior,
        vividness=info.decode.vividness,
    )


def library() -> Any:
    """The package onnx; raises Pix2ColorError where it is not installed."""
    try:
        import onnx
    except ImportError:
        raise Pix2ColorError('exporting needs onnx: pip install "pix2color[onnx]"') from None
    return onnx
