"""Every discriminator, of 1 to 5 layers and every norm: Lab photos -> a logit for each patch."""

from __future__ import annotations

import functools
from typing import get_args

import pytest
import torch
from modules import check_gradients, check_state, draw, in_bfloat16

from pix2color.config import GanConfig
from pix2color.models.discriminator import PatchDiscriminator

LAYERS = (1, 2, 3, 4, 5)
NORMS = get_args(GanConfig.model_fields["norm"].annotation)
every = pytest.mark.parametrize(("layers", "norm"), [(n, norm) for n in LAYERS for norm in NORMS])


@functools.cache
def built(layers: int, norm: str) -> PatchDiscriminator:
    discriminator = PatchDiscriminator(layers=layers, width=2, norm=norm)
    if norm != "spectral":  # whose weights are found from their norm at building
        draw(discriminator)
    return discriminator.eval()


def photo(layers: int, batch: int = 1, *, more: tuple[int, int] = (0, 0)) -> torch.Tensor:
    """Random Lab of the least size that leaves 2 x 2 logits, and some pixels more."""
    side = 4 * 2**layers
    generator = torch.Generator().manual_seed(layers)
    unit = torch.rand(batch, 3, side + more[0], side + more[1], generator=generator)
    return unit * torch.tensor((100.0, 160.0, 160.0)).view(1, 3, 1, 1) - torch.tensor(
        (0.0, 80.0, 80.0)
    ).view(1, 3, 1, 1)


@torch.no_grad()
@every
def test_a_map_of_logits_for_photos_of_any_shape(layers: int, norm: str) -> None:
    for batch, more in ((1, (0, 0)), (3, (1, 7))):
        lab = photo(layers, batch, more=more)
        logits = built(layers, norm)(lab)
        rows, columns = (side // 2**layers - 2 for side in lab.shape[-2:])
        assert logits.shape == (batch, 1, rows, columns)
        assert logits.dtype == torch.float32 and bool(logits.isfinite().all())


@every
def test_gradients_reach_its_weights_and_the_photo(layers: int, norm: str) -> None:
    discriminator = built(layers, norm)
    discriminator.zero_grad()
    lab = photo(layers, 2).requires_grad_()
    check_gradients(discriminator, [discriminator(lab)])
    assert lab.grad is not None and bool(lab.grad.isfinite().all())
    assert all(bool((channel != 0).any()) for channel in lab.grad.unbind(1))  # L, a and b


@torch.no_grad()
@every
def test_mixed_precision_is_near_to_full(layers: int, norm: str) -> None:
    expected = built(layers, norm)(photo(layers))
    with in_bfloat16():
        actual = built(layers, norm)(photo(layers)).float()
    assert float((actual - expected).abs().max()) < 0.05 * float(expected.abs().max()) + 0.05


@every
def test_weights_survive_a_file(layers: int, norm: str) -> None:
    check_state(built(layers, norm), lambda module: [module(photo(layers))])
