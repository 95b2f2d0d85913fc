"""Imported files of Zhang's networks, as narrow as tests want them."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pix2color.build import build_generator
from pix2color.checkpoints.foreign import importing, zhang
from pix2color.checkpoints.foreign.network import OWN, ForeignNetwork
from pix2color.cli import main
from pix2color.color.ab_bins import bin_centers
from pix2color.config import ModelConfig

_CONVOLUTIONS = {"width": 4, "center_lightness": True}
NARROW: dict[str, ForeignNetwork] = {
    "eccv16": replace(
        zhang.ECCV16,
        model=zhang.ECCV16.model
        | {
            "conv_encoder": _CONVOLUTIONS | {"seventh_group": 8},
            "upsample": {"stages": [[], [16, 16, 16]], "mode": "transposed"},
        },
    ),
    "siggraph17": replace(
        zhang.SIGGRAPH17,
        model=zhang.SIGGRAPH17.model
        | {"conv_encoder": _CONVOLUTIONS, "shortcut": {"stages": [[16, 16], [8], [8]]}},
    ),
}
"""The kinds with a sixteenth of their widths. Names, layers and settings are the kind's own."""


def random_file(kind: str) -> dict[str, Tensor]:
    """Random tensors under the published names, in the shapes of the narrow kind."""
    network = NARROW[kind]
    torch.manual_seed(0)
    generator = build_generator(ModelConfig.model_validate(network.model), pretrained=False)
    torch.nn.init.normal_(generator.head.project.weight, std=3.0)
    ours = generator.state_dict()
    tensors = {network.theirs(key): value for key, value in ours.items() if key not in OWN}
    tensors |= {name: torch.zeros(shape) for name, shape in network.unused.items()}
    if "model_out.weight" in tensors:
        tensors["model_out.weight"] = bin_centers().T.reshape(2, 313, 1, 1) / 110
    return tensors


def import_narrow(kind: str, folder: Path) -> Path:
    """The release file that the command makes of such a file: KIND.safetensors.

    The file's digest counts as the published one.
    """
    source, out = folder / "net.pth", folder / f"{kind}.safetensors"
    torch.save(random_file(kind), source)
    network = replace(NARROW[kind], sha256=hashlib.sha256(source.read_bytes()).hexdigest()[:8])
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setitem(importing.KINDS, kind, network)
        patch.setattr(zhang, kind.upper(), network)
        assert main(["import", kind, str(source), "--out", str(out)]) == 0
    assert ", the published file" in said.getvalue()
    source.unlink()
    return out
