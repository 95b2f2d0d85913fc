"""A network exported to ONNX, run by onnxruntime (the `onnx` extra)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from pix2color.color import chroma_calibration
from pix2color.color.ab_bins_numpy import COUNT, MARGINAL_BIN_WIDTH, MARGINAL_MIN_AB
from pix2color.color.chroma_calibration import ChromaCalibration
from pix2color.config import DecodeConfig, HeadConfig, ModelConfig
from pix2color.errors import Pix2ColorError, WeightsError
from pix2color.runtime.base import Floats, NetworkInfo, NetworkOutput

FORMAT = "pix2color-onnx-1"
"""Of the files that are written and read here (docs/onnx.md)."""
INPUT, OUTPUTS = "lightness", ("raw", "features")
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_QUIET = 4  # of onnxruntime's logs: only what is fatal; errors are raised


class OnnxRuntime:
    """An exported network as a `Runtime`.

    Args:
        data: the file.
        name: for messages.
        device: by name; None: the best that onnxruntime has.

    Raises:
        WeightsError: not such a file, truncated, of another version.
        Pix2ColorError: onnxruntime is not installed, or it does not have the device.
    """

    kind = "onnx"

    def __init__(self, data: bytes, name: str, *, device: str | None = None) -> None:
        self.device = find_device(device)
        self._data = data
        try:
            session = self._session("cpu")
        except Exception as error:  # onnxruntime's kinds have no common base
            raise WeightsError(f"{name} is not a whole ONNX file: {_first_line(error)}") from None
        self._sessions = {"cpu": session}
        texts: dict[str, str] = session.get_modelmeta().custom_metadata_map
        version = texts.get("format")
        if version != FORMAT:
            reason = f" of this version (it says {version}, not {FORMAT})" if version else ""
            raise WeightsError(
                f"{name} is not an ONNX file of pix2color{reason}",
                remedy="make one with the command `python -m pix2color export`",
            )
        try:
            self.meta: dict[str, Any] = {k: _decoded(v) for k, v in texts.items()}
            self._head = ModelConfig.model_validate(self.meta["model"]).head
            self.info = NetworkInfo(
                name=name,
                digest=texts["digest"],
                decode=DecodeConfig.model_validate(self.meta["decode"]),
                output_stride=int(self.meta["stride"]),
                log_prior=_log_prior(self.meta) if self._head.type == "classes" else None,
                calibration=_calibration(self.meta, name),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise WeightsError(
                f"{name} was written by another version of pix2color "
                f"({texts.get('version', 'unknown')}): {_first_line(error)}; export it again"
            ) from None

    @classmethod
    def read(cls, path: Path, *, device: str | None = None) -> OnnxRuntime:
        """The network of a file; raises as the constructor, and WeightsError for a missing file."""
        if not path.is_file():
            raise WeightsError(f"no weights file {path}: check the path")
        return cls(path.read_bytes(), path.name, device=device)

    def run(
        self,
        lightness: Floats,
        *,
        features: bool = False,
        hints: Floats | None = None,
        device: str | None = None,
    ) -> NetworkOutput:
        """See `Runtime.run`; the graph has no input for hints."""
        if hints is not None:
            raise ValueError("an exported network takes no hints")
        target = device or self.device
        outputs = OUTPUTS if features else OUTPUTS[:1]
        try:
            if target not in self._sessions:
                self._sessions[target] = self._session(target)
            raw, *last = self._sessions[target].run(outputs, {INPUT: lightness})
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

    Raises Pix2ColorError where it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise Pix2ColorError('ONNX files need onnxruntime: pip install "pix2color[onnx]"') from None
    return onnxruntime


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


def _calibration(meta: dict[str, Any], name: str) -> ChromaCalibration | None:
    try:
        return chroma_calibration.decode(meta["calibration"]) if "calibration" in meta else None
    except ValueError as error:
        raise WeightsError(
            f"{name}: the calibration cannot be used: {error}; export it again"
        ) from None


def _decode_raw(raw: Floats, head: HeadConfig) -> Floats:
    """The graph's output as `NetworkOutput.values`: heads without the 313 classes become ab."""
    if head.type == "regression":
        return np.float32(head.ab_scale) * (np.tanh(raw) if head.activation == "tanh" else raw)
    if head.type == "marginal64":
        batch, channels, height, width = raw.shape
        steps = raw.reshape(batch, 2, channels // 2, height, width).argmax(2)
        return (MARGINAL_MIN_AB + MARGINAL_BIN_WIDTH * (steps + 0.5)).astype(np.float32)
    return raw


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _first_line(error: Exception) -> str:
    """The first words of a message, on one line."""
    return " ".join(str(error).split())[:120]
