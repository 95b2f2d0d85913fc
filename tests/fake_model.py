"""A network small enough for every test: smooth colors that depend on lightness and place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2color.checkpoints import checkpoint, release_file
from pix2color.checkpoints.checkpoint import Checkpoint
from pix2color.color import chroma_calibration
from pix2color.color.chroma_calibration import ChromaCalibration
from pix2color.config import DecodeConfig
from pix2color.inference.colorizer import Colorizer
from pix2color.runtime import load
from pix2color.runtime.torch import TorchRuntime


class Tint(nn.Module):
    """A fixed random 5x5 convolution, squashed to +-60 ab units times the saturation."""

    stride = 4
    accepts_hints = False

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.randn(2, 1, 5, 5, generator=_seeded()) / 5)
        self.sizes: list[tuple[int, int]] = []

    def predict_raw(self, lightness: Tensor) -> Tensor:
        """As Generator.predict_raw, stride 4."""
        self.sizes.append((lightness.shape[-2], lightness.shape[-1]))
        cells = F.avg_pool2d(lightness / 50 - 1, self.stride)
        return F.conv2d(F.pad(cells, (2, 2, 2, 2), mode="replicate"), self.kernel)

    def predict_features(self, lightness: Tensor) -> tuple[Tensor, Tensor]:
        """As Generator.predict_features; its features are its cells."""
        return F.avg_pool2d(lightness, self.stride), self.predict_raw(lightness)

    @property
    def head(self) -> Tint:
        """Itself: to_ab is below."""
        return self

    def to_ab(self, raw: Tensor, *, temperature: float, vividness: float) -> Tensor:
        """As Head.to_ab."""
        return 60 * torch.tanh(raw / temperature + vividness)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def released(**decode: Any) -> Checkpoint:
    """What checkpoint.load would give."""
    return Checkpoint(
        generator=Tint(),  # type: ignore[arg-type]
        decode=DecodeConfig(**({"input_size": 48} | decode)),
        meta={},
        digest="0123456789ab",
        name="stand-in",
    )


def calibrated(**decode: Any) -> Checkpoint:
    """The same with a calibration that halves all chroma, which is its default."""
    plain = released(calibration=1.0, **decode)
    return replace(plain, calibration=halving(plain.digest))


def use_fake_model(monkeypatch: pytest.MonkeyPatch, network: Checkpoint | None = None) -> None:
    """Commands take that network, or another one, for whatever weights."""
    monkeypatch.setattr(checkpoint, "load", lambda *args, **options: network or released())
    monkeypatch.setattr(load, "find_graph", lambda weights: None)


def fake_colorizer(**decode: Any) -> Colorizer:
    """A Colorizer of that network."""
    return Colorizer(TorchRuntime(released(**decode)))


def write_release(path: Path, *, data: dict[str, Any] | None = None, **model: Any) -> Path:
    """A release file of a small network with 313 classes, or what `model` says, untrained.

    `data` is what it records about its training photos.
    """
    from pix2color.build import build_generator
    from pix2color.config import from_dict

    small = {
        "pretrained": "none",
        "encoder": "zhang_cnn",
        "conv_encoder": {"width": 8},
        "decoder_channels": [16],
    }
    decode = {"input_size": 48, "temperature": 0.5}
    loss = {"l1": 1.0} if model.get("head", {}).get("type") == "regression" else {}
    config = from_dict({"model": small | model, "decode": decode, "loss": loss})
    torch.manual_seed(0)
    generator = build_generator(config.model)
    torch.nn.init.normal_(generator.head.project.weight, std=0.5)
    if generator.hint_input is not None:
        for parameter in generator.hint_input.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    checkpoint.save(path, generator.eval(), config=config, data=data)
    return path


def halving(weights: str) -> ChromaCalibration:
    """A calibration that halves all chroma of the weights with that digest."""
    knots = chroma_calibration.KNOT_STEP * np.arange(1, chroma_calibration.KNOTS + 1)
    shift = np.broadcast_to(-knots / 2, chroma_calibration.SHAPE).astype(np.float32)
    return ChromaCalibration(
        shift, photos=300, temperature=0.5, vividness=0.0, input_size=48, weights=weights
    )


def write_calibrated(path: Path, source: Path, *, share: float = 1.0) -> Path:
    """A copy of a release file with that calibration, and a share of it as its default."""
    file = release_file.read(source)
    meta = {**file.meta, "decode": {**file.meta["decode"], "calibration": share}}
    calibration = halving(release_file.weights_digest(file.tensors))
    release_file.write(path, file.tensors, meta, calibration=calibration)
    return path
