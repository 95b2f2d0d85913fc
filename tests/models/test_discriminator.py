"""The PatchGAN as published: receptive fields, sizes and parameters; what discriminators learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pix2color.checkpoints.pretrained import pretrained_encoder
from pix2color.color.lab import rgb_to_lab
from pix2color.models.discriminator import PatchDiscriminator
from pix2color.models.projected_discriminator import ProjectedDiscriminator


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


def test_on_frozen_features_gray_is_soon_told_from_color_in_photos_it_never_saw(
    photos: dict[str, np.ndarray],
) -> None:
    torch.manual_seed(0)
    lab = rgb_to_lab(torch.stack([small(photo) for photo in photos.values()]))
    encoder = pretrained_encoder("mobilenet_v2", "default")
    network = ProjectedDiscriminator(encoder, width=8).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3, betas=(0.5, 0.99))
    for _ in range(25):
        on_real, on_fake = network(torch.cat((lab[:3], gray(lab[:3])))).chunk(2)
        loss = torch.nn.functional.relu(1 - on_real).mean()
        loss = loss + torch.nn.functional.relu(1 + on_fake).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        on_real, on_fake = network(torch.cat((lab[3:], gray(lab[3:])))).chunk(2)
    assert float(on_real.mean()) > float(on_fake.mean()) + 0.5


def gray(lab: torch.Tensor) -> torch.Tensor:
    return lab * torch.tensor((1.0, 0.0, 0.0)).view(1, 3, 1, 1)


def small(photo: np.ndarray) -> torch.Tensor:
    """RGB 3,96,96 in 0..1."""
    pixels = np.array(Image.fromarray(photo).resize((96, 96)))
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255
