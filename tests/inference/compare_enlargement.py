"""Bilinear against edge-aware enlargement: the tables of docs/inference.md.

    python tests/inference/compare_enlargement.py
    python tests/inference/compare_enlargement.py --megapixels 2.5 --predicted photos/*.jpg

True ab (of scikit-image's color photos, or of photos named) is averaged over a network's cells and
enlarged again; with --predicted the packaged network's ab take the truth's place in the cells.
Edge error: mean distance in ab within a cell of the 5 % strongest color edges. Bleeding: contrast
leaked across color edges (evaluation.failures). --megapixels enlarges photos that are smaller.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from scipy import ndimage

from pix2color.checkpoints import checkpoint
from pix2color.color.lab import rgb_to_lab
from pix2color.evaluation import failure_metrics
from pix2color.inference import preprocess, upsample

SIDES = (48, 96, 192)


def resized(plane: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(image.resize((size[1], size[0]), how))


def predicted(
    full: np.ndarray, seen: tuple[int, int], network: checkpoint.Checkpoint
) -> np.ndarray:
    """2,h,w: the network's colors in its cells."""
    small = torch.from_numpy(resized(full, seen, Image.Resampling.LANCZOS).copy())
    generator, decode = network.generator, network.decode
    with torch.inference_mode():
        raw = generator.predict_raw(small.clamp(0, 100)[None, None])
        settings = {"temperature": decode.temperature, "vividness": decode.vividness}
        return generator.head.to_ab(raw, **settings)[0].numpy()


def measure(photo: np.ndarray, side: int, network: checkpoint.Checkpoint | None) -> list[float]:
    """AuC, edge error and bleeding, bilinear then edge-aware."""
    lab = rgb_to_lab(torch.from_numpy(photo.copy()).permute(2, 0, 1)).numpy()
    full, ab = lab[0].shape, lab[1:]
    seen = preprocess.network_size(*full, side)
    grid = (-(-seen[0] // 4), -(-seen[1] // 4))
    middle = preprocess.guide_size(*full, side)
    if network is None:
        cells = np.stack([resized(p, grid, Image.Resampling.BOX) for p in ab])
    else:
        cells = predicted(lab[0], seen, network)[:, : grid[0], : grid[1]]
    guide = resized(lab[0], middle, Image.Resampling.HAMMING)
    edges = upsample.joint_bilateral_upsample(
        cells, resized(lab[0], grid, Image.Resampling.BOX), guide
    )
    slope = sum(ndimage.gaussian_gradient_magnitude(p, 1.5) ** 2 for p in ab) ** 0.5
    far = ndimage.distance_transform_edt(slope <= np.percentile(slope, 95))
    near = far <= max(2, full[0] / grid[0])
    true_edges = failure_metrics.color_edges(ab.transpose(1, 2, 0))
    figures = []
    for planes in (cells, edges):
        up = np.stack([resized(p, full, Image.Resampling.BILINEAR) for p in planes])
        distance = np.linalg.norm(up - ab, axis=0)
        figures += [
            100 * (1 - np.minimum(distance, 150).mean() / 150),
            distance[near].mean(),
            failure_metrics.bleeding(true_edges, up.transpose(1, 2, 0)),
        ]
    return figures


def photos(named: list[Path], megapixels: float) -> Iterator[np.ndarray]:
    if named:
        found = [np.asarray(Image.open(path).convert("RGB")) for path in named]
    else:
        found = [getattr(skimage.data, n)() for n in ("astronaut", "coffee", "chelsea", "rocket")]
        found.append(skimage.data.stereo_motorcycle()[0])
    for photo in found:
        scale = (megapixels * 1e6 / (photo.shape[0] * photo.shape[1])) ** 0.5
        if scale <= 1:
            yield photo
            continue
        size = (round(scale * photo.shape[1]), round(scale * photo.shape[0]))
        yield np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--megapixels", type=float, default=0.0, help="enlarge smaller photos")
    parser.add_argument("--predicted", action="store_true", help="the packaged network's colors")
    arguments = parser.parse_args()
    network = checkpoint.load() if arguments.predicted else None
    sides = (network.decode.input_size,) if network else SIDES
    everything = list(photos(arguments.photos, arguments.megapixels))
    sys.stdout.write(f"{len(everything)} photos, bilinear > edge-aware\n")
    sys.stdout.write("network side | AuC | error at color edges | contrast leaked (%)\n")
    for side in sides:
        found = np.nanmean([measure(p, side, network) for p in everything], axis=0)
        pairs = [f"{a:.2f} > {b:.2f}" for a, b in zip(found[:3], found[3:], strict=True)]
        sys.stdout.write(f"{side} | {' | '.join(pairs)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
