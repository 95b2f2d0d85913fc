"""What hints, variants and confidence are worth: the tables and the plot of docs/inference.md.

    python tests/inference/measure_wishes.py hints photos/ --limit 100
    python tests/inference/measure_wishes.py variants photos/ --limit 100
    python tests/inference/measure_wishes.py confidence photos/ --limit 300 --plot reliability.png

Photos are color photos that the weights have not seen; their center squares, faithful decoding.
hints: AuC and PSNR with true colors at random points, beside Levin, Lischinski and Weiss 2004 with
the same points and no network; of a network that takes hints also what it makes of them without
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
class Seen:
    """A photo and what the network makes of it."""

    lab: np.ndarray
    """3,H,W"""
    guess: Prediction
    decode: DecodeConfig
    codes: np.ndarray
    """H,W, the gray photo"""
    colorizer: Colorizer


def photos(arguments: argparse.Namespace) -> Iterator[Seen]:
    colorizer = Colorizer.from_pretrained(arguments.checkpoint, device="cpu")
    decode = colorizer.resolve_decode(temperature=1.0, vividness=0.0, saturation=1.0)
    data = DataConfig(roots=tuple(arguments.photos), cache_size=176, max_photos=arguments.limit)
    for photo in load_photos(data, parts=ALL_SPLITS, keep_gray=True).photos:
        square = crop_photo(photo, "center", crop=176)
        rgb = torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float() / 255
        lab = rgb_to_lab(rgb)
        codes = (255 * lightness_to_gray(lab[:, :1])[0, 0]).round().byte().numpy()
        guess = colorizer.predict(codes, decode.input_size, features=True)
        yield Seen(lab[0].numpy(), guess, decode, codes, colorizer)


def figures(one: Seen, ab: np.ndarray) -> tuple[float, float]:
    """AuC and PSNR of colors at the photo's size."""
    lab = torch.from_numpy(one.lab)[None]
    rgb = lab_to_rgb_in_gamut(torch.cat((lab[:, :1], torch.from_numpy(ab)[None]), dim=1))
    error = metrics.ab_error(rgb_to_lab(rgb)[:, 1:], lab[:, 1:])
    return float(metrics.auc(error)), float(metrics.psnr(rgb, lab_to_rgb(lab)))


def enlarged(one: Seen, ab: np.ndarray) -> np.ndarray:
    return joint_bilateral_upsample(ab, one.guess.cell_lightness(), one.lab[0])


def places(number: int, count: int, side: int) -> np.ndarray:
    return np.random.default_rng(1000 + number).integers(3, side - 3, size=(count, 2))


def patch(one: Seen, y: int, x: int) -> tuple[slice, slice]:
    return slice(y - _PATCH, y + _PATCH + 1), slice(x - _PATCH, x + _PATCH + 1)


def hinted(one: Seen, points: np.ndarray) -> dict[str, np.ndarray]:
    """The network's colors with the truth at some points spread over them."""
    hints = []
    for y, x in points:
        a, b = one.lab[1:, *patch(one, y, x)].mean(axis=(1, 2)).tolist()
        hints.append(Hint((a, b), ((float(x), float(y)),)))
    guess, found = one.guess, {}
    if one.colorizer.backend.accepts_hints:
        guess = one.colorizer.predict(one.codes, one.decode.input_size, features=True, hints=hints)
        found["told, not spread"] = enlarged(one, guess.ab(one.decode).numpy())
    base = guess.ab(one.decode)
    share, wanted = rasterize(hints, one.codes.shape, (base.shape[1], base.shape[2]))
    return {"ours": enlarged(one, propagate_hints(guess, base, share, wanted)), **found}


def levin(one: Seen, points: np.ndarray, weights: sparse.csr_matrix) -> np.ndarray:
    """Levin et al. 2004: colors that vary only where L does, pinned at the points."""
    height, width = one.lab.shape[1:]
    pinned = np.zeros((height, width))
    colors = np.zeros((2, height, width))
    for y, x in points:
        where = patch(one, y, x)
        pinned[where] = 1
        colors[:, *where] = one.lab[1:, *where].mean(axis=(1, 2))[:, None, None]
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
    for number, one in enumerate(photos(arguments)):
        weights = levin_weights(one.lab[0])
        none = enlarged(one, one.guess.ab(one.decode).numpy())
        found.setdefault(("ours", 0), []).append(figures(one, none))
        for count in POINTS:
            points = places(number, count, min(one.lab.shape[1:]))
            ways = hinted(one, points) | {"Levin": levin(one, points, weights)}
            for name, ab in ways.items():
                found.setdefault((name, count), []).append(figures(one, ab))
    every = list(dict.fromkeys(name for name, _ in found))
    sys.stdout.write("points | " + " | ".join(f"{n}: AuC | PSNR" for n in every) + "\n")
    for count in (0, *POINTS):
        names = every if count else ["ours"]
        cells = [np.mean(found[name, count], axis=0) for name in names]
        sys.stdout.write(f"{count} | " + " | ".join(f"{a:.2f} | {p:.2f}" for a, p in cells) + "\n")


def measure_variants(arguments: argparse.Namespace) -> None:
    best: dict[int, list[float]] = {count: [] for count in COUNTS}
    apart: dict[int, list[float]] = {count: [] for count in COUNTS}
    for one in photos(arguments):
        versions = [g.ab(one.decode) for g in sample_variants(one.guess, max(COUNTS), one.decode)]
        scores = [figures(one, enlarged(one, ab.numpy()))[0] for ab in versions]
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
    hits, cells = np.zeros(len(levels)), 0
    by_confidence: list[tuple[np.ndarray, np.ndarray]] = []
    for one in photos(arguments):
        log_p = one.guess.log_probabilities()
        true = torch.from_numpy(one.lab[1:])[None]
        small = torch.nn.functional.adaptive_avg_pool2d(true, log_p.shape[1:])
        bins = metrics.nearest_bin(small)[0]
        p = log_p.exp().flatten(1)
        own = p.gather(0, bins.flatten()[None])
        above = torch.where(p > own, p, 0.0).sum(0).numpy()  # mass of the likelier classes
        # The class at which a level is reached counts by the part of it that is needed.
        part = (levels[:, None] - above[None]) / np.maximum(own[0].numpy(), 1e-12)
        hits += part.clip(0, 1).sum(1)
        cells += len(above)
        error = (one.guess.ab(one.decode) - small[0]).norm(dim=0).flatten().numpy()
        by_confidence.append((one.guess.confidence().flatten().numpy(), error))
    sys.stdout.write("probability held | share of cells whose true bin is within\n")
    for level, share in zip(levels, hits / cells, strict=True):
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
        plot(arguments.plot, levels, hits / cells, np.array(rows))


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
