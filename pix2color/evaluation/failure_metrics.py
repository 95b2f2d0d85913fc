"""Measures of the five failures that system B's authors saw in their own results.

1. Color bias: plausible but rarer colors are ignored: `rare_recall`, `divergence`.
2. Color deficiency: too dull or too uniform: `chroma`, `spread`.
3. Inconsistent color inside one thing: `patchiness`, and without the truth `flip_difference`.
4. Edge pollution: wrong colors round the picture's border (`border`), or, as the same report's
   slides have it, round contours inside it (`contour`).
5. Bleeding over an object's bounds: `bleeding`, `edge_f1`.

Each is of our own choosing: the report shows pictures, no numbers. Arrays here are numpy, one photo
at a time: L H,W and ab H,W,2 in Lab units. What depends on the truth alone is taken once a photo
(`Guide`) and serves every row. What cannot be measured on a photo (too small, no edges) is NaN.
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

WITHIN = 20.0
"""A rare color counts as found within this distance, ab units."""
RARE_SHARE = 0.1
"""The rarest bins that hold this share of all pixels are the rare colors."""
LEAST_SPREAD = 2.0
"""Photos whose true colors spread less than this say nothing about spread, ab units."""
SEGMENTS = 200
BORDER_SHARE = 0.05
"""Width of the picture's border as a share of its shorter side."""
CONTOUR_REACH = 3
"""Pixels on each side of a contour of L."""
EDGE_STEP = 15.0
"""A change of ab across two pixels that is an edge of color, ab units."""
SIDE_OFFSETS = (3, 4, 5, 6)
"""Pixels from an edge at which its two sides are read."""
EDGE_TOLERANCE = 2
"""Pixels by which an edge may be displaced."""


@dataclass(frozen=True)
class Edges:
    """Places where the true colors step, and where their two sides are read."""

    mask: Mask
    """H,W: all pixels at an edge."""
    one_side: tuple[Indices, Indices]
    """Rows and columns, offsets x N, N edge pixels far enough from the border."""
    other_side: tuple[Indices, Indices]
    step: Array
    """N,2: the true difference of the two sides' mean ab."""


@dataclass(frozen=True)
class TruthFeatures:
    """What the measures need of one true photo."""

    segments: Indices
    """H,W: SLIC segments of the true picture, numbered from 0."""
    border: Mask
    contour: Mask
    edges: Edges


def truth_features_of(lightness: Tensor, true_ab: Tensor) -> list[TruthFeatures]:
    """A guide a photo: L B,1,H,W and ab B,2,H,W."""
    return [truth_features(*_numpy(one, ab)) for one, ab in zip(lightness, true_ab, strict=True)]


def truth_features(lightness: Array, true_ab: Array) -> TruthFeatures:
    """The guide of one photo: L H,W and ab H,W,2."""
    return TruthFeatures(
        segments=_segments(lightness, true_ab),
        border=_border(lightness.shape),
        contour=_contour(lightness),
        edges=color_edges(true_ab),
    )


def measure(
    photo_guides: Sequence[TruthFeatures], ab: Tensor, true_ab: Tensor, bins: Tensor
) -> dict[str, Tensor]:
    """Every photo's measures for `samples.Samples`.

    Args:
        photo_guides: a photo, of the truth.
        ab, true_ab: B,2,H,W.
        bins: B,H,W, `metrics.nearest_bin` of the truth.

    Returns:
        name -> B, and near, predicted: B,313 (pixels found within NEAR by true bin; pixels by
        predicted bin).
    """
    error = metrics.ab_error(ab, true_ab)
    ones = torch.zeros(len(ab), ab_bins.COUNT, dtype=torch.float64)
    found = (error <= WITHIN).flatten(1).cpu().double()
    predicted = metrics.nearest_bin(ab).flatten(1).cpu()
    out = {
        "chroma": metrics.chroma(ab).flatten(1).sum(1),
        "chroma_true": metrics.chroma(true_ab).flatten(1).sum(1),
        "spread_ratio": spread_ratio(ab, true_ab),
        "near": ones.scatter_add(1, bins.flatten(1).cpu(), found),
        "predicted": ones.scatter_add(1, predicted, torch.ones_like(found)),
    }
    rows = [
        _measure_one(one, *(_numpy(*pair)))
        for one, *pair in zip(photo_guides, ab, true_ab, strict=True)
    ]
    return out | {key: torch.tensor([row[key] for row in rows]) for key in rows[0]}


# --- 1 and 2: which colors, and how much of them -------------------------------------------------


def rare_recall(near: Array, counts: Array, *, prior: Array | None = None) -> Array:
    """Percent of the pixels of rare true colors that got a color within NEAR of theirs.

    Args:
        near: ...,313 pixels found, by true bin.
        counts: ...,313 pixels, by true bin.
        prior: 313; which bins are rare; None: the photos' own distribution.
    """
    rare = rare_bins(counts if prior is None else prior + 0 * counts)
    pixels = (rare * counts).sum(-1)
    found = (rare * near).sum(-1)
    return 100 * np.divide(found, pixels, out=np.full(pixels.shape, np.nan), where=pixels > 0)


def rare_bins(counts: Array) -> Mask:
    """Which bins are the rarest that together hold RARE_SHARE of all pixels: ...,313."""
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
    return torch.where(spreads[1] > LEAST_SPREAD, ratio, torch.nan)


# --- 3: consistency ------------------------------------------------------------------------------


def intra_segment_excess_std(segments: Indices, ab: Array, true_ab: Array) -> float:
    """How much more the colors vary inside a segment than they should: the mean over segments of
    max(0, sd - true sd), sd = sqrt(var a + var b) in ab units."""
    excess = _segment_spread(segments, ab) - _segment_spread(segments, true_ab)
    return float(np.maximum(excess, 0).mean())


def flip_difference(ab: Tensor, mirrored: Tensor) -> Tensor:
    """Mean distance between the colors of a photo and those of its mirror image: B, ab units.

    Needs no truth: things do not change their color when they are mirrored.

    Args:
        ab: B,2,H,W, of the photos.
        mirrored: B,2,H,W, of the same photos flipped left to right.
    """
    return metrics.ab_error(ab, mirrored.flip(-1)).flatten(1).mean(1)


# --- 4: pollution --------------------------------------------------------------------------------


def region_error_excess(where: Mask, ab: Array, true_ab: Array) -> float:
    """Mean error on a mask less the mean error elsewhere, ab units; NaN if either is empty."""
    if not where.any() or where.all():
        return float("nan")
    error = np.linalg.norm(ab - true_ab, axis=-1)
    return float(error[where].mean() - error[~where].mean())


# --- 5: bleeding ---------------------------------------------------------------------------------


def color_edges(ab: Array, *, step: float = EDGE_STEP) -> Edges:
    """Edges of ab H,W,2: where it changes by more than `step` across two pixels."""
    height, width = ab.shape[:2]
    strength, angle = _color_gradient(ab)
    mask = strength > step
    reach = max(SIDE_OFFSETS)
    inside = np.zeros_like(mask)
    inside[reach : height - reach, reach : width - reach] = True
    y, x = np.nonzero(mask & inside)
    offsets = np.array(SIDE_OFFSETS)[:, None]
    dy, dx = np.sin(angle[y, x]), np.cos(angle[y, x])
    sides = [
        (
            np.rint(y + sign * offsets * dy).astype(np.intp),
            np.rint(x + sign * offsets * dx).astype(np.intp),
        )
        for sign in (1, -1)
    ]
    difference = _side_difference(ab, *sides)
    # A line thinner than the sides' distance has an edge but no two sides.
    keep = np.linalg.norm(difference, axis=-1) > step / 2
    one, other = (tuple(index[:, keep] for index in side) for side in sides)
    return Edges(mask, one, other, difference[keep])


def bleeding(edges: Edges, ab: Array) -> float:
    """Percent of the true contrast across color edges that a prediction loses: 0 keeps it all.

    At each edge pixel 1 - (dc . dg) / |dg|^2, clipped to 0..1, where dg and dc are the true and the
    predicted difference of the mean colors 3 to 6 pixels away on both sides. NaN without edges.
    """
    if not len(edges.step):
        return float("nan")
    predicted = _side_difference(ab, edges.one_side, edges.other_side)
    kept = (predicted * edges.step).sum(-1) / np.square(edges.step).sum(-1)
    return float(100 * np.clip(1 - kept, 0, 1).mean())


def edge_f1(edges: Edges, ab: Array) -> float:
    """F1, in percent, of a prediction's color edges against the true ones, displaced by at most
    EDGE_TOLERANCE pixels; NaN where the truth has none."""
    from scipy.ndimage import binary_dilation

    if not edges.mask.any():
        return float("nan")
    mask = _color_gradient(ab)[0] > EDGE_STEP
    window = np.ones((2 * EDGE_TOLERANCE + 1,) * 2, dtype=bool)
    right = (mask & binary_dilation(edges.mask, window)).sum() / max(1, mask.sum())
    found = (edges.mask & binary_dilation(mask, window)).sum() / edges.mask.sum()
    return float(200 * right * found / max(1e-9, right + found))


# --- parts ---------------------------------------------------------------------------------------


def _measure_one(one: TruthFeatures, ab: Array, true_ab: Array) -> dict[str, float]:
    return {
        "patchiness": intra_segment_excess_std(one.segments, ab, true_ab),
        "border": region_error_excess(one.border, ab, true_ab),
        "contour": region_error_excess(one.contour, ab, true_ab),
        "bleeding": bleeding(one.edges, ab),
        "edge_f1": edge_f1(one.edges, ab),
    }


def _segments(lightness: Array, ab: Array) -> Indices:
    from skimage.segmentation import slic

    lab = np.concatenate((lightness[..., None], ab), axis=-1)
    labels = slic(
        lab, n_segments=SEGMENTS, compactness=10, convert2lab=False, start_label=0, channel_axis=-1
    )
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def _border(shape: tuple[int, ...]) -> Mask:
    wide = max(1, round(BORDER_SHARE * min(shape)))
    mask = np.ones(shape, dtype=bool)
    mask[wide:-wide, wide:-wide] = False
    return mask


def _contour(lightness: Array) -> Mask:
    from scipy.ndimage import binary_dilation
    from skimage.feature import canny

    edges = canny(lightness / 100, sigma=1.5)
    return binary_dilation(edges, np.ones((2 * CONTOUR_REACH + 1,) * 2, dtype=bool))


def _color_gradient(ab: Array) -> tuple[Array, Array]:
    """Size of the change across two pixels and its direction (radians), after Di Zenzo 1986."""
    padded = np.pad(ab, ((1, 1), (1, 1), (0, 0)), mode="edge")
    gx = padded[1:-1, 2:] - padded[1:-1, :-2]
    gy = padded[2:, 1:-1] - padded[:-2, 1:-1]
    xx, yy, xy = (gx * gx).sum(-1), (gy * gy).sum(-1), (gx * gy).sum(-1)
    largest = (xx + yy + np.sqrt((xx - yy) ** 2 + 4 * xy**2)) / 2
    return np.sqrt(largest), 0.5 * np.arctan2(2 * xy, xx - yy)


def _side_difference(
    ab: Array, one: tuple[Indices, Indices], other: tuple[Indices, Indices]
) -> Array:
    difference: Array = ab[one].mean(0) - ab[other].mean(0)
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
