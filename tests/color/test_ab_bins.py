"""The 313 bins: the published table, soft codes against brute force, weights and decoding."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pix2color.color import ab_bins, ab_bins_numpy
from pix2color.color.ab_bins import Prior, PriorEstimator, bin_centers, soft_encode
from pix2color.color.lab import rgb_to_lab

TABLE_SHA256 = "e74b520cf1929e90ad9f051db10931e8ac5d1534c6cedabd7bfeba7a78a96c89"


def pixels(*colors: tuple[float, float]) -> Tensor:
    """Colors in a row: 1,2,1,N."""
    return torch.tensor(colors).T.reshape(1, 2, 1, -1)


def true_ab(photo: np.ndarray) -> Tensor:
    """1,2,H,W of a photo."""
    return rgb_to_lab(torch.from_numpy(photo).movedim(-1, 0).unsqueeze(0))[:, 1:]


def brute_force(ab: Tensor, neighbors: int) -> tuple[Tensor, Tensor]:
    """Index and weight by all 313 distances, ties in the published order: B,K,H,W each."""
    points = bin_centers().double()
    colors = ab.double().permute(0, 2, 3, 1).reshape(-1, 1, 2)
    squared = (colors - points).square().sum(-1)
    index = squared.argsort(dim=1, stable=True)[:, :neighbors]
    weight = torch.exp(-squared.gather(1, index) / 50)
    weight = weight / weight.sum(1, keepdim=True)
    b, _, h, w = ab.shape
    return tuple(t.view(b, h, w, neighbors).permute(0, 3, 1, 2) for t in (index, weight))  # type: ignore[return-value]


# The table


def test_the_table_is_the_published_one() -> None:
    table = bin_centers().numpy()
    assert table.shape == (313, 2)
    assert table[0].tolist() == [-90, 50] and table[-1].tolist() == [100, 0]
    assert table[120].tolist() == [0, 0]
    assert table.sum(0).tolist() == [4910, 2090]
    assert hashlib.sha256(table.astype("<i2").tobytes()).hexdigest() == TABLE_SHA256


# Soft codes


@pytest.mark.parametrize("neighbors", [1, 5, 10])
def test_soft_code_equals_brute_force(neighbors: int, small_photos: list[np.ndarray]) -> None:
    generator = torch.Generator().manual_seed(neighbors)
    anywhere = torch.rand(1, 2, 60, 60, generator=generator) * 250 - 125
    for ab in (anywhere, true_ab(small_photos[0]), true_ab(small_photos[1])):
        code = soft_encode(ab, neighbors=neighbors)
        index, weight = brute_force(ab, neighbors)
        # In float32 two bins at all but equal distance may change places; their weights agree.
        same = (code.index == index).float().mean()
        assert float(same) > 0.9999
        torch.testing.assert_close(code.weight.double(), weight, rtol=0, atol=1e-4)


@pytest.mark.parametrize("neighbors", [1, 5, 10])
def test_ties_go_to_the_published_order(neighbors: int) -> None:
    """Multiples of 5 lie on a bin, between two or between four: their distances are exact."""
    side = torch.arange(-125.0, 126.0, 5.0)
    ab = torch.stack(torch.meshgrid(side, side, indexing="ij")).unsqueeze(0)
    code = soft_encode(ab, neighbors=neighbors)
    index, weight = brute_force(ab, neighbors)
    assert torch.equal(code.index, index)
    torch.testing.assert_close(code.weight.double(), weight, rtol=0, atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(
    a=st.floats(-400, 400, width=32),
    b=st.floats(-400, 400, width=32),
    neighbors=st.sampled_from([1, 5, 10]),
)
def test_a_soft_code_is_a_distribution_over_the_nearest(a: float, b: float, neighbors: int) -> None:
    code = soft_encode(pixels((a, b)), neighbors=neighbors)
    weight = code.weight.flatten()
    assert float(weight.sum()) == pytest.approx(1, abs=1e-5)
    assert bool((weight.diff() <= 0).all())  # nearest first
    assert len(set(code.index.flatten().tolist())) == neighbors
    dense = code.to_dense()
    assert dense.shape == (1, 313, 1, 1)
    assert float(dense.sum()) == pytest.approx(1, abs=1e-5)


def test_the_code_of_a_bin_itself() -> None:
    center, sides = 0.6488, 0.0878
    weights = soft_encode(pixels((0, 0)), neighbors=5).weight.flatten()
    np.testing.assert_allclose(weights, [center, *[sides] * 4], atol=1e-4)


def test_decoding_a_code_gives_the_color_back(small_photos: list[np.ndarray]) -> None:
    ab = true_ab(small_photos[2])
    for neighbors, most in ((1, 7.08), (5, 0.75), (10, 0.4)):
        dense = soft_encode(ab, neighbors=neighbors).to_dense()
        decoded = torch.einsum("bqhw,qc->bchw", dense, bin_centers())
        moderate = ab.norm(dim=1) < 40
        assert float((decoded - ab).norm(dim=1)[moderate].max()) < most


def test_nearest_is_the_hard_code(small_photos: list[np.ndarray]) -> None:
    ab = true_ab(small_photos[3])
    assert torch.equal(ab_bins.nearest_bin(ab), brute_force(ab, 1)[0][:, 0])


@pytest.mark.parametrize("neighbors", [1, 5, 10])
def test_numpy_encodes_as_torch(neighbors: int, small_photos: list[np.ndarray]) -> None:
    side = torch.arange(-125.0, 126.0, 5.0)
    grid = torch.stack(torch.meshgrid(side, side, indexing="ij")).unsqueeze(0)
    for ab in (grid, true_ab(small_photos[0])):
        code = soft_encode(ab, neighbors=neighbors)
        rows = ab[0].flatten(1).T.numpy()
        index, weight = ab_bins_numpy.soft_encode(rows, neighbors=neighbors)
        same = index == code.index[0].flatten(1).T.numpy()
        assert same.mean() > 0.9999
        np.testing.assert_allclose(weight, code.weight[0].flatten(1).T.numpy(), atol=1e-4)
        assert weight.dtype == np.float32
        nearest = ab_bins.nearest_bin(ab)[0].flatten().numpy()
        assert (ab_bins_numpy.nearest_bin(rows) == nearest).mean() > 0.9999


# Weights


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), mix=st.floats(0, 1))
def test_weights_average_to_one_under_the_prior(seed: int, mix: float) -> None:
    drawn = torch.rand(313, generator=torch.Generator().manual_seed(seed)).double() + 1e-6
    prior = drawn / drawn.sum()
    weights = ab_bins.rebalancing_weights(prior, lam=mix)
    assert float((prior * weights).sum()) == pytest.approx(1, abs=1e-9)
    expected = 1 / ((1 - mix) * prior + mix / 313)
    torch.testing.assert_close(weights / weights[0], expected / expected[0])


def test_weights_follow_the_published_formula() -> None:
    """Zhang's weights at lambda .5 for the shares .1181 and about 0: .1481 and 38 times that."""
    prior = torch.full((313,), 1e-12, dtype=torch.float64)
    prior[120] = 0.1181
    prior[0:100] = (1 - prior.sum()) / 100 + 1e-12
    weights = ab_bins.rebalancing_weights(prior / prior.sum(), lam=0.5)
    assert float(weights[312] / weights[120]) == pytest.approx(38.0, abs=0.05)


def test_no_rebalancing_at_lambda_one() -> None:
    weights = ab_bins.rebalancing_weights(Prior.load().probability, lam=1)
    torch.testing.assert_close(weights, torch.ones_like(weights))


# Prior


def test_a_counted_prior_is_the_mean_soft_code(
    small_photos: list[np.ndarray], tmp_path: Path
) -> None:
    counter = PriorEstimator()
    codes = []
    for photo in small_photos:
        ab = true_ab(photo)
        counter.update(ab)
        codes.append(soft_encode(ab, neighbors=10).to_dense().double().sum((0, 2, 3)))
    prior = counter.compute("four photos")
    count = sum(photo.shape[0] * photo.shape[1] for photo in small_photos)
    assert prior.pixels == count
    assert float(prior.probability.sum()) == pytest.approx(1, abs=1e-9)
    assert float(prior.probability.min()) > 0
    expected = torch.stack(codes).sum(0) / count
    torch.testing.assert_close(prior.probability, expected, rtol=0, atol=1e-6)

    prior.save(tmp_path / "prior.json")
    back = Prior.load(tmp_path / "prior.json")
    assert (back.pixels, back.source) == (prior.pixels, "four photos")
    torch.testing.assert_close(back.probability, prior.probability, rtol=1e-5, atol=0)


def test_a_prior_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no pixels"):
        PriorEstimator().compute("nothing")


def test_the_packaged_prior_is_a_distribution_with_gray_first() -> None:
    prior = Prior.load()
    assert prior.probability.shape == (313,)
    assert float(prior.probability.sum()) == pytest.approx(1, abs=1e-9)
    assert float(prior.probability.min()) > 0
    assert bin_centers()[prior.probability.argmax()].norm() <= 10


def test_shrinking_moves_a_prior_of_few_pixels_most() -> None:
    packaged = Prior.load()
    flat = torch.full((313,), 1 / 313, dtype=torch.float64)
    few = Prior(flat, 1000, "few").shrink_towards(packaged, pixels=1e6)
    many = Prior(flat, 10**9, "many").shrink_towards(packaged, pixels=1e6)
    torch.testing.assert_close(few.probability, packaged.probability, rtol=0, atol=1e-3)
    torch.testing.assert_close(many.probability, flat, rtol=0, atol=1e-3)
    half = Prior(flat, 10**6, "half").shrink_towards(packaged, pixels=1e6).probability
    torch.testing.assert_close(half, (flat + packaged.probability) / 2)
    assert float(half.sum()) == pytest.approx(1, abs=1e-9)


# Decoding


def two_modes() -> Tensor:
    """Logits of .6 at (0, 0) and .4 at (60, 40): 1,313,1,1."""
    logits = torch.full((1, 313, 1, 1), -1e4)
    points = bin_centers().tolist()
    logits[0, points.index([0, 0])] = math.log(0.6)
    logits[0, points.index([60, 40])] = math.log(0.4)
    return logits


@pytest.mark.parametrize(
    ("temperature", "ab"),
    [(1, (24, 16)), (0.58, (19.9, 13.3)), (0.38, (15.4, 10.2)), (0.14, (3.1, 2.1)), (0.01, (0, 0))],
)
def test_annealed_mean_of_the_published_example(
    temperature: float, ab: tuple[float, float]
) -> None:
    found = ab_bins.annealed_mean(two_modes(), temperature=temperature).flatten()
    np.testing.assert_allclose(found, ab, atol=0.06)


def test_annealed_mean_is_float32_inside_autocast() -> None:
    logits = torch.randn(1, 313, 4, 4, generator=torch.Generator().manual_seed(0)) * 4
    plain = ab_bins.annealed_mean(logits, temperature=0.38)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ab_bins.annealed_mean(logits, temperature=0.38)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, plain)


def test_vividness_takes_a_share_of_the_prior_away() -> None:
    log_prior = Prior.load().probability.log().float()
    logits = torch.randn(1, 313, 2, 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ab_bins.adjust_logits(logits, log_prior, 0.0), logits)
    found = ab_bins.adjust_logits(logits, log_prior, 0.5)
    torch.testing.assert_close(found, logits - 0.5 * log_prior.view(1, -1, 1, 1))
    # Logits that know no more than the prior say nothing once all of it is taken away.
    nothing = ab_bins.adjust_logits(log_prior.view(1, -1, 1, 1), log_prior, 1.0)
    torch.testing.assert_close(nothing.softmax(1), torch.full_like(nothing, 1 / 313))
