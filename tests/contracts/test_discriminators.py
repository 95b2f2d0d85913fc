"""Every discriminator: Lab photos -> maps of logits, and gradients that reach the colors.

The PatchGAN has 1 to 5 layers and every norm; the projected one looks through the packaged encoder.
"""

from __future__ import annotations

import functools
from typing import get_args

import pytest
import torch
from modules import check_gradients, check_state, draw, in_bfloat16
from torch import Tensor

from pix2color.build import Discriminator
from pix2color.checkpoints.pretrained import pretrained_encoder
from pix2color.config import GanConfig
from pix2color.models.discriminator import PatchDiscriminator
from pix2color.models.projected_discriminator import ProjectedDiscriminator
from pix2color.training import steps

LAYERS = (1, 2, 3, 4, 5)
NORMS = get_args(GanConfig.model_fields["norm"].annotation)
PATCHES = {f"patch-{n}-{norm}": (n, norm) for n in LAYERS for norm in NORMS}
every = pytest.mark.parametrize("kind", [*PATCHES, "projected"])
SIZES = ((1, (0, 0)), (3, (1, 7)))


def make(kind: str) -> Discriminator:
    torch.manual_seed(0)
    if kind == "projected":
        return ProjectedDiscriminator(pretrained_encoder("mobilenet_v2", "default"), width=4)
    layers, norm = PATCHES[kind]
    discriminator = PatchDiscriminator(layers=layers, width=2, norm=norm)
    if norm != "spectral":  # whose weights are found from their norm at building
        draw(discriminator)
    return discriminator


@functools.cache
def built(kind: str) -> Discriminator:
    return make(kind).eval()


def photo(kind: str, batch: int = 1, *, more: tuple[int, int] = (0, 0)) -> Tensor:
    """Random Lab of the least size that leaves 2 x 2 logits, and some pixels more."""
    layers = PATCHES[kind][0] if kind in PATCHES else 4
    side = 4 * 2**layers
    generator = torch.Generator().manual_seed(layers)
    unit = torch.rand(batch, 3, side + more[0], side + more[1], generator=generator)
    return unit * torch.tensor((100.0, 160.0, 160.0)).view(1, 3, 1, 1) - torch.tensor(
        (0.0, 80.0, 80.0)
    ).view(1, 3, 1, 1)


def shape_of(kind: str, rows: int, columns: int) -> tuple[int, int, int]:
    """Maps, and the size of each, for a photo of this size."""
    if kind in PATCHES:
        return 1, rows // 2 ** PATCHES[kind][0] - 2, columns // 2 ** PATCHES[kind][0] - 2
    return 4, -(-rows // 32), -(-columns // 32)


@torch.no_grad()
@every
def test_maps_of_logits_for_photos_of_any_shape(kind: str) -> None:
    for batch, more in SIZES:
        lab = photo(kind, batch, more=more)
        logits = built(kind)(lab)
        assert logits.shape == (batch, *shape_of(kind, *lab.shape[-2:]))
        assert logits.dtype == torch.float32 and bool(logits.isfinite().all())


@every
def test_gradients_reach_its_weights_and_the_photo(kind: str) -> None:
    discriminator = built(kind)
    discriminator.zero_grad()
    lab = photo(kind, 2).requires_grad_()
    check_gradients(discriminator, [discriminator(lab)])
    assert lab.grad is not None and bool(lab.grad.isfinite().all())
    assert all(bool((channel != 0).any()) for channel in lab.grad.unbind(1))  # L, a and b


@every
def test_a_gradient_penalty_reaches_its_weights(kind: str) -> None:
    discriminator = make(kind).eval()
    penalty = steps.gradient_penalty(discriminator, photo(kind, 2))
    assert float(penalty.detach()) > 0
    weights = [p for p in discriminator.parameters() if p.ndim > 1]
    gradients = torch.autograd.grad(penalty, weights)
    assert all(bool(g.isfinite().all()) and bool((g != 0).any()) for g in gradients)


@torch.no_grad()
@every
def test_mixed_precision_is_near_to_full(kind: str) -> None:
    expected = built(kind)(photo(kind))
    with in_bfloat16():
        actual = built(kind)(photo(kind)).float()
    assert float((actual - expected).abs().max()) < 0.05 * float(expected.abs().max()) + 0.05


@every
def test_weights_survive_a_file(kind: str) -> None:
    check_state(built(kind), lambda module: [module(photo(kind))])


@every
def test_training_moves_every_weight_and_nothing_that_is_frozen(kind: str) -> None:
    discriminator = make(kind).train()
    before = every_tensor(discriminator)
    optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    discriminator(photo(kind, 2)).square().mean().backward()
    optimizer.step()
    learns = {name for name, _ in discriminator.named_parameters()}
    saved = discriminator.state_dict().keys()
    for name, value in every_tensor(discriminator).items():
        if name in learns and value.ndim > 1:
            assert not torch.equal(value, before[name]), name
        if name not in saved:
            assert torch.equal(value, before[name]), name


def every_tensor(module: torch.nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, also those that are not saved."""
    both = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: value.detach().clone() for name, value in both.items()}
