"""The order of photos in shards: every photo in every epoch, by the number of the sample alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2color.data.shard_order import Draw, ShardOrder
from pix2color.data.source_weights import SourceWeights

PLACES = st.lists(st.integers(1, 9), min_size=1, max_size=12)
"""Photos per shard."""
SEEDS = st.integers(0, 2**31 - 1)


def make(
    counts: list[int], *, seed: int = 0, window: int = 3, weight: dict[str, float] | None = None
) -> ShardOrder:
    shards = np.repeat(np.arange(len(counts)), counts)
    weights = SourceWeights(weight or {}, [f"{shard}/{n}" for n, shard in enumerate(shards)])
    return ShardOrder(shards, weights, seed=seed, window=window)


def take(order: ShardOrder, first: int, size: int) -> list[Draw]:
    return [order[sample] for sample in range(first, first + size)]


@settings(deadline=None, max_examples=40)
@given(counts=PLACES, seed=SEEDS, window=st.integers(1, 15))
def test_every_photo_once_in_every_epoch(counts: list[int], seed: int, window: int) -> None:
    order, total = make(counts, seed=seed, window=window), sum(counts)
    for epoch in range(3):
        drawn = take(order, epoch * total, total)
        assert sorted(draw.photo for draw in drawn) == list(range(total))
        assert all(draw.epoch == epoch and draw.repeat == 0 for draw in drawn)


@settings(deadline=None, max_examples=40)
@given(counts=PLACES, seed=SEEDS, samples=st.lists(st.integers(0, 400), min_size=1, max_size=30))
def test_a_sample_does_not_depend_on_those_asked_for_before(
    counts: list[int], seed: int, samples: list[int]
) -> None:
    jumping = make(counts, seed=seed)
    for sample in samples:
        assert jumping[sample] == make(counts, seed=seed)[sample]


@settings(deadline=None, max_examples=40)
@given(counts=PLACES, window=st.integers(1, 6))
def test_a_window_holds_the_photos_of_its_shards_only(counts: list[int], window: int) -> None:
    shards = np.repeat(np.arange(len(counts)), counts)
    order = make(counts, window=window)
    drawn = [int(shards[draw.photo]) for draw in take(order, 0, len(shards))]
    seen: list[set[int]] = []
    while drawn:
        opened: set[int] = set()
        left = 0
        while left or (len(opened) < window and drawn):
            shard = drawn.pop(0)
            left += 0 if shard in opened else counts[shard]
            opened.add(shard)
            left -= 1
        seen.append(opened)
    assert sum(map(len, seen)) == len(counts)
    assert all(len(opened) <= window for opened in seen)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_the_batches_of_one(world: int) -> None:
    counts, size = [5, 3, 8, 1, 7], 8
    alone = take(make(counts), 0, 10 * size)
    ranks = [make(counts) for _ in range(world)]
    own = size // world
    for step in range(10):
        parts = [take(order, step * size + r * own, own) for r, order in enumerate(ranks)]
        assert [draw for part in parts for draw in part] == alone[step * size : (step + 1) * size]


@settings(deadline=None, max_examples=30)
@given(counts=PLACES, seed=SEEDS)
def test_draws_follow_the_weight_of_the_source(counts: list[int], seed: int) -> None:
    """3 is three draws in every epoch, 0.5 one draw in two epochs."""
    order = make([*counts, 4, 2], seed=seed, weight={f"{len(counts)}/": 3, "0/": 0.5})
    shards = np.repeat(np.arange(len(counts) + 2), [*counts, 4, 2])
    total = round(2 * (len(shards) + 2 * 4 - counts[0] / 2))
    drawn = take(order, 0, total)
    expected = dict.fromkeys(range(len(counts) + 2), 2) | {0: 1, len(counts): 6}
    of_photo = Counter(draw.photo for draw in drawn)
    assert of_photo == {photo: expected[int(shard)] for photo, shard in enumerate(shards)}
    assert len(set(drawn)) == total  # no draw twice: the repeats are numbered
    assert {draw.epoch for draw in drawn} <= {0, 1}
    assert take(order, total, 1)[0].epoch == 2


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    counts = [10] * 12
    orders = [
        [draw.photo for draw in take(make(counts, seed=seed), first, 120)]
        for seed, first in ((0, 0), (0, 120), (1, 0))
    ]
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(photo // 10 for photo in order) for order in orders}) == 3


def test_a_window_of_all_shards_mixes_all_photos() -> None:
    counts = [50] * 8
    drawn = [draw.photo // 50 for draw in take(make(counts, window=8), 0, 400)]
    assert all(len(set(drawn[i : i + 50])) == 8 for i in range(0, 400, 50))
