"""System D with the classifier of its tutorial, InceptionResNetV2, which is timm's."""

from __future__ import annotations

import pytest
import torch

from pix2color import build
from pix2color.config import load
from pix2color.models.fusion import FusionEncoder

pytest.importorskip("timm", reason="timm is not installed")
MODEL = load("fusion", ["model.fusion.classifier=timm/inception_resnet_v2"]).model


def test_its_parameters_are_the_reported_ones_and_the_classifiers() -> None:
    with torch.device("meta"):
        generator = build.build_generator(MODEL, pretrained=False)
    encoder = generator.encoder
    assert isinstance(encoder, FusionEncoder)
    trained = sum(p.numel() for p in generator.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in encoder.classifier.parameters())
    assert (trained, frozen) == (6_541_202, 55_843_464)
    assert encoder.size == 299
    assert encoder.rgb_mean.flatten().shape == (3,)


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["correct", "published"])
def test_it_colors_and_learns_without_its_classifier(scale: str, square: torch.Tensor) -> None:
    torch.manual_seed(0)
    fusion = MODEL.fusion.model_copy(update={"scale": scale})
    generator = build.build_generator(
        MODEL.model_copy(update={"fusion": fusion}), pretrained=False
    ).train()
    assert isinstance(generator.encoder, FusionEncoder)
    probabilities = generator.encoder.probabilities(square)
    assert probabilities.shape == (1, 1000)
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-4)
    lightness = 100 * square.mean(1, keepdim=True)
    raw = generator(lightness)
    assert raw.shape == (1, 2, 32, 32)
    raw.square().mean().backward()
    assert all(p.grad is None for p in generator.encoder.classifier.parameters())
    assert all(p.grad is not None for p in generator.decoder.parameters())
