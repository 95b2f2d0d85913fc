"""State dicts of other networks: classifiers, encoders and LPIPS backbones from files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pix2color.checkpoints.release_file import read_safetensors
from pix2color.errors import WeightsError


def read_tensors(path: str | Path, *, nested: str | None = None) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a plain state dict such as torchvision's `.pth`.

    torch's restricted reader builds tensors and plain containers only and runs nothing of the file.

    Args:
        path: of the file.
        nested: a key under which a file may hold the state dict; all else in it is left out.

    Raises:
        WeightsError: it is missing, or holds anything but tensors.
    """
    path = Path(path)
    if path.suffix == ".safetensors" or not path.is_file():
        return read_safetensors(path)[0]
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is no state dict
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{path} is not a plain state dict: {reason:.100}") from None
    if nested is not None and isinstance(state, dict) and isinstance(state.get(nested), dict):
        state = state[nested]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} is not a plain state dict: it holds more than tensors")
    return state
