"""Sample pictures: gray | predicted | truth, a row a photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from pix2color.color import fit_gamut, lab_to_rgb, lightness_to_gray, rgb_to_lab
from pix2color.config import Decode
from pix2color.models.generator import Generator

_SIDE = 160  # of a cell, in pixels
_GAP = 4


@torch.no_grad()
def sample_grid(
    generator: Generator, photos: Sequence[np.ndarray], decode: Decode, *, device: torch.device
) -> np.ndarray:
    """Colour the centre squares of photos.

    Args:
        generator: in evaluation mode.
        photos: H,W,3 uint8.
        decode: temperature, vividness, saturation and the network's size.

    Returns:
        H,W,3 uint8: a row a photo, columns gray, predicted, truth; white gaps.
    """
    rgb = torch.stack([_square(photo) for photo in photos]).to(device)
    lab = rgb_to_lab(rgb)
    lightness = lab[:, :1]
    size = (decode.size, decode.size)
    small = F.interpolate(lightness, size=size, mode="bilinear", antialias=True)
    ab = generator.predict(small, decode)
    ab = F.interpolate(ab, size=lightness.shape[-2:], mode="bilinear", align_corners=False)
    predicted = lab_to_rgb(fit_gamut(torch.cat((lightness, ab), dim=1)))
    gray = lightness_to_gray(lightness).expand_as(rgb)
    cells = torch.stack((gray, predicted, rgb), dim=1)  # B,3 cells,3,H,W
    cells = F.pad(cells, (_GAP, 0, _GAP, 0), value=1.0)
    grid = cells.permute(0, 3, 1, 4, 2)  # B,H,3 cells,W,3
    rows, height, columns, width, _ = grid.shape
    flat = grid.reshape(rows * height, columns * width, 3)
    return (flat * 255).round().clamp(0, 255).byte().cpu().numpy()


def save_picture(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG whole: H,W,3 uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    Image.fromarray(pixels).save(aside, format="PNG")
    aside.replace(path)


def _square(photo: np.ndarray) -> torch.Tensor:
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = np.ascontiguousarray(photo[top : top + side, left : left + side])
    rgb = torch.from_numpy(square).permute(2, 0, 1).unsqueeze(0).float() / 255
    return F.interpolate(rgb, size=(_SIDE, _SIDE), mode="bilinear", antialias=True)[0]
