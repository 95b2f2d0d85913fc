"""Several plausible versions of one photo.

A variant prefers some colors: a smooth random function over ab, weighted by the network's features
at each place, is added to the logits. Places that look alike prefer the same colors, so that a
variant is coherent in space; near colors rise and fall together; and where the network is sure, a
preference changes nothing. Independent noise per pixel would give speckles instead.
"""

from __future__ import annotations

import numpy as np

from pix2color.color import ab_bins_numpy
from pix2color.config import DecodeConfig
from pix2color.errors import Pix2ColorError
from pix2color.inference.filters import box_mean
from pix2color.inference.prediction import Floats, Prediction

STRENGTH = 0.9
"""Standard deviation of a perturbation, in units of the logits."""
_WAVES = 24  # random waves over ab in a perturbation
_WAVELENGTH = 50.0  # ab units over which colors rise and fall together
_COMPONENTS = 4  # principal components of the features: directions in which places can differ
_SMOOTHING = 9  # cells over which features are averaged
_MIN_NORM = 0.5  # of a place's components, below which its perturbation is weaker
_DRAWS = 4  # variants drawn per variant wanted: the likeliest that differ are kept
_LIKELIHOOD_WEIGHT = 8.0  # ab units that the most against the least likely variant is worth


def sample_variants(
    prediction: Prediction, count: int, decode: DecodeConfig, *, seed: int = 0
) -> list[Prediction]:
    """The prediction itself and further plausible ones, likeliest first.

    Args:
        prediction: with classes and features.
        count: how many in all.
        decode: the settings at which they will be decoded: they are to differ then.
        seed: of the draws; the same seed gives the same variants.

    Raises:
        Pix2ColorError: the weights have no classes, or the count is below 1.
    """
    if count < 1:
        raise Pix2ColorError(f"the number of variants is at least 1, not {count}")
    if count == 1:
        return [prediction]
    log_p = prediction.log_probabilities()
    random = np.random.default_rng(seed)
    candidates = [
        prediction,
        *(
            prediction.with_logits(prediction.values + _logit_perturbation(prediction, random))
            for _ in range(_DRAWS * (count - 1))
        ),
    ]
    colors = [candidate.ab(decode) for candidate in candidates]
    likelihoods = [_log_likelihood(log_p, ab) for ab in colors]
    first, *others = _select_diverse(colors, likelihoods, count)
    others.sort(key=lambda index: -likelihoods[index])
    return [candidates[index] for index in (first, *others)]


def _logit_perturbation(prediction: Prediction, random: np.random.Generator) -> Floats:
    """313,h,w: what is added to the logits."""
    if prediction.features is None:
        raise ValueError("variants need the prediction's features")
    components = _feature_pca(prediction.features)  # D,h,w
    wave = random.standard_normal((2, _WAVES), np.float32) / np.float32(_WAVELENGTH)
    phase = 2 * np.pi * random.random(_WAVES, np.float32)
    over_ab = np.cos(ab_bins_numpy.BIN_CENTERS @ wave + phase).astype(np.float32)  # 313,waves
    mix = random.standard_normal((_WAVES, len(components)), np.float32)
    perturbation = np.tensordot(over_ab @ mix, components, 1)
    return perturbation * np.float32(STRENGTH / max(float(perturbation.std()), 1e-6))


def _feature_pca(features: Floats) -> Floats:
    """The main directions in which a photo's places differ: D,h,w, of length at most 1.

    Few directions, so that a whole coat is perturbed in one way, and not each of its folds.
    """
    features = features - features.mean(axis=(1, 2), keepdims=True)
    features /= np.maximum(features.std(axis=(1, 2), keepdims=True), 1e-6)
    inside = box_mean(np.ones(features.shape[1:], np.float32), _SMOOTHING, outside="zero")
    smooth = box_mean(features, _SMOOTHING, outside="zero") / inside
    flat = smooth.reshape(len(features), -1)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=0), 1e-6)
    flat -= flat.mean(axis=1, keepdims=True)
    variance, axes = np.linalg.eigh(flat @ flat.T / flat.shape[1])
    scale = np.sqrt(np.maximum(variance[-_COMPONENTS:, None], 1e-9))
    components = (axes[:, -_COMPONENTS:].T @ flat / scale).reshape(-1, *features.shape[1:])
    return components / np.maximum(np.linalg.norm(components, axis=0), _MIN_NORM)


def _log_likelihood(log_p: Floats, ab: Floats) -> float:
    """Mean log probability of a version's colors under the prediction itself."""
    index = ab_bins_numpy.nearest_bin(ab.reshape(2, -1).T)
    return float(log_p.reshape(len(log_p), -1)[index, np.arange(len(index))].mean())


def _select_diverse(colors: list[Floats], likelihoods: list[float], count: int) -> list[int]:
    """The prediction (0), then one by one the version that is likely and unlike those chosen."""
    chosen = [0]
    least = min(likelihoods)
    span = max(max(likelihoods) - least, 1e-6)

    def score(index: int) -> float:
        nearest = min(distance(colors[index], colors[other]) for other in chosen)
        return nearest + _LIKELIHOOD_WEIGHT * (likelihoods[index] - least) / span

    while len(chosen) < count:
        chosen.append(max((i for i in range(len(colors)) if i not in chosen), key=score))
    return chosen


def distance(ab: Floats, other: Floats) -> float:
    """Mean distance of the colors of two versions: 2,h,w each, in ab units."""
    return float(np.hypot(*(ab - other)).mean())
