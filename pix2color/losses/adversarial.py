"""Adversarial losses of discriminator and generator on the discriminator's logits B,1,h,w."""

from __future__ import annotations

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
