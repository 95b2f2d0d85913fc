"""The PatchGAN: receptive fields, map sizes and parameter counts as published."""

from __future__ import annotations

import pytest
import torch

from pix2color.color.lab import rgb_to_lab
from pix2color.models.discriminator import PatchDiscriminator


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("layers", "parameters"), [(1, 136_513), (2, 663_361), (3, 2_765_633), (4, 6_960_961)]
)
def test_parameters_with_batch_norm(layers: int, parameters: int) -> None:
    assert count(PatchDiscriminator(layers=layers, norm="batch")) == parameters


@pytest.mark.parametrize(
    ("layers", "field", "size"), [(1, 16, 126), (2, 34, 62), (3, 70, 30), (4, 142, 14)]
)
def test_a_logit_sees_its_patch_and_no_more(layers: int, field: int, size: int) -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator(layers=layers, width=2).eval()
    lab = torch.rand(1, 3, 256, 256, requires_grad=True)
    logits = network(lab)
    assert logits.shape == (1, 1, size, size)
    logits[0, 0, size // 2, size // 2].backward()
    assert lab.grad is not None
    inputs = (lab.grad.abs().sum((0, 1)) > 0).nonzero()
    extent = inputs.amax(0) - inputs.amin(0) + 1
    assert extent.tolist() == [field, field]


@pytest.mark.parametrize("norm", ["batch", "instance", "spectral"])
def test_every_norm_learns_to_tell_color_from_gray(norm: str, square: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator(layers=2, width=8, norm=norm).train()
    real = rgb_to_lab(square)
    fake = real * torch.tensor((1.0, 0.0, 0.0)).view(1, 3, 1, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(25):
        on_real, on_fake = network(torch.cat((real, fake))).chunk(2)
        loss = torch.nn.functional.softplus(-on_real).mean()
        loss = loss + torch.nn.functional.softplus(on_fake).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(on_real.detach().mean()) > float(on_fake.detach().mean()) + 1


def test_lab_is_scaled_inside_and_the_constants_are_not_saved() -> None:
    network = PatchDiscriminator(layers=2, width=4)
    assert not {"center", "scale"} & set(network.state_dict())
    extremes = torch.tensor(((0.0, 100.0), (-110.0, 110.0), (-110.0, 110.0))).view(1, 3, 1, 2)
    scaled = (extremes - network.center) / network.scale
    assert scaled.flatten().tolist() == [-1, 1, -1, 1, -1, 1]
