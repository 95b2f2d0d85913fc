"""Colors of skin: how far a method changes them, by the tone of the true skin.

For portraits and face crops: skin is searched in the middle of the photo only, where a face crop
shows the face. A pixel is skin by the chrominance of the true photo (Chai and Ngan 1999: Cb 77 to
127, Cr 133 to 173 in BT.601), whatever its lightness; rules with a least value of R, such as that
of Kovac et al. 2003, leave out most of dark skin.

The tone is the individual typology angle (Chardon et al. 1991), ITA = atan2(L - 50, b) in degrees,
of the mean color of the skin pixels, in the six classes of Del Bino and Bernerd 2013. It is that of
the skin as photographed: light and exposure change it. A colorizer keeps L, so its ITA differs by b
alone: less b moves the ITA away from 0, so light skin becomes lighter by this scale and dark skin
darker.

The groups by tone are chosen by b, too, which is to be predicted: skin in the outer groups has
little b, so a prediction of likely colors has too much there (regression to the mean). L is known
to the network, so the groups by L have no such effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pix2color.evaluation import metrics
from pix2color.evaluation.groups import Grouping

CB_RANGE, CR_RANGE = (77.0, 127.0), (133.0, 173.0)
"""Chrominance of skin on the 8-bit scale of BT.601, both ends included."""
MIN_SHARE = 0.1
"""Least share of skin pixels in the middle of a photo; with fewer, a photo has no figures."""
TONES = ("dark", "brown", "tan", "intermediate", "light", "very light")
TONE_EDGES = (-30.0, 10.0, 28.0, 41.0, 55.0)
"""ITA above which each tone after the first begins, degrees."""
LIGHTNESS_EDGES = (35.0, 45.0, 55.0, 65.0, 75.0)
"""Mean L of the skin above which each group after the first begins."""
NO_SKIN = "no skin found"
EXPLANATION = (
    "Skin: the pixels in the middle half of the true photo with"
    f" {CB_RANGE[0]:g} <= Cb <= {CB_RANGE[1]:g} and {CR_RANGE[0]:g} <= Cr <= {CR_RANGE[1]:g} (Chai"
    f" and Ngan 1999); photos with a share of them below {MIN_SHARE:g} have no figures. Dull skin"
    " has a high AuC by any method; the mean distance in ab over that of gray (error / gray's) can"
    " be compared between groups. Chroma, hue (negative: redder, positive: yellower) and ITA are of"
    " each photo's mean skin color, averaged over photos. ITA = atan2(L - 50, b) in degrees"
    " (Chardon et al. 1991; tones of Del Bino and Bernerd 2013) is that of the photo, its light"
    " included. L is kept, so a method changes the ITA by b alone: grayer light skin has a higher"
    " ITA, grayer dark skin a lower one. The outer groups by tone are chosen for little b, so"
    " likely colors have too much chroma there; groups by lightness have no such effect."
)
"""How to read the figures, for reports."""
_MIN_CHROMA = 1.0  # of a mean color, Lab units: grayer colors have no hue


def skin_mask(rgb: Tensor) -> Tensor:
    """The skin pixels in the middle (half of the height and width) of true photos.

    Args:
        rgb: B,3,H,W in 0..1.

    Returns:
        B,H,W bool; empty for a photo with a share of skin below MIN_SHARE.
    """
    red, green, blue = rgb.float().unbind(1)
    cb = 128.0 - 37.797 * red - 74.203 * green + 112.0 * blue
    cr = 128.0 + 112.0 * red - 93.786 * green - 18.214 * blue
    inside = torch.zeros_like(red, dtype=torch.bool)
    height, width = red.shape[-2:]
    inside[:, height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    mask = inside & _within(cb, CB_RANGE) & _within(cr, CR_RANGE)
    enough = mask.flatten(1).sum(1) >= MIN_SHARE * inside.flatten(1).sum(1)
    return mask & enough[:, None, None]


def measure(mask: Tensor, lightness: Tensor, ab: Tensor, true_ab: Tensor) -> dict[str, Tensor]:
    """The figures of each photo of a batch for `bootstrap.PerPhotoMetrics`.

    Args:
        mask: B,H,W bool from `skin_mask`.
        lightness: B,1,H,W, the true L.
        ab, true_ab: B,2,H,W.

    Returns:
        name -> B float64, NaN without skin. skin_auc (percent), skin_chroma (mean chroma); of the
        mean colors skin_lightness (L) and skin_ita (degrees); predicted minus true:
        skin_chroma_error, skin_hue_error (degrees; negative is redder, positive yellower) and
        skin_ita_error (degrees).
    """
    error = metrics.ab_error(ab, true_ab).clamp_max(metrics.AUC_LIMIT)
    chroma, true_chroma = (_mean(metrics.chroma(colors), mask) for colors in (ab, true_ab))
    light = _mean(lightness[:, 0], mask)
    mean, true_mean = (
        torch.stack([_mean(plane, mask) for plane in colors.unbind(1)]) for colors in (ab, true_ab)
    )
    tone, true_tone = (ita(light, b) for b in (mean[1], true_mean[1]))
    hue = _wrapped(_hue(mean) - _hue(true_mean))
    return {
        "skin_auc": 100.0 * (1.0 - _mean(error, mask) / metrics.AUC_LIMIT),
        "skin_chroma": chroma,
        "skin_chroma_error": chroma - true_chroma,
        "skin_hue_error": hue,
        "skin_lightness": light,
        "skin_ita": tone,
        "skin_ita_error": _wrapped(tone - true_tone),
    }


def ita(lightness: Tensor, b: Tensor) -> Tensor:
    """Individual typology angle in degrees: above 90 where b is negative, bluer than any skin."""
    return torch.rad2deg(torch.atan2(lightness - 50.0, b))


def groupings(truth: Mapping[str, npt.NDArray[np.float64]]) -> list[Grouping]:
    """Photos by the lightness and by the tone of their true skin, darkest first.

    A value that equals an edge belongs to the darker group.

    Args:
        truth: the values of `measure` of the true photos; NaN: photos without skin.
    """
    tones = [f"{tone} (ITA {span})" for tone, span in zip(TONES, _spans(TONE_EDGES), strict=True)]
    bands = [f"L {span}" for span in _spans(LIGHTNESS_EDGES)]
    return [
        Grouping(by, _between(truth[name], edges, names))
        for by, name, edges, names in (
            ("lightness of the true skin", "skin_lightness", LIGHTNESS_EDGES, bands),
            ("tone of the true skin", "skin_ita", TONE_EDGES, tones),
        )
    ]


def _spans(edges: Sequence[float]) -> list[str]:
    between = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"up to {edges[0]:g}", *between, f"above {edges[-1]:g}"]


def _between(
    values: npt.NDArray[np.float64], edges: Sequence[float], names: Sequence[str]
) -> dict[str, list[int]]:
    """Name -> indices of the values between two edges; empty groups are left out."""
    found, kind = np.isfinite(values), np.searchsorted(edges, values, side="left")
    groups = {name: np.flatnonzero(found & (kind == i)) for i, name in enumerate(names)}
    groups[NO_SKIN] = np.flatnonzero(~found)
    return {name: chosen.tolist() for name, chosen in groups.items() if len(chosen)}


def _within(values: Tensor, bounds: tuple[float, float]) -> Tensor:
    return (values >= bounds[0]) & (values <= bounds[1])


def _mean(planes: Tensor, mask: Tensor) -> Tensor:
    """Mean over the pixels of the mask: B,H,W -> B float64; NaN where the mask is empty."""
    kept = torch.where(mask, planes.float(), 0.0).flatten(1).sum(1).cpu().double()
    return kept / mask.flatten(1).sum(1).cpu().double()


def _hue(ab: Tensor) -> Tensor:
    """2,B mean colors -> B degrees, NaN where they are gray."""
    hue = torch.rad2deg(torch.atan2(ab[1], ab[0]))
    return torch.where(torch.hypot(*ab) < _MIN_CHROMA, torch.nan, hue)


def _wrapped(degrees: Tensor) -> Tensor:
    """A difference of angles in -180..180."""
    return (degrees + 180.0) % 360.0 - 180.0
