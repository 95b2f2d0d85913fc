"""Metrics of the five failures that system B's authors saw in their own results.

1. Color bias, plausible but rarer colors are ignored: `rare_recall`, `js_divergence`.
2. Color deficiency, too dull or too uniform: the ratio of chroma, `spread_ratio`.
3. Inconsistent color inside one object: `intra_segment_excess_std`, and without the truth
   `flip_difference`.
4. Edge pollution, wrong colors at the border of the image or, in the slides of the same report, at
   contours inside it: `region_error_excess`.
5. Bleeding over the bounds of an object: `bleeding`, `edge_f1`.

The report shows images and no numbers, so these definitions are this project's. Arrays are numpy,
one photo at a time: L H,W and ab H,W,2 in Lab units. What depends on the truth alone is computed
once per photo (`TruthFeatures`). A metric that a photo does not allow (too small, no edges) is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pix2color.color import ab_bins
from pix2color.evaluation import metrics

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

RECALL_DISTANCE = 20.0
"""Largest error at which a pixel of a rare color counts as recalled, ab units."""
RARE_SHARE = 0.1
"""The rarest bins that hold this share of all pixels are the rare colors."""
MIN_SPREAD = 2.0
"""Spread of the true colors below which `spread_ratio` is undefined, ab units."""
NUM_SEGMENTS = 200
BORDER_SHARE = 0.05
"""Width of the image's border as a share of its shorter side."""
CONTOUR_RADIUS = 3
"""Pixels on each side of a contour of L."""
EDGE_STEP = 15.0
"""Least change of ab across two pixels that is a color edge, ab units."""
SIDE_OFFSETS = (3, 4, 5, 6)
"""Distances from an edge, in pixels, at which its two sides are sampled."""
EDGE_TOLERANCE = 2
"""Pixels by which an edge may be displaced."""


@dataclass(frozen=True)
class Edges:
    """Color edges of the truth and the pixels on their two sides."""

    mask: Mask
    """H,W: all edge pixels."""
    sides: tuple[tuple[Indices, Indices], tuple[Indices, Indices]]
    """Per side rows and columns, offsets x N, of N edge pixels far enough from the border."""
    step: Array
    """N,2: the true difference of the two sides' mean ab."""


@dataclass(frozen=True)
class TruthFeatures:
    """What the metrics need of one true photo."""

    segments: Indices
    """H,W: SLIC segments of the true picture, numbered from 0."""
    border: Mask
    contour: Mask
    edges: Edges


def truth_features_of(lightness: Tensor, true_ab: Tensor) -> list[TruthFeatures]:
    """`truth_features` of each photo of a batch: L B,1,H,W and ab B,2,H,W."""
    return [truth_features(*_numpy(*planes)) for planes in zip(lightness, true_ab, strict=True)]


def truth_features(lightness: Array, true_ab: Array) -> TruthFeatures:
    """What depends on the truth alone: L H,W and ab H,W,2 of one photo."""
    return TruthFeatures(
        segments=_segments(lightness, true_ab),
        border=_border(lightness.shape),
        contour=_contour(lightness),
        edges=color_edges(true_ab),
    )


def measure(
    truths: Sequence[TruthFeatures], ab: Tensor, true_ab: Tensor, bins: Tensor
) -> dict[str, Tensor]:
    """The metrics of each photo of a batch for `bootstrap.PerPhotoMetrics`.

    Args:
        truths: one per photo.
        ab, true_ab: B,2,H,W.
        bins: B,H,W, `metrics.nearest_bin` of the truth.

    Returns:
        name -> B; and per bin, B,313: within_20 (pixels with an error of at most RECALL_DISTANCE
        by true bin) and predicted (pixels by predicted bin).
    """
    zeros = torch.zeros(len(ab), ab_bins.COUNT, dtype=torch.float64)
    recalled = (metrics.ab_error(ab, true_ab) <= RECALL_DISTANCE).flatten(1).cpu().double()
    predicted = metrics.nearest_bin(ab).flatten(1).cpu()
    out = {
        "chroma": metrics.chroma(ab).flatten(1).sum(1),
        "chroma_true": metrics.chroma(true_ab).flatten(1).sum(1),
        "spread_ratio": spread_ratio(ab, true_ab),
        "within_20": zeros.scatter_add(1, bins.flatten(1).cpu(), recalled),
        "predicted": zeros.scatter_add(1, predicted, torch.ones_like(recalled)),
    }
    photos = [
        _measure_photo(truth, *_numpy(*planes))
        for truth, *planes in zip(truths, ab, true_ab, strict=True)
    ]
    return out | {name: torch.tensor([photo[name] for photo in photos]) for name in photos[0]}


# --- 1 and 2: which colors, and how much of them -------------------------------------------------


def rare_recall(recalled: Array, counts: Array) -> Array:
    """Percent of the pixels of rare true colors with an error of at most RECALL_DISTANCE.

    Args:
        recalled: ...,313, the pixels with such an error by true bin.
        counts: ...,313, all pixels by true bin.
    """
    rare = rare_bins(counts)
    pixels = (rare * counts).sum(-1)
    share = np.full(pixels.shape, np.nan)
    return 100 * np.divide((rare * recalled).sum(-1), pixels, out=share, where=pixels > 0)


def rare_bins(counts: Array) -> Mask:
    """The rarest bins that together hold RARE_SHARE of all pixels: ...,313."""
    share = counts / counts.sum(-1, keepdims=True)
    order = np.argsort(share, axis=-1, kind="stable")
    below = np.cumsum(np.take_along_axis(share, order, -1), -1) <= RARE_SHARE
    rare = np.zeros(counts.shape, dtype=np.bool_)
    np.put_along_axis(rare, order, below, -1)
    return rare


def js_divergence(predicted: Array, counts: Array) -> Array:
    """Jensen-Shannon divergence of two histograms over bins (...,313), in nats: 0 .. log 2."""
    p = predicted / predicted.sum(-1, keepdims=True)
    q = counts / counts.sum(-1, keepdims=True)
    middle = (p + q) / 2
    return (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2


def spread_ratio(ab: Tensor, true_ab: Tensor) -> Tensor:
    """sqrt(var a + var b) of a prediction over the truth's: B; NaN where the truth's is small."""
    spreads = [x.flatten(2).var(-1, correction=0).sum(1).sqrt() for x in (ab, true_ab)]
    ratio = spreads[0] / spreads[1].clamp_min(1e-9)
    return torch.where(spreads[1] > MIN_SPREAD, ratio, torch.nan)


# --- 3: consistency ------------------------------------------------------------------------------


def intra_segment_excess_std(segments: Indices, ab: Array, true_ab: Array) -> float:
    """Excess variation of color inside segments: the mean over segments of max(0, sd - true sd),
    sd = sqrt(var a + var b) in ab units."""
    excess = _segment_spread(segments, ab) - _segment_spread(segments, true_ab)
    return float(np.maximum(excess, 0).mean())


def flip_difference(ab: Tensor, mirrored: Tensor) -> Tensor:
    """Mean distance between the colors of a photo and those of its mirror image: B, ab units.

    It needs no truth: a mirrored object has the same color.

    Args:
        ab: B,2,H,W, of the photos.
        mirrored: B,2,H,W, of the same photos flipped left to right.
    """
    return metrics.ab_error(ab, mirrored.flip(-1)).flatten(1).mean(1)


# --- 4: pollution --------------------------------------------------------------------------------


def region_error_excess(region: Mask, ab: Array, true_ab: Array) -> float:
    """Mean error inside a region less the mean error outside, ab units; NaN if either is empty."""
    if not region.any() or region.all():
        return float("nan")
    error = np.linalg.norm(ab - true_ab, axis=-1)
    return float(error[region].mean() - error[~region].mean())


# --- 5: bleeding ---------------------------------------------------------------------------------


def color_edges(ab: Array) -> Edges:
    """Edges of ab H,W,2: pixels where it changes by more than EDGE_STEP across two pixels."""
    height, width = ab.shape[:2]
    strength, angle = _color_gradient(ab)
    mask = strength > EDGE_STEP
    margin = max(SIDE_OFFSETS)
    interior = np.zeros_like(mask)
    interior[margin : height - margin, margin : width - margin] = True
    y, x = np.nonzero(mask & interior)
    offsets = np.array(SIDE_OFFSETS)[:, None]
    dy, dx = np.sin(angle[y, x]), np.cos(angle[y, x])

    def side(sign: int) -> tuple[Indices, Indices]:
        rows, columns = y + sign * offsets * dy, x + sign * offsets * dx
        return np.rint(rows).astype(np.intp), np.rint(columns).astype(np.intp)

    sides = side(1), side(-1)
    difference = _side_difference(ab, sides)
    # A line thinner than the distance of the sides is an edge without two sides.
    keep = np.linalg.norm(difference, axis=-1) > EDGE_STEP / 2
    (rows, columns), (other_rows, other_columns) = sides
    kept = (rows[:, keep], columns[:, keep]), (other_rows[:, keep], other_columns[:, keep])
    return Edges(mask, kept, difference[keep])


def bleeding(edges: Edges, ab: Array) -> float:
    """Percent of the true contrast across color edges that a prediction loses.

    At each edge pixel 1 - (dc . dg) / |dg|^2, clipped to 0..1, where dg and dc are the true and the
    predicted difference of the mean colors 3 to 6 pixels away on both sides. NaN without edges.
    """
    if not len(edges.step):
        return float("nan")
    predicted = _side_difference(ab, edges.sides)
    ratio = (predicted * edges.step).sum(-1) / np.square(edges.step).sum(-1)
    return float(100 * np.clip(1 - ratio, 0, 1).mean())


def edge_f1(edges: Edges, ab: Array) -> float:
    """F1 in percent of a prediction's color edges against the true ones, displaced by at most
    EDGE_TOLERANCE pixels; NaN where the truth has no edge."""
    from scipy.ndimage import binary_dilation

    if not edges.mask.any():
        return float("nan")
    mask = _color_gradient(ab)[0] > EDGE_STEP
    window = np.ones((2 * EDGE_TOLERANCE + 1,) * 2, dtype=bool)
    precision = (mask & binary_dilation(edges.mask, window)).sum() / max(1, mask.sum())
    recall = (edges.mask & binary_dilation(mask, window)).sum() / edges.mask.sum()
    return float(200 * precision * recall / max(1e-9, precision + recall))


# --- parts ---------------------------------------------------------------------------------------


def _measure_photo(truth: TruthFeatures, ab: Array, true_ab: Array) -> dict[str, float]:
    return {
        "patchiness": intra_segment_excess_std(truth.segments, ab, true_ab),
        "border": region_error_excess(truth.border, ab, true_ab),
        "contour": region_error_excess(truth.contour, ab, true_ab),
        "bleeding": bleeding(truth.edges, ab),
        "edge_f1": edge_f1(truth.edges, ab),
    }


def _segments(lightness: Array, ab: Array) -> Indices:
    from skimage.segmentation import slic

    lab = np.concatenate((lightness[..., None], ab), axis=-1)
    labels = slic(lab, NUM_SEGMENTS, 10, convert2lab=False, start_label=0, channel_axis=-1)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def _border(shape: tuple[int, ...]) -> Mask:
    width = max(1, round(BORDER_SHARE * min(shape)))
    mask = np.ones(shape, dtype=bool)
    mask[width:-width, width:-width] = False
    return mask


def _contour(lightness: Array) -> Mask:
    from scipy.ndimage import binary_dilation
    from skimage.feature import canny

    edges = canny(lightness / 100, sigma=1.5)
    return binary_dilation(edges, np.ones((2 * CONTOUR_RADIUS + 1,) * 2, dtype=bool))


def _color_gradient(ab: Array) -> tuple[Array, Array]:
    """Size of the change across two pixels and its direction (radians), after Di Zenzo 1986."""
    padded = np.pad(ab, ((1, 1), (1, 1), (0, 0)), mode="edge")
    gx = padded[1:-1, 2:] - padded[1:-1, :-2]
    gy = padded[2:, 1:-1] - padded[:-2, 1:-1]
    xx, yy, xy = (gx * gx).sum(-1), (gy * gy).sum(-1), (gx * gy).sum(-1)
    largest = (xx + yy + np.sqrt((xx - yy) ** 2 + 4 * xy**2)) / 2
    return np.sqrt(largest), 0.5 * np.arctan2(2 * xy, xx - yy)


def _side_difference(
    ab: Array, sides: tuple[tuple[Indices, Indices], tuple[Indices, Indices]]
) -> Array:
    difference: Array = ab[sides[0]].mean(0) - ab[sides[1]].mean(0)
    return difference


def _segment_spread(segments: Indices, ab: Array) -> Array:
    """sqrt(var a + var b) in each segment."""
    index = segments.ravel()
    count = np.bincount(index)
    variance = np.zeros(len(count))
    for plane in np.moveaxis(ab, -1, 0):
        mean = np.bincount(index, plane.ravel()) / count
        variance += np.bincount(index, np.square(plane.ravel() - mean[index])) / count
    return np.sqrt(variance)


def _relative_entropy(p: Array, q: Array) -> Array:
    terms = np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / np.maximum(q, 1e-300)), 0.0)
    total: Array = terms.sum(-1)
    return total


def _numpy(*planes: Tensor) -> list[Array]:
    """C,H,W tensors as H,W,C float64 arrays, C = 1 dropped."""
    arrays = [plane.permute(1, 2, 0).cpu().double().numpy() for plane in planes]
    return [array[..., 0] if array.shape[-1] == 1 else array for array in arrays]
