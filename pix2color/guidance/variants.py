"""Several plausible versions of one photo.

A variant leans towards some colors: a smooth random function over ab, weighed by how the
network's features look at each place, is added to the logits. Things that look alike lean alike, so
that a variant is coherent in space; near colors rise and fall together; and where the network is
sure, a lean changes nothing. Independent noise a pixel would give speckles instead.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pix2color.color import ab_bins
from pix2color.config import DecodeConfig
from pix2color.errors import Pix2ColorError
from pix2color.inference.prediction import Prediction

STRENGTH = 0.9
"""Standard deviation of a lean, in units of the logits."""
_WAVES = 24  # random waves over ab in a lean
_LENGTH = 50.0  # ab units over which colors lean together
_DIRECTIONS = 4  # of looks in which places can lean apart
_MIN_PROBABILITY = 0.5  # length of a place's looks below which it leans less
_DRAWS = 4  # variants drawn for each one wanted: the likeliest that differ are kept


def sample_variants(
    guess: Prediction, count: int, decode: DecodeConfig, *, seed: int = 0
) -> list[Prediction]:
    """The guess itself and further plausible ones, likeliest first.

    Args:
        guess: with classes and features.
        count: how many in all.
        decode: the settings at which they will be decoded: they are to differ then.
        seed: of the draws; the same seed gives the same variants.

    Raises:
        Pix2ColorError: the weights have no classes, or the count is below 1.
    """
    if count < 1:
        raise Pix2ColorError(f"the number of variants is at least 1, not {count}")
    if count == 1:
        return [guess]
    log_p = guess.log_probabilities()
    draw = torch.Generator().manual_seed(seed)
    drawn = [
        guess.with_logits(guess.raw + _logit_perturbation(guess, draw))
        for _ in range(_DRAWS * (count - 1))
    ]
    pictures = [one.ab(decode) for one in (guess, *drawn)]
    likely = [float(_log_likelihood(log_p, ab)) for ab in pictures]
    chosen = _select_diverse(pictures, likely, count)
    ranked = sorted(chosen[1:], key=lambda index: -likely[index])
    return [guess, *(drawn[index - 1] for index in ranked)]


def _logit_perturbation(guess: Prediction, draw: torch.Generator) -> Tensor:
    """313,h,w: what is added to the logits."""
    if guess.features is None:
        raise ValueError("variants need the guess's features")
    looks = _feature_pca(guess.features)  # F,h,w
    centers = ab_bins.bin_centers()
    wave = torch.randn(2, _WAVES, generator=draw) / _LENGTH
    phase = 2 * torch.pi * torch.rand(_WAVES, generator=draw)
    over_ab = torch.cos(centers @ wave + phase)  # 313,waves
    mix = torch.randn(_WAVES, looks.shape[0], generator=draw)
    over_place = torch.einsum("wf,fyx->wyx", mix, looks)
    lean = torch.einsum("kw,wyx->kyx", over_ab, over_place)
    return lean * (STRENGTH / lean.std().clamp_min(1e-6))


def _feature_pca(features: Tensor) -> Tensor:
    """The main directions in which the looks of a photo's places differ: D,h,w, of length 1.

    Few directions, so that a whole coat leans, and not every fold of it its own way.
    """
    centerd = features - features.mean(dim=(1, 2), keepdim=True)
    centerd = centerd / centerd.std(dim=(1, 2), keepdim=True).clamp_min(1e-6)
    smooth = torch.nn.functional.avg_pool2d(centerd[None], 9, 1, 4, count_include_pad=False)[0]
    flat = (smooth / smooth.norm(dim=0, keepdim=True).clamp_min(1e-6)).flatten(1)  # F,n
    flat = flat - flat.mean(dim=1, keepdim=True)
    spread, axes = torch.linalg.eigh(flat @ flat.T / flat.shape[1])
    main = axes[:, -_DIRECTIONS:].T @ flat / spread[-_DIRECTIONS:, None].clamp_min(1e-9).sqrt()
    looks = main.view(-1, *features.shape[1:])
    return looks / looks.norm(dim=0, keepdim=True).clamp_min(_MIN_PROBABILITY)


def _log_likelihood(log_p: Tensor, ab: Tensor) -> Tensor:
    """Mean log probability of a picture's colors under the guess itself."""
    index = ab_bins.nearest_bin(ab[None])[0]
    return log_p.gather(0, index[None]).mean()


def _select_diverse(pictures: list[Tensor], likely: list[float], count: int) -> list[int]:
    """The guess (0), then one after another the picture that is likely and unlike those chosen."""
    chosen = [0]
    scale = max(likely) - min(likely)
    while len(chosen) < count:
        best, found = -float("inf"), -1
        for index in range(1, len(pictures)):
            if index in chosen:
                continue
            apart = min(distance(pictures[index], pictures[other]) for other in chosen)
            score = apart + 8.0 * (likely[index] - min(likely)) / max(scale, 1e-6)
            if score > best:
                best, found = score, index
        chosen.append(found)
    return chosen


def distance(one: Tensor, other: Tensor) -> float:
    """Mean distance of two pictures' colors: 2,h,w each, ab units."""
    return float((one - other).norm(dim=0).mean())
