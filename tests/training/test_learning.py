"""What a training reaches: one photo by heart, through the whole loop, file in and file out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from pix2color.checkpoints import checkpoint
from pix2color.color.lab import rgb_to_lab
from pix2color.config import Config, DecodeConfig
from pix2color.training.setup import make_trainer

STILL = (
    "data.crop=64",
    "data.crop_scale=[1, 1]",
    "data.crop_aspect=1",
    "data.flip=false",
    "data.augment.p=0",
)
QUICK = (
    "model.encoder=mobilenet_v2",
    "model.decoder_channels=[32]",
    "optim.decoder_lr=2e-2",
    "optim.schedule=constant",
    "optim.ema_half_life_samples=4",
    "train.batch_size=2",
    "budget.samples=120",
    "train.log_every_samples=2",
    "decode.input_size=64",
)
KINDS = {
    "regression": ("model.head.type=regression", "loss.l2=1"),
    "classes": (),
}


@pytest.mark.parametrize("kind", [pytest.param("regression", marks=pytest.mark.slow), "classes"])
def test_a_training_learns_one_photo_by_heart(
    kind: str, tiny: Callable[..., Config], tmp_path: Path, astronaut: Tensor
) -> None:
    pixels = (astronaut[0].movedim(0, -1) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(tmp_path / "astronaut.png")
    root = f"data.roots={tmp_path / 'astronaut.png'}"
    config = tiny(kind, *STILL, *QUICK, *KINDS[kind], root)
    summary = make_trainer(config).fit()
    log = Path(config.output, "metrics.jsonl").read_text().splitlines()
    name = "l2" if kind == "regression" else "cross_entropy"
    losses = [line[name] for line in map(json.loads, log) if line["kind"] == "train"]
    # The entropy of soft codes is about 1.1 nats: what can be learnt lies above it.
    floor = 0.0 if kind == "regression" else 1.1
    assert losses[-1] - floor < (losses[0] - floor) / 5

    assert summary.release is not None
    lab = rgb_to_lab(astronaut)
    with torch.no_grad():
        ab = checkpoint.load(summary.release).generator.predict(lab[:, :1], DecodeConfig())
    off, gray = ((x - lab[:, 1:]).norm(dim=1).mean() for x in (ab, torch.zeros_like(ab)))
    assert float(off) < 0.75 * float(gray)
