"""A network as an ONNX graph, run by onnxruntime.

The graph of a release file lies beside it and takes its weights from there; they are read once and
handed over in memory, so a renamed pair works, and so do the links of the Hub's cache, which
onnxruntime refuses to follow. An exported file (docs/onnx.md) holds all in one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pix2color.checkpoints import release_file
from pix2color.checkpoints.release_file import ReleaseFile
from pix2color.color import chroma_calibration
from pix2color.color.ab_bins_numpy import COUNT, MARGINAL_BIN_WIDTH, MARGINAL_MIN_AB, softmax
from pix2color.color.chroma_calibration import ChromaCalibration
from pix2color.config import DecodeConfig, HeadConfig, ModelConfig
from pix2color.errors import Pix2ColorError, WeightsError
from pix2color.runtime.base import Floats, NetworkInfo, NetworkOutput

FORMAT = "pix2color-onnx-1"
"""Of the files that are written and read here (docs/onnx.md)."""
INPUT, OUTPUTS = "lightness", ("raw", "features")
HINTS = "hints"
"""The second input of a network that accepts hints."""
INITIALIZERS = "initializers"
"""Metadata key of a graph beside a release file: the tensors that it takes from there."""
MAKE_GRAPH = "python -m pix2color export --graph"
"""The command that makes the graph of a release file."""
_OLDEST = (1, 18)  # onnxruntime's version
_METADATA_FIELD = 14  # of ModelProto in onnx.proto3; each entry has a key and a value, 1 and 2
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_QUIET = 4  # of onnxruntime's logs: only what is fatal; errors are raised


class OnnxRuntime:
    """A network in an ONNX graph as a `Runtime`.

    Args:
        data: the ONNX file.
        file: its name, for messages.
        name: of the network; None: that of the file.
        device: by name; None: the best that onnxruntime has.
        weights: the release file that it belongs to, read with numpy; needed by a graph without
            weights of its own.

    Raises:
        WeightsError: not such a file, truncated, of another version, or of other weights.
        Pix2ColorError: onnxruntime is missing or too old, or it does not have the device.
    """

    kind = "onnx"

    def __init__(
        self,
        data: bytes,
        file: str,
        *,
        name: str | None = None,
        device: str | None = None,
        weights: ReleaseFile | None = None,
    ) -> None:
        self.device = find_device(device)
        texts = _checked_metadata(data, file)
        self.meta: dict[str, Any] = {k: release_file.decode_metadata(v) for k, v in texts.items()}
        self._data = data
        self._initializers: dict[str, Any] = {}
        if weights is not None or INITIALIZERS in texts:
            self._take(weights, file)
        try:
            session = self._session("cpu")
        except Exception as error:  # onnxruntime's kinds have no common base
            raise WeightsError(f"{file} is not a whole ONNX file: {_first_line(error)}") from None
        self._sessions = {"cpu": session}
        calibration = weights.calibration if weights else _calibration(self.meta, file)
        try:
            model = ModelConfig.model_validate(self.meta["model"])
            self._head = model.head
            decode = DecodeConfig.model_validate(self.meta["decode"])
            if calibration is None:  # as `checkpoint.load`
                decode = decode.model_copy(update={"calibration": 0.0})
            self.info = NetworkInfo(
                name=name or file,
                digest=texts["digest"],
                decode=decode,
                output_stride=int(self.meta["stride"]),
                log_prior=_log_prior(self.meta) if self._head.type == "classes" else None,
                accepts_hints=HINTS in {each.name for each in session.get_inputs()},
                calibration=calibration,
                square_input=model.square_input,
                input_multiple=model.input_multiple,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise WeightsError(
                f"{file} was written by another version of pix2color "
                f"({texts.get('version', 'unknown')}): {_first_line(error)}; export it again"
            ) from None

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        weights: Path | None = None,
        name: str | None = None,
        device: str | None = None,
    ) -> OnnxRuntime:
        """The network of a file; raises as the constructor, and WeightsError for a missing file.

        Args:
            path: the ONNX file.
            weights: the release file that it belongs to. None: the file says whether there is one,
                the `.safetensors` file of its name.
            name, device: as the constructor.
        """
        if not path.is_file():
            raise WeightsError(f"no weights file {path}: check the path")
        data = path.read_bytes()
        if weights is None and INITIALIZERS in _checked_metadata(data, path.name):
            weights = path.with_suffix(".safetensors")
        file = None if weights is None else release_file.read(weights, framework="np")
        return cls(data, path.name, name=name, device=device, weights=file)

    def _take(self, weights: ReleaseFile | None, file: str) -> None:
        """Weights and metadata of the release file, where they are those of the graph."""
        if weights is None:
            raise WeightsError(f"{file} has no weights of its own: keep it beside its .safetensors")
        if weights.digest != self.meta["digest"]:
            raise WeightsError(
                f"{file} belongs to other weights than {weights.path.name} (it names"
                f" {self.meta['digest']}, they are {weights.digest})",
                remedy=f"make it again with `{MAKE_GRAPH}`, or set {{runtime}} to torch",
            )
        try:
            names = self.meta.get(INITIALIZERS, ())
            self._initializers = {key: weights.tensors[key] for key in names}
        except (KeyError, TypeError) as error:
            raise WeightsError(
                f"{file} is damaged ({error})", remedy=f"make it again with `{MAKE_GRAPH}`"
            ) from None
        self.meta |= {key: weights.meta[key] for key in ("model", "decode") if key in weights.meta}
        self.meta["log_prior"] = weights.tensors.get("head.log_prior")

    def run(
        self,
        lightness: Floats,
        *,
        features: bool = False,
        hints: Floats | None = None,
        device: str | None = None,
    ) -> NetworkOutput:
        """See `Runtime.run`; 0 is the absence of a hint, which a graph cannot leave out."""
        inputs = {INPUT: lightness}
        if self.info.accepts_hints:
            rows, columns = (-(-side // self.info.output_stride) for side in lightness.shape[2:])
            none = np.zeros((len(lightness), 3, rows, columns), np.float32)
            inputs[HINTS] = none if hints is None else hints
        elif hints is not None:
            raise ValueError("this network takes no hints: it was trained without them")
        target = device or self.device
        outputs = OUTPUTS if features else OUTPUTS[:1]
        try:
            if target not in self._sessions:
                self._sessions[target] = self._session(target)
            raw, *last = self._sessions[target].run(outputs, inputs)
        except Pix2ColorError:
            raise
        except Exception as error:  # as above; `out_of_memory` knows what memory says
            raise RuntimeError(f"onnxruntime: {error}") from error
        return NetworkOutput(_decode_raw(raw, self._head), last[0] if last else None)

    def _session(self, device: str) -> Any:
        """One thread, as torch's path; no arena, which would keep the most that any photo took."""
        onnxruntime = library()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        options.log_severity_level = _QUIET
        if self._initializers:  # `self` keeps the arrays, which onnxruntime does not copy
            options.add_external_initializers(
                list(self._initializers),
                [onnxruntime.OrtValue.ortvalue_from_numpy(v) for v in self._initializers.values()],
            )
        kind, _, index = device.partition(":")
        provider = _PROVIDERS[kind]
        settings = {"device_id": index or "0"} if kind == "cuda" else {}
        session = onnxruntime.InferenceSession(
            self._data, options, providers=[(provider, settings)]
        )
        if session.get_providers()[0] != provider:  # it takes another one without an error
            raise _not_installed(device)
        return session


def find_device(name: str | None) -> str:
    """The device of that name where onnxruntime has it, or the best that it has.

    Raises Pix2ColorError for one that it does not have.
    """
    available = library().get_available_providers()
    if name in (None, "auto"):
        return "cuda" if _PROVIDERS["cuda"] in available else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", str(name)):
        raise _not_installed(str(name))
    if _PROVIDERS[str(name).partition(":")[0]] not in available:
        raise _not_installed(str(name))
    return str(name)


def library() -> Any:
    """onnxruntime.

    Raises Pix2ColorError where it is not installed or too old.
    """
    try:
        import onnxruntime
    except ImportError:
        raise Pix2ColorError("onnxruntime is not installed: pip install onnxruntime") from None
    version = tuple(int(part) for part in re.findall(r"\d+", onnxruntime.__version__)[:2])
    if version < _OLDEST:
        raise Pix2ColorError(
            f"onnxruntime {onnxruntime.__version__} is too old: pip install -U onnxruntime"
        )
    return onnxruntime


def _checked_metadata(data: bytes, file: str) -> dict[str, str]:
    """The metadata of an ONNX file; WeightsError where it is none of this version of pix2color."""
    try:
        if not data:
            raise ValueError("empty")
        texts = metadata(data)
    except (IndexError, ValueError):
        raise WeightsError(f"{file} is not a whole ONNX file") from None
    version = texts.get("format")
    if version != FORMAT:
        reason = f" of this version (it says {version}, not {FORMAT})" if version else ""
        raise WeightsError(
            f"{file} is not an ONNX file of pix2color{reason}",
            remedy="make one with the command `python -m pix2color export`",
        )
    return texts


def metadata(data: bytes) -> dict[str, str]:
    """The metadata of an ONNX file, without the onnx package and before a session is made.

    Raises ValueError or IndexError for bytes that are not a whole protobuf message.
    """
    entries = [dict(_fields(value)) for key, value in _fields(data) if key == _METADATA_FIELD]
    return {str(e[1], "utf-8"): str(e.get(2, b""), "utf-8") for e in entries if 1 in e}


def _fields(data: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of a protobuf message's fields; those that hold numbers are passed over."""
    view, position = memoryview(data), 0
    while position < len(view):
        tag, position = _varint(view, position)
        if tag & 7 == 0:
            _, position = _varint(view, position)
            continue
        if tag & 7 != 2:
            raise ValueError("a field that ONNX does not have")
        length, position = _varint(view, position)
        if position + length > len(view):
            raise ValueError("truncated")
        yield tag >> 3, view[position : position + length]
        position += length


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """A number of 7 bits per byte, the lowest first, and the position after it."""
    number = shift = 0
    while True:
        byte = view[position]
        position += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, position


def _not_installed(name: str) -> Pix2ColorError:
    package = "install onnxruntime-gpu, or " if name.startswith("cuda") else ""
    return Pix2ColorError(
        f"onnxruntime has no device {name!r} here",
        remedy=package + "leave {device} out, or set it to cpu",
    )


def _log_prior(meta: dict[str, Any]) -> Floats:
    log_prior = np.array(meta["log_prior"], np.float32)
    if log_prior.shape != (COUNT,):
        raise ValueError(f"log_prior has {log_prior.size} values, not {COUNT}")
    return log_prior


def _calibration(meta: dict[str, Any], file: str) -> ChromaCalibration | None:
    """That of a file which holds all; WeightsError names it where it cannot be used."""
    try:
        return chroma_calibration.decode(meta["calibration"]) if "calibration" in meta else None
    except ValueError as error:
        raise WeightsError(
            f"{file}: the calibration cannot be used: {error}; export it again"
        ) from None


def _decode_raw(raw: Floats, head: HeadConfig) -> Floats:
    """The graph's output as `NetworkOutput.values`: heads without the 313 classes become ab."""
    if head.type == "regression":
        return np.float32(head.ab_scale) * (np.tanh(raw) if head.activation == "tanh" else raw)
    if head.type == "marginal64":
        batch, channels, height, width = raw.shape
        logits = raw.reshape(batch, 2, channels // 2, height, width)
        if head.decoding == "mean":
            bins = np.arange(channels // 2, dtype=np.float32).reshape(1, 1, -1, 1, 1)
            steps = (softmax(logits, axis=2) * bins).sum(2)
        else:
            steps = logits.argmax(2)
        return (MARGINAL_MIN_AB + MARGINAL_BIN_WIDTH * (steps + 0.5)).astype(np.float32)
    return raw


def _first_line(error: Exception) -> str:
    """The first words of a message, on one line."""
    return " ".join(str(error).split())[:120]
