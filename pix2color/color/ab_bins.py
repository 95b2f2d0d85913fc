"""The 313 color bins: soft encoding, prior, rebalancing weights and decoding of class logits.

For torch, on any device; `ab_bins_numpy` holds the table and what inference needs. Colors are in
Lab units; tensors are B,C,H,W.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.color.ab_bins_numpy import BIN_CENTERS, COUNT, SIGMA
from pix2color.color.ab_bins_numpy import STEP as STEP
from pix2color.io import atomic_write

PRIOR_FILE = Path(__file__).parent / "prior.json"
_CELL = 2.0  # side of the squares for which nearby bins are tabulated, in Lab units
_EXTENT = 130.0  # the squares cover -130..130 in a and b


@functools.cache
def bin_centers(device: torch.device | str = "cpu") -> Tensor:
    """The bins' colors: 313,2 float32 (a, b) in the published order. Shared: do not change."""
    return torch.tensor(BIN_CENTERS, device=device)


@dataclass(frozen=True)
class SoftLabels:
    """The K bins that encode each pixel's color, and their weights.

    Kept as pairs because the dense form of one photo (313 planes) would be tens of megabytes.
    """

    index: Tensor
    """B,K,H,W int64, nearest bin first; ties in the published order."""
    weight: Tensor
    """B,K,H,W float32, sum 1 over K."""

    def to_dense(self) -> Tensor:
        """B,313,H,W float32: the same labels, a plane per bin."""
        b, _, h, w = self.index.shape
        return self.weight.new_zeros(b, COUNT, h, w).scatter_(1, self.index, self.weight)


def soft_encode(ab: Tensor, *, neighbors: int = 5) -> SoftLabels:
    """Spread each pixel over its nearest bins, weight exp(-d^2 / (2 SIGMA^2)), sum 1.

    Zhang et al. 2016, section 2.2, with K = 5 (the paper) or 10 (the released layers); 1 is a hard
    code. A table of the few bins that can be among the nearest of each small square of the ab
    plane keeps the cost at about 3 K distances a pixel, not 313.

    Args:
        ab: B,2,H,W in Lab units; what lies beyond +-130 is taken as +-130.
        neighbors: K, at most 313.
    """
    with torch.no_grad():
        table = _candidates(neighbors, str(ab.device))
        ab = ab.detach().float().clamp(-_EXTENT, _EXTENT - 1e-3)
        cell = ((ab + _EXTENT) / _CELL).long()
        near = table[cell[:, 0], cell[:, 1]]  # B,H,W,M
        points = bin_centers(str(ab.device))[near]  # B,H,W,M,2
        squared = (points - ab.permute(0, 2, 3, 1).unsqueeze(-2)).square().sum(-1)
        # Candidates are in the published order and the sort is stable: ties are reproducible.
        squared, order = squared.sort(dim=-1, stable=True)
        index = near.gather(-1, order[..., :neighbors])
        weight = torch.softmax(-squared[..., :neighbors] / (2 * SIGMA**2), dim=-1)
        return SoftLabels(index.movedim(-1, 1), weight.movedim(-1, 1))


def nearest_bin(ab: Tensor) -> Tensor:
    """The index of each pixel's nearest bin: B,2,H,W -> B,H,W int64."""
    return soft_encode(ab, neighbors=1).index[:, 0]


@functools.cache
def _candidates(neighbors: int, device: str) -> Tensor:
    """For each square of the ab plane, the bins that can be among the K nearest of a point in it.

    Returns 130,130,M int64 in ascending order, filled up with bins that are not: they are farther
    than the K nearest of every point of the square, so they never win.
    """
    half = _CELL / 2
    side = torch.arange(-_EXTENT + half, _EXTENT, _CELL)
    middle = torch.stack(torch.meshgrid(side, side, indexing="ij"), dim=-1)  # 130,130,2
    distance = torch.cdist(middle.view(-1, 2), bin_centers())  # N,313
    # No point of a square is farther than `reach` from its middle, so a bin whose distance exceeds
    # the K-th by more than twice that can never be among the K nearest.
    reach = half * 2**0.5 + 1e-3
    kth = distance.kthvalue(neighbors, dim=1, keepdim=True).values
    count = int((distance <= kth + 2 * reach).sum(1).max())
    nearest_first = distance.topk(count, dim=1, largest=False).indices
    return nearest_first.sort(dim=1).values.view(len(side), len(side), count).to(device)


# --- prior and weights ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Prior:
    """How often each bin occurs in a set of photos."""

    probability: Tensor
    """313 float64, sum 1, none below 1e-12."""
    pixels: int
    """Pixels it was counted over."""
    source: str
    """What those were, in words."""

    def save(self, path: Path) -> None:
        """Write as JSON."""
        tree = {
            "source": self.source,
            "pixels": self.pixels,
            "probability": [float(f"{p:.6g}") for p in self.probability.tolist()],
        }
        atomic_write(path, json.dumps(tree, indent=0) + "\n")

    @classmethod
    def load(cls, path: Path = PRIOR_FILE) -> Prior:
        """Read what `save` wrote; without a path, the prior packaged with pix2color."""
        tree = json.loads(path.read_text(encoding="utf-8"))
        values = torch.tensor(tree["probability"], dtype=torch.float64)
        return cls(values / values.sum(), tree["pixels"], tree["source"])

    def shrink_towards(self, towards: Prior, *, pixels: float = 1e6) -> Prior:
        """A mixture with another prior that counts as much as `pixels` pixels of this one.

        A prior of few photos has empty bins; their 1 / p would dominate the loss.
        """
        share = self.pixels / (self.pixels + pixels)
        mixed = share * self.probability + (1 - share) * towards.probability
        return Prior(mixed, self.pixels, f"{self.source}, shrunk towards {towards.source}")


class PriorEstimator:
    """Sums soft labels (K = 10) over batches; `compute` returns their mean."""

    def __init__(self) -> None:
        self._sum = torch.zeros(COUNT, dtype=torch.float64)
        self._pixels = 0

    def update(self, ab: Tensor) -> None:
        """Count the pixels of B,2,H,W."""
        code = soft_encode(ab, neighbors=10)
        share = torch.zeros(COUNT, dtype=torch.float64)  # on the CPU: not every device has float64
        share.scatter_add_(0, code.index.flatten().cpu(), code.weight.flatten().cpu().double())
        self._sum += share
        self._pixels += ab.shape[0] * ab.shape[2] * ab.shape[3]

    def compute(self, source: str) -> Prior:
        """The mean so far, floored at 1e-12 so that its logarithm exists."""
        if not self._pixels:
            raise ValueError("no pixels were counted")
        probability = (self._sum / self._pixels).clamp_min(1e-12)
        return Prior(probability / probability.sum(), self._pixels, source)


def rebalancing_weights(prior: Tensor, *, lam: float = 0.5) -> Tensor:
    """Class weights w = 1 / ((1 - lambda) p + lambda / Q), scaled so that sum(p w) = 1.

    Zhang et al. 2016, equation 4, whose lambda is `lam`: 1 gives w = 1, 0 gives 1 / p.

    Args:
        prior: 313, sum 1.

    Returns:
        313, the dtype of the prior.
    """
    weights = 1.0 / ((1.0 - lam) * prior + lam / prior.numel())
    return weights / (prior * weights).sum()


# --- decoding ------------------------------------------------------------------------------------


def adjust_logits(logits: Tensor, log_prior: Tensor, vividness: float) -> Tensor:
    """Post-hoc logit adjustment: logits - vividness * log p (Menon et al. 2021, equation 9).

    A network trained without rebalancing gives honest probabilities; taking away a share of the
    prior afterwards favors rare, vivid colors. 0 changes nothing.

    Args:
        logits: B,313,H,W.
        log_prior: 313.
    """
    if vividness == 0:
        return logits
    return logits - vividness * log_prior.to(logits).view(1, -1, 1, 1)


def annealed_mean(logits: Tensor, *, temperature: float) -> Tensor:
    """The mean color of softmax(logits / T): B,313,H,W -> B,2,H,W in Lab units, float32.

    Zhang et al. 2016, equation 5. T = 1 is the expectation, T -> 0 the mode. float32 even inside
    autocast: in bf16 the result would be off by up to 7 units.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        share = F.softmax(logits.float() / temperature, dim=1)
        return torch.einsum("bqhw,qc->bchw", share, bin_centers(str(logits.device)))
