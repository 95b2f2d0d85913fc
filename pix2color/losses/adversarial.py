"""Adversarial losses of discriminator and generator on the discriminator's logits B,C,h,w."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real: Tensor, fake: Tensor, *, mode: str) -> Tensor:
    """Half of the loss on real photos plus half of that on generated ones.

    vanilla: binary cross-entropy (Goodfellow et al. 2014); lsgan: squares against 1 and 0 (Mao et
    al. 2017); hinge: max(0, 1 - real), max(0, 1 + fake) (Lim and Ye 2017).
    """
    real, fake = real.float(), fake.float()
    if mode == "vanilla":
        return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
    if mode == "lsgan":
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())
    if mode == "hinge":
        return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    raise ValueError(f"unknown gan.loss {mode!r}")


def generator_loss(fake: Tensor, *, mode: str) -> Tensor:
    """The generator's loss: the non-saturating form of each mode."""
    fake = fake.float()
    if mode == "vanilla":
        return F.softplus(-fake).mean()
    if mode == "lsgan":
        return (fake - 1).square().mean()
    if mode == "hinge":
        return -fake.mean()
    raise ValueError(f"unknown gan.loss {mode!r}")


def accuracy(real: Tensor, fake: Tensor, *, mode: str) -> Tensor:
    """Share of logits on the right side of the boundary between the two aims of the mode."""
    boundary = 0.5 if mode == "lsgan" else 0.0
    return 0.5 * ((real > boundary).float().mean() + (fake < boundary).float().mean())


def r1_penalty(logits: Tensor, photos: Tensor) -> Tensor:
    """Squared norm of the gradient of a logit by its true photo (Mescheder et al. 2018), the mean.

    The logits of a photo are differentiated together. For patches that do not overlap this is
    exact; in any case the value does not grow with the size of the photo.

    Args:
        logits: B,C,h,w of `photos`, float32, with their graph.
        photos: B,3,H,W that require a gradient.

    Returns:
        A scalar with a graph to the discriminator's weights.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), photos, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / logits[0].numel()
