"""Activations of a network for one photo: one channel of every convolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from pix2color.errors import ConfigError
from pix2color.models.generator import Generator, pad_to_multiple

_CELL = 128  # longer side of a map in the picture, pixels
_CAPTION = 24
_GAP = 4
_COLUMNS = 8


@dataclass(frozen=True)
class Activation:
    """One channel of one convolution's output."""

    name: str
    """Name of the module, as in the weights file."""
    channel: int
    channels: int
    plane: np.ndarray
    """H,W float32, before any norm or ReLU."""


@torch.no_grad()
def capture_activations(
    generator: Generator, lightness: Tensor, *, channel: int | None = None
) -> list[Activation]:
    """One channel of every convolution, in the order in which they compute.

    Args:
        generator: in evaluation mode.
        lightness: 1,1,H,W in 0..100, at the network's size.
        channel: which; None: of each convolution the one that varies most. A convolution with
            fewer channels shows its last.

    Raises:
        ConfigError: a negative channel.
    """
    if channel is not None and channel < 0:
        raise ConfigError(f"channel {channel}: count from 0")
    activations: list[Activation] = []
    handles = []
    for name, module in generator.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):

            def capture(
                module: nn.Module, inputs: object, out: Tensor, *, name: str = name
            ) -> None:
                planes = out[0].float()
                which = channel if channel is not None else int(planes.std((1, 2)).argmax())
                which = min(which, len(planes) - 1)
                # A copy: an in-place ReLU would still change it.
                plane = planes[which].cpu().numpy().copy()
                activations.append(Activation(name, which, len(planes), plane))

            handles.append(module.register_forward_hook(capture))
    try:
        generator(pad_to_multiple(lightness, generator.size_divisor))
    finally:
        for handle in handles:
            handle.remove()
    return activations


def render_grid(activations: list[Activation]) -> np.ndarray:
    """All maps in one picture, H,W,3 uint8, each with its name, channel and size.

    Each map is scaled from its least value (black) to its greatest (white).
    """
    shapes = [_cell_shape(a.plane.shape) for a in activations]
    height = max((shape[0] for shape in shapes), default=0) + _CAPTION + _GAP
    columns = min(_COLUMNS, max(1, len(activations)))
    rows = -(-len(activations) // columns)
    size = (columns * (_CELL + _GAP) + _GAP, rows * height + _GAP)
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    for number, (activation, shape) in enumerate(zip(activations, shapes, strict=True)):
        left = _GAP + number % columns * (_CELL + _GAP)
        top = _GAP + number // columns * height
        h, w = activation.plane.shape
        short = activation.name if len(activation.name) <= 21 else "…" + activation.name[-20:]
        caption = f"{activation.channel} of {activation.channels}, {h} x {w}"
        pen.text((left, top), short, fill="black", font_size=10)
        pen.text((left, top + _CAPTION // 2), caption, fill="gray", font_size=10)
        cell = Image.fromarray(_gray(activation.plane))
        cell = cell.resize((shape[1], shape[0]), Image.Resampling.NEAREST)
        picture.paste(cell, (left, top + _CAPTION))
    return np.array(picture)


def _cell_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = _CELL / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _gray(plane: np.ndarray) -> np.ndarray:
    least, most = float(plane.min()), float(plane.max())
    spread = (plane - least) / max(most - least, 1e-12)
    return (255 * spread).round().astype(np.uint8)
