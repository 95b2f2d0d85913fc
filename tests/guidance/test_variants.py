"""Several plausible versions of one photo."""

from __future__ import annotations

import numpy as np

from pix2color.guidance.variants import distance, sample_variants
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.prediction import Prediction


def test_variants_differ_where_the_network_is_unsure(
    prediction: Prediction, colorizer: Colorizer
) -> None:
    decode = colorizer.decode
    variants = sample_variants(prediction, 4, decode)
    assert len(variants) == 4 and variants[0] is prediction
    colors = [one.ab(decode) for one in variants]
    pairs = [distance(a, b) for i, a in enumerate(colors) for b in colors[:i]]
    assert min(pairs) > 1
    apart = np.mean([np.hypot(*(ab - colors[0])) for ab in colors[1:]], axis=0)
    sure = prediction.confidence()
    middle = np.median(sure)
    assert float(apart[sure < middle].mean()) > 1.3 * float(apart[sure >= middle].mean())
    again = [one.ab(decode) for one in sample_variants(prediction, 4, decode)]
    assert all(np.array_equal(a, b) for a, b in zip(colors, again, strict=True))


def test_variants_are_coherent_in_space(prediction: Prediction, colorizer: Colorizer) -> None:
    """Neighbors differ no more in a variant than they do in the prediction, by much."""
    first, *others = (
        one.ab(colorizer.decode) for one in sample_variants(prediction, 4, colorizer.decode)
    )

    def roughness(ab: np.ndarray) -> float:
        return float(sum(np.hypot(*np.diff(ab, axis=axis)).mean() for axis in (1, 2)))

    assert max(roughness(ab) for ab in others) < 2 * roughness(first)
