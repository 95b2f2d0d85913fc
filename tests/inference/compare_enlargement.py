"""Bilinear against edge-aware enlargement of true colours: the table of docs/colouring.md.

    python tests/inference/compare_enlargement.py

The true ab of scikit-image's colour photos is averaged over a network's cells and enlarged again.
Edge error: mean distance in ab within a cell of the 5 % strongest colour edges.
"""

from __future__ import annotations

import sys

import numpy as np
import skimage.data
import torch
from PIL import Image
from scipy import ndimage

from pix2color import color
from pix2color.inference import enlarge, lightness


def resized(plane: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(image.resize((size[1], size[0]), how))


def measure(photo: np.ndarray, side: int) -> list[float]:
    """AuC and edge error, bilinear then edge-aware."""
    lab = color.rgb_to_lab(torch.from_numpy(photo.copy()).permute(2, 0, 1)).numpy()
    full, ab = lab[0].shape, lab[1:]
    seen = lightness.network_size(*full, side)
    grid = (seen[0] // 4, seen[1] // 4)
    middle = lightness.guide_size(*full, side)
    cells = np.stack([resized(p, grid, Image.Resampling.BOX) for p in ab])
    guide = resized(lab[0], middle, Image.Resampling.LANCZOS)
    edges = enlarge.edge_aware(cells, resized(lab[0], grid, Image.Resampling.BOX), guide)
    slope = sum(ndimage.gaussian_gradient_magnitude(p, 1.5) ** 2 for p in ab) ** 0.5
    far = ndimage.distance_transform_edt(slope <= np.percentile(slope, 95))
    near = far <= max(2, full[0] / grid[0])
    figures = []
    for planes in (cells, edges):
        up = np.stack([resized(p, full, Image.Resampling.BILINEAR) for p in planes])
        distance = np.linalg.norm(up - ab, axis=0)
        figures += [100 * (1 - np.minimum(distance, 150).mean() / 150), distance[near].mean()]
    return figures


def main() -> int:
    names = ("astronaut", "coffee", "chelsea", "rocket")
    photos = [getattr(skimage.data, name)() for name in names]
    photos.append(skimage.data.stereo_motorcycle()[0])
    sys.stdout.write("network side | AuC bilinear | edge-aware | error bilinear | edge-aware\n")
    for side in (48, 96, 192):
        auc, error, auc_edges, error_edges = np.mean([measure(p, side) for p in photos], axis=0)
        row = f"{side} | {auc:.2f} | {auc_edges:.2f} | {error:.2f} | {error_edges:.2f}\n"
        sys.stdout.write(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
