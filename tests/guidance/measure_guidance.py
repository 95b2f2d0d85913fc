"""Accuracy with hints, variants and confidence: the tables and the plot of docs/inference.md.

    python tests/guidance/measure_guidance.py hints photos/ --limit 100
    python tests/guidance/measure_guidance.py variants photos/ --limit 100
    python tests/guidance/measure_guidance.py confidence photos/ --limit 300 --plot reliability.png

Photos are color photos that the weights have not seen; their center squares, faithful decoding.
hints: AuC and PSNR with true colors at random points, beside Levin, Lischinski and Weiss 2004 with
the same points and no network; of a network that accepts hints also its own colors, without
spreading. variants: mean distance of the pairs, and the AuC of the best of N.
confidence: how often the true bin is among the classes that hold a given share of the probability.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from pix2color.color.ab_bins_numpy import nearest_bin
from pix2color.color.lab import (
    lab_to_rgb,
    lab_to_rgb_in_gamut,
    lightness_to_gray,
    rgb_to_lab,
)
from pix2color.config import DataConfig, DecodeConfig
from pix2color.data.dataset import ALL_SPLITS, load_photos
from pix2color.evaluation import metrics
from pix2color.evaluation.protocol import crop_photo
from pix2color.guidance.hints import Hint, rasterize
from pix2color.guidance.propagation import propagate_hints
from pix2color.guidance.variants import distance, sample_variants
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.prediction import Prediction
from pix2color.inference.upsample import joint_bilateral_upsample

POINTS = (1, 5, 10, 50)
COUNTS = (1, 2, 4, 8)
_PATCH = 1  # pixels around a point whose mean color is the hint


@dataclass(frozen=True)
class Sample:
    """A photo and its prediction."""

    lab: np.ndarray
    """3,H,W"""
    prediction: Prediction
    decode: DecodeConfig
    gray: np.ndarray
    """H,W, the gray photo"""
    colorizer: Colorizer


def photos(arguments: argparse.Namespace) -> Iterator[Sample]:
    colorizer = Colorizer.from_pretrained(arguments.checkpoint, device="cpu")
    decode = colorizer.resolve_decode(temperature=1.0, vividness=0.0, saturation=1.0)
    data = DataConfig(roots=tuple(arguments.photos), cache_size=176, max_photos=arguments.limit)
    for photo in load_photos(data, splits=ALL_SPLITS, keep_gray=True).photos:
        square = crop_photo(photo, "center", crop=176)
        rgb = torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float() / 255
        lab = rgb_to_lab(rgb)
        gray = (255 * lightness_to_gray(lab[:, :1])[0, 0]).round().byte().numpy()
        prediction = colorizer.predict(gray, decode.input_size, features=True)
        yield Sample(lab[0].numpy(), prediction, decode, gray, colorizer)


def figures(sample: Sample, ab: np.ndarray) -> tuple[float, float]:
    """AuC and PSNR of colors at the photo's size."""
    lab = torch.from_numpy(sample.lab)[None]
    rgb = lab_to_rgb_in_gamut(torch.cat((lab[:, :1], torch.from_numpy(ab)[None]), dim=1))
    error = metrics.ab_error(rgb_to_lab(rgb)[:, 1:], lab[:, 1:])
    return float(metrics.auc(error)), float(metrics.psnr(rgb, lab_to_rgb(lab)))


def upsampled(sample: Sample, ab: np.ndarray) -> np.ndarray:
    return joint_bilateral_upsample(ab, sample.prediction.cell_lightness(), sample.lab[0])


def places(number: int, count: int, side: int) -> np.ndarray:
    return np.random.default_rng(1000 + number).integers(3, side - 3, size=(count, 2))


def patch(sample: Sample, y: int, x: int) -> tuple[slice, slice]:
    return slice(y - _PATCH, y + _PATCH + 1), slice(x - _PATCH, x + _PATCH + 1)


def hinted(sample: Sample, points: np.ndarray) -> dict[str, np.ndarray]:
    """The network's colors with the truth at some points spread over them."""
    hints = []
    for y, x in points:
        a, b = sample.lab[1:, *patch(sample, y, x)].mean(axis=(1, 2)).tolist()
        hints.append(Hint((a, b), ((float(x), float(y)),)))
    prediction, rows = sample.prediction, {}
    if sample.colorizer.runtime.info.accepts_hints:
        prediction = sample.colorizer.predict(
            sample.gray, sample.decode.input_size, features=True, hints=hints
        )
        rows["not spread"] = upsampled(sample, prediction.ab(sample.decode))
    base = prediction.ab(sample.decode)
    coverage, hint_ab = rasterize(hints, sample.gray.shape, prediction.grid)
    spread = propagate_hints(prediction, base, coverage, hint_ab)
    return {"ours": upsampled(sample, spread), **rows}


def levin(sample: Sample, points: np.ndarray, weights: sparse.csr_matrix) -> np.ndarray:
    """Levin et al. 2004: colors that vary only where L does, pinned at the points."""
    height, width = sample.lab.shape[1:]
    pinned = np.zeros((height, width))
    colors = np.zeros((2, height, width))
    for y, x in points:
        where = patch(sample, y, x)
        pinned[where] = 1
        colors[:, *where] = sample.lab[1:, *where].mean(axis=(1, 2))[:, None, None]
    keep = sparse.diags(1 - pinned.ravel())
    matrix = (sparse.identity(height * width) - keep @ weights).tocsc()
    solved = [spsolve(matrix, (pinned * plane).ravel()) for plane in colors]
    return np.stack(solved).reshape(2, height, width).astype(np.float32)


def levin_weights(lightness: np.ndarray) -> sparse.csr_matrix:
    """Equation 2 of that paper: exp(-(Y(r) - Y(s))^2 / 2 var_r) over 3 x 3, rows summing to 1."""
    luma = lightness / 100
    height, width = luma.shape
    mean = ndimage.uniform_filter(luma, 3)
    variance = np.maximum(0.6 * (ndimage.uniform_filter(luma * luma, 3) - mean * mean), 2e-6)
    index = np.arange(height * width).reshape(height, width)
    ones, others, values = [], [], []
    for dy, dx in ((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)):
        here = (slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx)))
        there = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
        weight = np.exp(-((luma[here] - luma[there]) ** 2) / (2 * variance[here]))
        ones.append(index[here].ravel())
        others.append(index[there].ravel())
        values.append(weight.ravel())
    parts = (np.concatenate(ones), np.concatenate(others))
    matrix = sparse.coo_matrix((np.concatenate(values), parts), shape=(index.size, index.size))
    return (sparse.diags(1 / np.asarray(matrix.sum(1)).ravel()) @ matrix).tocsr()


def measure_hints(arguments: argparse.Namespace) -> None:
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for number, sample in enumerate(photos(arguments)):
        weights = levin_weights(sample.lab[0])
        none = upsampled(sample, sample.prediction.ab(sample.decode))
        found.setdefault(("ours", 0), []).append(figures(sample, none))
        for count in POINTS:
            points = places(number, count, min(sample.lab.shape[1:]))
            ways = hinted(sample, points) | {"Levin": levin(sample, points, weights)}
            for name, ab in ways.items():
                found.setdefault((name, count), []).append(figures(sample, ab))
    every = list(dict.fromkeys(name for name, _ in found))
    sys.stdout.write("points | " + " | ".join(f"{n}: AuC | PSNR" for n in every) + "\n")
    for count in (0, *POINTS):
        names = every if count else ["ours"]
        cells = [np.mean(found[name, count], axis=0) for name in names]
        sys.stdout.write(f"{count} | " + " | ".join(f"{a:.2f} | {p:.2f}" for a, p in cells) + "\n")


def measure_variants(arguments: argparse.Namespace) -> None:
    best: dict[int, list[float]] = {count: [] for count in COUNTS}
    apart: dict[int, list[float]] = {count: [] for count in COUNTS}
    for sample in photos(arguments):
        variants = sample_variants(sample.prediction, max(COUNTS), sample.decode)
        versions = [variant.ab(sample.decode) for variant in variants]
        scores = [figures(sample, upsampled(sample, ab))[0] for ab in versions]
        for count in COUNTS:
            best[count].append(max(scores[:count]))
            pairs = [distance(a, b) for i, a in enumerate(versions[:count]) for b in versions[:i]]
            apart[count].append(float(np.mean(pairs)) if pairs else 0.0)
    sys.stdout.write("variants | AuC of the best | mean distance of the pairs (ab)\n")
    for count in COUNTS:
        sys.stdout.write(f"{count} | {np.mean(best[count]):.2f} | {np.mean(apart[count]):.2f}\n")


def measure_confidence(arguments: argparse.Namespace) -> None:
    """Expected calibration: the share of cells whose true bin has at most a given rank mass."""
    levels = np.linspace(0.05, 0.95, 19)
    hits, count = np.zeros(len(levels)), 0
    by_confidence: list[tuple[np.ndarray, np.ndarray]] = []
    for sample in photos(arguments):
        log_p = sample.prediction.log_probabilities()
        true = torch.from_numpy(sample.lab[1:])[None]
        cells = torch.nn.functional.adaptive_avg_pool2d(true, log_p.shape[1:])[0].numpy()
        bins = nearest_bin(cells.reshape(2, -1).T)
        p = np.exp(log_p).reshape(len(log_p), -1)
        own = np.take_along_axis(p, bins[None], 0)
        above = np.where(p > own, p, 0).sum(0)  # mass of the likelier classes
        # The class at which a level is reached counts by the part of it that is needed.
        part = (levels[:, None] - above[None]) / np.maximum(own[0], 1e-12)
        hits += part.clip(0, 1).sum(1)
        count += len(above)
        error = np.hypot(*(sample.prediction.ab(sample.decode) - cells)).ravel()
        by_confidence.append((sample.prediction.confidence().ravel(), error))
    sys.stdout.write("probability held | share of cells whose true bin is within\n")
    for level, share in zip(levels, hits / count, strict=True):
        sys.stdout.write(f"{level:.2f} | {share:.3f}\n")
    sure, error = (np.concatenate(parts) for parts in zip(*by_confidence, strict=True))
    edges = np.quantile(sure, np.linspace(0, 1, 11))
    sys.stdout.write("confidence | mean error (ab)\n")
    rows = []
    for low, high in itertools.pairwise(edges):
        inside = (sure >= low) & (sure <= high)
        rows.append((sure[inside].mean(), error[inside].mean()))
        sys.stdout.write(f"{rows[-1][0]:.2f} | {rows[-1][1]:.2f}\n")
    if arguments.plot:
        plot(arguments.plot, levels, hits / count, np.array(rows))


def plot(path: Path, levels: np.ndarray, shares: np.ndarray, rows: np.ndarray) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6))
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    left.plot(levels, shares, "o-", markersize=3)
    left.set(xlabel="probability held by the likeliest classes", ylabel="true bin among them")
    right.plot(rows[:, 0], rows[:, 1], "o-", markersize=3)
    right.set(xlabel="confidence", ylabel="mean error (ab units)")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("hints", "variants", "confidence"))
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--checkpoint")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    measures = {
        "hints": measure_hints,
        "variants": measure_variants,
        "confidence": measure_confidence,
    }
    measures[arguments.what](arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
