"""The metrics of one photo, for batches of tensors on any device, in float32.

Shapes: rgb B,3,H,W in 0..1; ab B,2,H,W in Lab units; results B unless stated, percentages 0..100.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.color import ab_bins

AUC_LIMIT = 150.0
"""Distances in ab beyond this count as this (Zhang et al. 2016), Lab units."""
PSNR_CAP = 100.0
"""Identical images have an infinite PSNR, and one of them would make the mean infinite."""
BIN_SHARE = 1e-5
"""The rebalanced AuC averages the bins that hold at least this share of the pixels."""
SSIM_WINDOW = "11x11 Gaussian of sigma 1.5, K1 0.01, K2 0.03, mean over R, G and B"
_SSIM_RADIUS = 5
_SSIM_SIGMA = 1.5
_GRID_EXTENT = 130  # of the table of nearest bins, Lab units


def ab_error(ab: Tensor, true_ab: Tensor) -> Tensor:
    """Euclidean distance of the colors of each pixel: B,H,W in Lab units."""
    return torch.hypot(*(ab.float() - true_ab.float()).unbind(1))


def chroma(ab: Tensor) -> Tensor:
    """B,2,H,W -> B,H,W in Lab units."""
    return torch.hypot(*ab.float().unbind(1))


def auc(error: Tensor) -> Tensor:
    """Area under the cumulative histogram of distances up to 150, in percent of the whole.

    C(t) is the share of pixels with an error of at most t; (1/150) times its integral over 0..150
    is 1 - mean(min(error, 150)) / 150 exactly, with no sampling of thresholds.

    Args:
        error: B,H,W, of `ab_error`.
    """
    return 100.0 * (1.0 - _mean(error.clamp_max(AUC_LIMIT)) / AUC_LIMIT)


def nearest_bin(ab: Tensor) -> Tensor:
    """`ab_bins.nearest` seven times as fast: B,2,H,W -> B,H,W int64.

    The bins are points of a grid, so a color's nearest grid point is its nearest bin wherever
    that point is a bin; only the rest, near the border of the set, needs a search.
    """
    cell = (ab.detach().float() / ab_bins.STEP).round().long()
    reach = _GRID_EXTENT // ab_bins.STEP
    cell = cell.clamp(-reach, reach) + reach
    index = _grid_table(str(ab.device))[cell[:, 0], cell[:, 1]]
    missing = index < 0
    if bool(missing.any()):
        rest = ab.movedim(1, 0)[:, missing].unsqueeze(1).unsqueeze(0)  # 1,2,1,N
        index[missing] = ab_bins.nearest_bin(rest)[0, 0]
    return index


def per_bin_auc_sums(error: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """Sums per photo, which give the rebalanced AuC of any set of photos.

    Args:
        error: B,H,W, of `ab_error`.
        bins: B,H,W int64, `nearest_bin` of the true colors.

    Returns:
        scores: B,313 float64, the sum of max(0, 1 - error / 150) over the pixels of each bin.
        counts: B,313 float64, the pixels of each bin.
    Both are on the CPU, as everything in float64: not every device has it.
    """
    score = (1.0 - error.clamp_max(AUC_LIMIT) / AUC_LIMIT).flatten(1).cpu().double()
    index = bins.flatten(1).cpu()
    zeros = torch.zeros(len(error), ab_bins.COUNT, dtype=torch.float64)
    counts = zeros.scatter_add(1, index, torch.ones_like(score))
    return zeros.scatter_add(1, index, score), counts


def auc_rebalanced(scores: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The macro average: each bin's own AuC, averaged over the bins that occur.

    Pixels are pooled over the whole set by the nearest bin of their true color. It is Zhang's
    rebalanced AuC (weights 1 / p) under the distribution of the set: it needs no prior.

    Args:
        scores: ...,313, the sums of `per_bin_auc_sums` over photos.
        counts: ...,313, likewise.

    Returns:
        The AuC in percent (...) and how many bins hold at least BIN_SHARE of the pixels (...).
    """
    occurs = (counts >= BIN_SHARE * counts.sum(-1, keepdim=True)) & (counts > 0)
    per_bin = torch.where(occurs, scores / counts.clamp_min(1.0), 0.0)
    bins = occurs.sum(-1)
    return 100.0 * per_bin.sum(-1) / bins.clamp_min(1), bins


def auc_weighted(scores: Tensor, counts: Tensor, weights: Tensor) -> Tensor:
    """AuC with each pixel weighted by its true bin: ...,313 sums and 313 weights -> percent."""
    weights = weights.to(scores)
    return 100.0 * (scores * weights).sum(-1) / (counts * weights).sum(-1)


def psnr(rgb: Tensor, true_rgb: Tensor) -> Tensor:
    """PSNR of R, G and B together, peak 1, in dB, at most PSNR_CAP."""
    return _decibels(_mean((rgb.float() - true_rgb.float()).square()))


def psnr_lab(ab: Tensor, true_ab: Tensor) -> Tensor:
    """PSNR of Lab scaled to 0..1 with the exact L included, in dB, at most PSNR_CAP.

    L / 100 and (ab + 128) / 255: the likeliest reading of the 34 dB that system A reported without
    naming the channels. It is about 5 dB above the PSNR of RGB.
    """
    squared = ((ab.float() - true_ab.float()) / 255.0).square().sum(1) / 3.0
    return _decibels(_mean(squared))


def ssim_reference(true_rgb: Tensor) -> Tensor | None:
    """The truth's part of `ssim`, which many images share; None below 11 pixels per side.

    B,6,h,w: local means and variances of R, G and B.
    """
    if min(true_rgb.shape[-2:]) <= 2 * _SSIM_RADIUS:
        return None
    mean, mean_square = _blur(torch.cat((true_rgb, true_rgb.square()), dim=1)).split(3, dim=1)
    return torch.cat((mean, mean_square - mean.square()), dim=1)


def ssim(rgb: Tensor, true_rgb: Tensor, reference: Tensor | None = None) -> Tensor:
    """Structural similarity (Wang et al. 2004) with SSIM_WINDOW: B in -1..1.

    Borders where the window does not fit are left out, as in the original. L is the true one, so
    even a gray image scores high. NaN below 11 pixels per side.

    Args:
        rgb, true_rgb: B,3,H,W.
        reference: `ssim_reference(true_rgb)`, if already computed.
    """
    x, y = rgb.float(), true_rgb.float()
    reference = ssim_reference(y) if reference is None else reference
    if reference is None:
        return torch.full((len(x),), math.nan, dtype=torch.float64)
    mean_y, variance_y = reference.split(3, dim=1)
    mean_x, xx, xy = _blur(torch.cat((x, x * x, x * y), dim=1)).split(3, dim=1)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + variance_y + c2)
    return _mean(luminance * structure)


def colorfulness(rgb: Tensor) -> Tensor:
    """CF of Hasler & Suesstrunk 2003 on 0..255: 0 none, 15 slight, 33 moderate, 59 quite, 82 high.

    rg = R - G and yb = (R + G) / 2 - B with their signs;
    CF = sqrt(var rg + var yb) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2).
    """
    r, g, b = (255.0 * rgb.float()).flatten(2).unbind(1)
    opponents = torch.stack((r - g, (r + g) / 2 - b), dim=1)
    spread, center = _spread_and_center(opponents)
    return spread + 0.3 * center


def colorfulness_lab(ab: Tensor) -> Tensor:
    """M(1) of Hasler & Suesstrunk 2003 in Lab: sqrt(var a + var b) + 0.37 |mean (a, b)|."""
    spread, center = _spread_and_center(ab.float().flatten(2))
    return spread + 0.37 * center


def _spread_and_center(planes: Tensor) -> tuple[Tensor, Tensor]:
    """B,2,N -> the root of the summed variances and the norm of the mean: two B float64."""
    variance, mean = torch.var_mean(planes, dim=-1, correction=0)
    variance, mean = variance.cpu().double(), mean.cpu().double()
    return variance.sum(1).sqrt(), mean.square().sum(1).sqrt()


def _mean(planes: Tensor) -> Tensor:
    """Mean over all but the batch: B float64. torch's pairwise float32 sums are exact enough."""
    return planes.flatten(1).mean(1).cpu().double()


def _decibels(mean_squared: Tensor) -> Tensor:
    return (-10.0 * mean_squared.clamp_min(1e-30).log10()).clamp_max(PSNR_CAP)


def _blur(planes: Tensor) -> Tensor:
    """Gaussian blur without borders, a separable convolution of each channel."""
    offsets = torch.arange(-_SSIM_RADIUS, _SSIM_RADIUS + 1, device=planes.device).float()
    kernel = torch.exp(-offsets.square() / (2 * _SSIM_SIGMA**2))
    kernel = kernel / kernel.sum()
    channels = planes.shape[1]
    planes = planes.contiguous(memory_format=torch.channels_last)  # three times as fast on a CPU
    across = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    down = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    return F.conv2d(F.conv2d(planes, across, groups=channels), down, groups=channels)


@functools.cache
def _grid_table(device: str) -> Tensor:
    """27,27 int64: the bin at each point (a, b) of the grid from -130 to 130, -1 where none is."""
    reach = _GRID_EXTENT // ab_bins.STEP
    table = torch.full((2 * reach + 1, 2 * reach + 1), -1)
    cell = (ab_bins.bin_centers() / ab_bins.STEP).round().long() + reach
    table[cell[:, 0], cell[:, 1]] = torch.arange(ab_bins.COUNT)
    return table.to(device)
