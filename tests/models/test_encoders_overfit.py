"""Every encoder, under either kind of head, can overfit one photo.

The loss (for classes, what cross-entropy has above its floor) falls to a fifth of where it began,
and of what the best picture of a single color reaches.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.build import build_generator
from pix2color.color import ab_bins
from pix2color.color.lab import rgb_to_lab
from pix2color.config import ModelConfig
from pix2color.losses.ab import l2, label_entropy, soft_cross_entropy
from pix2color.models.encoders import NAMES
from pix2color.models.generator import Generator

MOST_STEPS = 80
FALL = 5
WIDTH = {"regression": 32, "classes": 64}


def loss_of(generator: Generator, lightness: Tensor, ab: Tensor) -> Tensor:
    """L2 of ab, or cross-entropy."""
    raw = generator(lightness)
    own = generator.head.loss(raw, ab)
    return own["cross_entropy"] if own else l2(generator.head.to_ab(raw), ab)


def loss_of_one_color(kind: str, ab: Tensor) -> float:
    """What the best picture of a single color reaches: to do better takes looking."""
    if kind == "regression":
        return float(l2(ab.mean((2, 3), keepdim=True).expand_as(ab), ab))
    code = ab_bins.soft_encode(ab)
    share = code.to_dense().mean((2, 3), keepdim=True).clamp_min(1e-9)
    return float(soft_cross_entropy(share.log().expand(-1, -1, *ab.shape[-2:]), code))


LARGE = ("vgg16", "vgg16_bn", "resnet50", "resnet34", "convnext_tiny")
MARKS = dict.fromkeys(LARGE, pytest.mark.slow) | {"convnext_large": pytest.mark.exhaustive}


@pytest.mark.parametrize("kind", ["regression", "classes"])
@pytest.mark.parametrize(
    "encoder",
    [pytest.param(name, marks=MARKS.get(name, ())) for name in NAMES],
)
def test_one_photo_is_overfitted(encoder: str, kind: str, astronaut: Tensor) -> None:
    lab = rgb_to_lab(astronaut)
    ab = F.avg_pool2d(lab[:, 1:], 4)
    torch.manual_seed(0)
    values = {
        "encoder": encoder,
        "pretrained": "none",
        "decoder_channels": [WIDTH[kind]],
        "convs_per_level": [1],
        "head": {"type": kind},
    }
    generator = build_generator(ModelConfig.model_validate(values)).train()
    rest = [*generator.decoder.parameters(), *generator.head.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": list(generator.encoder.parameters()), "lr": 3e-4},
            {"params": rest, "lr": 2e-2},
        ],
        weight_decay=0.0,
        fused=True,
    )
    floor = 0.0 if kind == "regression" else float(label_entropy(ab_bins.soft_encode(ab)))
    reached: list[float] = []
    expected = 0.0
    while len(reached) < MOST_STEPS and not (reached and reached[-1] < expected):
        optimizer.zero_grad()
        loss = loss_of(generator, lab[:, :1], ab)
        reached.append(float(loss.detach()) - floor)
        expected = min(reached[0], loss_of_one_color(kind, ab) - floor) / FALL
        loss.backward()
        optimizer.step()
    assert reached[-1] < expected
