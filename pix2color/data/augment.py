"""Degradation of L as in old photos: contrast, brightness, gamma, blur and film grain.

The true colors stay unchanged, so that the network learns to colorize degraded scans.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.config import AugmentConfig

_BLUR_REACH = 3  # pixels on each side of the blur's kernel


def degrade(lightness: Tensor, augment: AugmentConfig, seeds: Sequence[int]) -> Tensor:
    """Degrade some photos of a batch, each with random numbers from its own seed.

    Args:
        lightness: B,1,H,W in 0..100.
        augment: how much, and how often.
        seeds: one per photo.

    Returns:
        A new tensor of the same shape, in 0..100.
    """
    draws = [np.random.Generator(np.random.Philox(key=[seed, 1])) for seed in seeds]
    rows = np.array([_sample_params(draw, augment) for draw in draws], dtype=np.float32)
    columns = torch.from_numpy(rows).to(lightness.device).view(-1, 6, 1, 1, 1)
    chosen, contrast, brightness, gamma, noise, blur = columns.unbind(1)
    aged = 100.0 * (lightness / 100.0).clamp(1e-4, 1.0) ** gamma
    aged = 50.0 + (aged - 50.0) * contrast + brightness
    aged = _blur(aged, blur)
    grain = _grain(lightness.shape, seeds, (rows[:, 0] > 0).tolist()).to(lightness.device)
    aged = (aged + noise * grain).clamp(0.0, 100.0)
    return torch.where(chosen > 0, aged, lightness)


def _sample_params(draw: np.random.Generator, augment: AugmentConfig) -> tuple[float, ...]:
    return (
        float(draw.random() < augment.p),
        float(np.exp(draw.normal(0, augment.contrast))),
        draw.normal(0, augment.brightness),
        float(np.exp(draw.normal(0, augment.gamma))),
        # Squared, so that most photos get little of these and few get much.
        augment.noise * draw.random() ** 2,
        augment.blur * draw.random() ** 2,
    )


def _grain(shape: torch.Size, seeds: Sequence[int], chosen: Sequence[bool]) -> Tensor:
    """Normal noise for the chosen photos, each from its own seed; on the CPU, as its generators."""
    grain = torch.zeros(shape)
    for slot, seed, is_chosen in zip(grain, seeds, chosen, strict=True):
        if is_chosen:
            torch.randn(slot.shape, generator=torch.Generator().manual_seed(seed), out=slot)
    return grain


def _blur(lightness: Tensor, sigma: Tensor) -> Tensor:
    """A separable Gaussian blur with one sigma (pixels) per photo: B,1,H,W and B,1,1,1."""
    offset = torch.arange(-_BLUR_REACH, _BLUR_REACH + 1, device=lightness.device).float()
    kernel = torch.exp(-0.5 * (offset / sigma.view(-1, 1).clamp_min(1e-2)) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)  # B,7
    b = lightness.shape[0]
    padded = F.pad(lightness, [_BLUR_REACH] * 4, mode="replicate").transpose(0, 1)  # 1,B,H,W
    across = F.conv2d(padded, kernel.view(b, 1, 1, -1), groups=b)
    return F.conv2d(across, kernel.view(b, 1, -1, 1), groups=b).transpose(0, 1)
