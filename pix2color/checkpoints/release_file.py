"""The release file: one `.safetensors` with a generator and all that is needed to use it.

`NAME.onnx` beside it is the network's graph, which reads its weights from here (docs/onnx.md).
Weights are float16 (float32 in imported files), batch statistics and the prior float32. Metadata
values are strings, JSON where they are no plain text: `format`, `model` (the config's section,
enough to rebuild the network), `decode`, `data`, `figures`, `notice`, `version`, `config_digest`,
`origin` (of imported weights). A chroma calibration is optional:
the tensor `calibration`, float32, and metadata of that name, which hold the digest of the weights
that it was fitted for. No pickle is ever read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pix2color.color import chroma_calibration
from pix2color.color.chroma_calibration import ChromaCalibration
from pix2color.errors import WeightsError
from pix2color.io import atomic_write

if TYPE_CHECKING:  # a file is read for onnxruntime without torch
    import torch
    from torch import Tensor

FORMAT = "pix2color-1"
DEFAULT_FILE = Path(__file__).parent / "default.safetensors"
"""The packaged weights."""
CALIBRATION = "calibration"
"""Name of the calibration's tensor and of its metadata."""
_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


@dataclass(frozen=True)
class ReleaseFile:
    """The contents of a release file."""

    tensors: dict[str, Any]
    """The weights, a generator's state dict: torch's tensors, or numpy's arrays, as `read` was
    asked for."""
    meta: dict[str, Any]
    """The metadata, decoded from JSON, but for the calibration's."""
    digest: str
    """12 hex digits of the file's SHA-256."""
    path: Path
    calibration: ChromaCalibration | None = None


def read(
    path: str | Path, *, framework: Literal["pt", "np"] = "pt", calibrated: bool = True
) -> ReleaseFile:
    """Read a release file.

    Args:
        path: of the file.
        framework: of the tensors: torch, or numpy, which imports no torch.
        calibrated: False leaves a calibration out, whatever is wrong with it.

    Raises:
        WeightsError: it is missing, a pickle, not safetensors, of another format version, or its
            calibration is damaged or was fitted for other weights.
    """
    path = Path(path)
    tensors, meta = read_safetensors(path, framework=framework)
    version = meta.get("format")
    if version != FORMAT:
        raise WeightsError(
            f"{path} is not a pix2color release file"
            + (f" of this version (it is {version}, expected {FORMAT})" if version else ""),
            remedy="make one with the command `python -m pix2color release`, of published weights"
            " of others with `python -m pix2color import`",
        )
    decoded = {key: decode_metadata(value) for key, value in meta.items()}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    table, fitted = tensors.pop(CALIBRATION, None), decoded.pop(CALIBRATION, None)
    calibration = None
    if calibrated and (table is not None or fitted is not None):
        calibration = _calibration(path, tensors, table, fitted)
    return ReleaseFile(tensors, decoded, digest, path, calibration)


def write(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    meta: Mapping[str, Any],
    *,
    calibration: ChromaCalibration | None = None,
    half: bool = True,
) -> None:
    """Write a release file atomically.

    Args:
        tensors: a generator's state dict; floating-point weights become float16, except for those
            that `keep_float32` names.
        meta: JSON values; `format` is added.
        calibration: fitted for these weights.
        half: False keeps all weights float32.

    Raises:
        ValueError: the calibration was fitted for other weights.
    """
    import torch
    from safetensors.torch import save

    stored = {key: _to_storage(key, value, half=half) for key, value in tensors.items()}
    values = dict(meta)
    if calibration is not None:
        if calibration.weights != weights_digest(stored):
            raise ValueError("the calibration was fitted for other weights")
        stored[CALIBRATION] = torch.from_numpy(np.array(calibration.shift, order="C"))
        values[CALIBRATION] = calibration.metadata()
    texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in values.items()}
    atomic_write(Path(path), save(stored, metadata={"format": FORMAT, **texts}))


def weights_digest(tensors: Mapping[str, Any]) -> str:
    """12 hex digits of the SHA-256 of weights as a release file stores them.

    It depends on names, shapes and values alone: it survives other metadata and another
    calibration, and it is the same before and after `write`, and for torch's tensors and numpy's
    arrays.
    """
    digest = hashlib.sha256()
    for key in sorted(tensors):
        value = _to_array(key, tensors[key])
        digest.update(f"{key} torch.{value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()[:12]


def keep_float32(key: str) -> bool:
    """Whether a tensor of this name stays float32: batch statistics and the prior."""
    return key.rsplit(".", 1)[-1] in {"running_mean", "running_var", "log_prior"}


def is_half(tensors: Mapping[str, Any]) -> bool:
    """Whether the weights of a file that was read are float16."""
    return any(str(value.dtype).endswith("float16") for value in tensors.values())


def read_safetensors(
    path: Path, *, framework: Literal["pt", "np"] = "pt"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors (torch or numpy) and metadata of any safetensors file.

    Raises:
        WeightsError: it is missing, truncated, a pickle, or otherwise not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise WeightsError(f"no weights file {path}: check the path")
    try:
        with safe_open(path, framework=framework) as file:
            meta = file.metadata() or {}
            return {key: file.get_tensor(key) for key in file.keys()}, meta  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        # Only now: a safetensors file with a header of 640 bytes begins as a pickle does.
        with path.open("rb") as start:
            if start.read(4).startswith(_PICKLE_STARTS):
                raise WeightsError(
                    f"{path} is a pickle, which can run code when it is read; "
                    "pix2color reads .safetensors here",
                    remedy="convert it if you trust its source; `python -m pix2color import` does"
                    " so with the published weights of other networks, and runs nothing of them",
                ) from None
        raise WeightsError(f"{path} is not a whole safetensors file: {error}") from None


def load_state_strict(
    module: torch.nn.Module, tensors: Mapping[str, Tensor], *, source: str
) -> None:
    """Load weights in the module's data types.

    Args:
        module: where they go.
        tensors: exactly the module's state dict.
        source: where they come from, for the error.

    Raises:
        WeightsError: a tensor is missing, foreign or of another shape; the message names it.
    """
    state = module.state_dict()
    common = state.keys() & tensors.keys()
    problems = {
        "missing": sorted(state.keys() - common),
        "foreign": sorted(tensors.keys() - common),
        "of another shape": sorted(k for k in common if state[k].shape != tensors[k].shape),
    }
    reasons = [f"{len(keys)} {how} ({keys[0]}, ...)" for how, keys in problems.items() if keys]
    if reasons:
        raise WeightsError(f"{source} holds the weights of another network: {'; '.join(reasons)}")
    module.load_state_dict({k: v.to(state[k].dtype) for k, v in tensors.items()})


def _calibration(
    path: Path, tensors: Mapping[str, Any], table: Any, fitted: Any
) -> ChromaCalibration:
    """The calibration of a file; WeightsError names the file and what is wrong."""
    try:
        if table is None:
            raise ValueError("the table is missing")
        calibration = chroma_calibration.from_parts(np.asarray(table, np.float32), fitted)
        if calibration.weights != weights_digest(tensors):
            raise ValueError("it was fitted for other weights")
    except (TypeError, ValueError) as error:  # a type that numpy lacks
        raise WeightsError(
            f"{path}: the calibration cannot be used: {error}",
            remedy="fit it again with the command `python -m pix2color calibrate`",
        ) from None
    return calibration


def _to_storage(key: str, value: Tensor, *, half: bool = True) -> Tensor:
    """A copy on the CPU in the data type of the file."""
    value = value.detach().cpu()
    if half and value.is_floating_point() and not keep_float32(key):
        value = value.half()
    return value.clone().contiguous()


def _to_array(key: str, value: Any) -> NDArray[Any]:
    """`_to_storage` for torch's tensors and numpy's arrays, as an array."""
    if not isinstance(value, np.ndarray):
        array: NDArray[Any] = _to_storage(key, value).numpy()
        return array
    is_float = np.issubdtype(value.dtype, np.floating)
    return value.astype(np.float16) if is_float and not keep_float32(key) else value


def decode_metadata(text: str) -> Any:
    """A metadata value: JSON objects and lists as such, all else as text.

    A digest of decimal digits only, or with one e among them, would be read as a number.
    """
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
