"""Random resized crops, cut for a whole batch on the device.

The place of each crop follows from (seed, epoch, photo, repeat) alone: batch size, number of
processes and resuming change no crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pix2color.config import DataConfig


@dataclass(frozen=True)
class CropParams:
    """The crops of a batch, in pixels of their photos."""

    top: Tensor
    """B float32, as the others."""
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor
    """B bool."""
    seeds: tuple[int, ...]
    """One seed per crop, for augmentation and simulated hints."""


def rng_for(seed: int, epoch: int, index: int, repeat: int = 0) -> np.random.Generator:
    """The random numbers of one draw of a photo in one epoch; draws are numbered from 0."""
    key = [seed, (epoch << 32) | index]
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, repeat]))


def sample_crops(
    sizes: Sequence[tuple[int, int]],
    rngs: Sequence[np.random.Generator],
    data: DataConfig,
) -> CropParams:
    """Draw one crop per photo: its scale, aspect, place and mirroring.

    Args:
        sizes: height and width of each photo.
        rngs: `rng_for` each of them.
        data: scale range, aspect and flip.
    """
    rows = []
    seeds = []
    for (height, width), rng in zip(sizes, rngs, strict=True):
        scale = rng.uniform(*data.crop_scale)
        stretch = np.exp(rng.uniform(-1, 1) * np.log(data.crop_aspect) / 2)
        side = scale * min(height, width)
        # At least two pixels: a smaller crop could contain no center of a pixel. A stretched crop
        # of the full side is reduced to the photo.
        h, w = min(max(2.0, side * stretch), height), min(max(2.0, side / stretch), width)
        top, left = rng.uniform(0, height - h), rng.uniform(0, width - w)
        flip = data.flip and rng.random() < 0.5
        rows.append((top, left, h, w, float(flip)))
        seeds.append(int(rng.integers(2**62)))
    top, left, h, w, flips = torch.tensor(rows, dtype=torch.float32).unbind(1)
    return CropParams(top, left, h, w, flips > 0, tuple(seeds))


def stack_photos(photos: Sequence[np.ndarray]) -> Tensor:
    """Photos of several sizes in one uint8 tensor, B,H,W,3, filled with zeros right and below."""
    height = max(p.shape[0] for p in photos)
    width = max(p.shape[1] for p in photos)
    stacked = torch.zeros(len(photos), height, width, 3, dtype=torch.uint8)
    for slot, photo in zip(stacked, photos, strict=True):
        slot[: photo.shape[0], : photo.shape[1]] = torch.from_numpy(photo)
    return stacked


def extract_crops(stacked: Tensor, params: CropParams, size: int) -> Tensor:
    """Cut, mirror and resize all crops of a batch with two matrix products.

    Each crop is an antialiased (triangle filter) resampling along rows and columns; a row of the
    matrix holds the weights of the source pixels in one target pixel, mirroring included.

    Args:
        stacked: B,H,W,3 uint8, on the device.
        params: one crop per photo.
        size: side of the crops in pixels.

    Returns:
        RGB: B,3,size,size float32 in 0..1.
    """
    device = stacked.device
    rgb = stacked.permute(0, 3, 1, 2).float() / 255.0
    rows = _resampling(params.top, params.height, None, size, stacked.shape[1], device)
    columns = _resampling(params.left, params.width, params.flip, size, stacked.shape[2], device)
    narrow = rgb @ columns.transpose(1, 2).unsqueeze(1)  # B,3,H,size
    return (rows.unsqueeze(1) @ narrow).clamp_(0.0, 1.0)


def _resampling(
    start: Tensor, length: Tensor, flip: Tensor | None, size: int, source: int, device: torch.device
) -> Tensor:
    """B,size,source: the share of each source pixel in each target pixel."""
    start, length = start.to(device).view(-1, 1, 1), length.to(device).view(-1, 1, 1)
    step = length / size
    target = torch.arange(size, device=device).view(1, -1, 1)
    if flip is not None:
        target = torch.where(flip.to(device).view(-1, 1, 1), size - 1 - target, target)
    middle = start + (target + 0.5) * step
    pixel = torch.arange(source, device=device).view(1, 1, -1) + 0.5
    # Narrower than a pixel, the filter would miss all of them: enlarging is plain bilinear.
    share = (1 - (pixel - middle).abs() / step.clamp_min(1.0)).clamp_min(0.0)
    # The filter never looks outside the crop: beyond the photo lies another photo's padding.
    inside = (pixel > start) & (pixel < start + length)
    share = torch.where(inside, share, torch.zeros_like(share))
    return share / share.sum(-1, keepdim=True)
