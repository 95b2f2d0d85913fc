"""Photos of indexed shards: the same ones as in RAM, by number, for any number of processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shard_files import add_index, colors, encoded, index_path, made_once, pack

from pix2color import config
from pix2color.data.dataset import ALL_SPLITS, Split, load_photos
from pix2color.data.indexed import IndexedSource, has_indexes, select_photos
from pix2color.errors import DataError

GRAY = encoded(Image.new("L", (20, 20), 90))


def settings(*roots: Path, **options: object) -> config.DataConfig:
    values = {
        "roots": [str(root) for root in roots],
        "cache_size": 16,
        "cache": "none",
        "decode_threads": 0,
        "shuffle_shards": 2,
        "read_ahead": 4,
        "split": {"train": 0.6, "val": 0.3, "test": 0.1},
    }
    return config.DataConfig.model_validate(values | options)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Five shards of 14 photos, one of them twice, with a gray and a broken one; indexed."""
    return made_once(tmp_path / "shards", _write_shards)


def _write_shards(folder: Path) -> None:
    for shard in range(5):
        photos = [(f"{shard}/{n:02}.png", colors(100 * shard + n)) for n in range(14)]
        if shard == 3:
            photos += [("again.png", colors(0)), ("gray.png", GRAY), ("torn.jpg", b"\xff\xd8 torn")]
        pack(folder / f"train-{shard}.tar", photos)
    add_index(*folder.glob("*.tar"))


def make(data: config.DataConfig, *, seed: int = 0, world: int = 1) -> IndexedSource:
    return IndexedSource(select_photos(data, splits=["train"]), data, seed=seed, world=world)


def pixels(source: IndexedSource, first: int, size: int) -> list[bytes]:
    return [photo.numpy().tobytes() for photo in source.load(first, size)[0]]


@pytest.mark.parametrize("splits", [("train",), ("val",), ("train", "test"), ALL_SPLITS])
def test_the_photos_and_counts_are_those_of_the_cache(
    shards: Path, splits: tuple[Split, ...]
) -> None:
    data = settings(shards)
    photos, expected = select_photos(data, splits=splits), load_photos(data, splits=splits)
    assert sorted(photos.digests) == expected.digests
    assert (photos.counts, photos.digest) == (expected.counts, expected.digest)
    found = photos.read_first(len(photos), data)
    for own, other in zip(found, expected.photos, strict=True):
        np.testing.assert_array_equal(own, other)


def test_settings_change_without_another_index(shards: Path) -> None:
    for options in (
        {"min_chroma": 0},
        {"min_chroma": 25},
        {"max_photos": 7},
        {"split": {"train": 0.2, "val": 0.2, "test": 0.6}},
        {"max_corrupt_fraction": 0.5},
    ):
        data = settings(shards, **options)
        photos, expected = (find(data, splits=["train"]) for find in (select_photos, load_photos))
        assert sorted(photos.digests) == expected.digests
        assert photos.counts == expected.counts


def test_every_photo_once_in_every_epoch(shards: Path) -> None:
    data = settings(shards)
    expected = sorted(p.tobytes() for p in load_photos(data, splits=["train"]).photos)
    source, count = make(data), len(expected)
    epochs = [pixels(source, epoch * count, count) for epoch in range(3)]
    assert all(sorted(epoch) == expected for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("threads", [0, 3])
def test_processes_share_what_one_would_see(shards: Path, world: int, threads: int) -> None:
    size = 8 // world
    alone = make(settings(shards))
    ranks = [make(settings(shards, decode_threads=threads), world=world) for _ in range(world)]
    for step in range(12):
        photos, crops = alone.load(step * 8, 8)
        parts = [ranks[rank].load(step * 8 + rank * size, size) for rank in range(world)]
        assert torch.equal(torch.cat([part for part, _ in parts]), photos)
        assert sum((part.seeds for _, part in parts), ()) == crops.seeds
        assert torch.equal(torch.cat([part.top for _, part in parts]), crops.top)


@pytest.mark.parametrize("threads", [0, 3])
def test_resuming_is_knowing_one_number(shards: Path, threads: int) -> None:
    data = settings(shards, decode_threads=threads)
    running = make(data)
    seen = [running.load(first, 5) for first in range(0, 150, 5)]
    for number in (29, 8, 9, 0):
        photos, crops = make(data).load(5 * number, 5)
        assert torch.equal(photos, seen[number][0]) and crops.seeds == seen[number][1].seeds
        photos, crops = running.load(5 * number, 5)  # after a wrong guess of what comes next
        assert torch.equal(photos, seen[number][0]) and crops.seeds == seen[number][1].seeds


def test_where_the_shards_lie_changes_nothing(shards: Path) -> None:
    expected = pixels(make(settings(shards)), 0, 20)
    moved = shards.rename(shards.with_name("elsewhere"))
    paths = sorted(moved.glob("*.tar"))
    for roots in ([moved], paths, paths[::-1]):
        assert pixels(make(settings(*roots)), 0, 20) == expected
    assert pixels(make(settings(moved), seed=1), 0, 20) != expected


def test_sources_are_drawn_by_weight(shards: Path) -> None:
    data = settings(shards, source_weights={f"{shards.name}/train-1": 3.0})
    source = make(data)
    photos = source.photos
    of_shard = Counter(photos.shard_of(i).name for i in range(len(photos)))
    total = len(source.photos) + 2 * of_shard["train-1.tar"]
    expected = {
        photos.decode(i, photos.read(i), 16).tobytes(): 3
        if photos.shard_of(i).name == "train-1.tar"
        else 1
        for i in range(len(photos))
    }
    for epoch in range(2):
        assert Counter(pixels(source, epoch * total, total)) == expected
    with pytest.raises(DataError, match="did you mean"):
        make(settings(shards, source_weights={"elsewhere/": 2.0}))


def test_few_photos_are_not_split_and_that_is_said(tmp_path: Path) -> None:
    pack(tmp_path / "s.tar", [(f"{n}.png", colors(n)) for n in range(6)])
    add_index(tmp_path / "s.tar")
    lines: list[str] = []
    photos = select_photos(settings(tmp_path), splits=["val"], announce=lines.append)
    assert len(photos) == 6 and photos.unsplit and "6 photos are too few to split" in lines[0]


def test_an_empty_split_is_served_by_all_and_that_is_said(shards: Path) -> None:
    data = settings(shards, split={"train": 1, "val": 0, "test": 0})
    lines: list[str] = []
    photos = select_photos(data, splits=["val"], announce=lines.append)
    assert len(photos) == 70 and photos.unsplit and "no photo falls into val" in lines[0]


def test_too_many_broken_files_stop_before_any_photo_is_read(shards: Path) -> None:
    with pytest.raises(DataError, match=r"max_corrupt_fraction.*train-3\.tar/torn\.jpg"):
        select_photos(settings(shards, max_corrupt_fraction=0), splits=ALL_SPLITS)


def test_shards_without_color_are_an_error(tmp_path: Path) -> None:
    pack(tmp_path / "s.tar", [("gray.png", GRAY)])
    add_index(tmp_path / "s.tar")
    with pytest.raises(DataError, match="no photo with colors among 1 files"):
        select_photos(settings(tmp_path), splits=["train"])


def test_indexes_are_used_where_all_shards_have_them(shards: Path) -> None:
    assert has_indexes([str(shards)])
    (shards / "loose.png").write_bytes(colors(5000))
    assert not has_indexes([str(shards)])  # a photo outside of shards
    (shards / "loose.png").unlink()
    index_path(shards / "train-2.tar").unlink()
    with pytest.raises(DataError, match=r"1 of 5 shards have no index: .*train-2\.tar; run python"):
        has_indexes([str(shards)])
    for shard in shards.glob("*.tar"):
        index_path(shard).unlink(missing_ok=True)
    assert not has_indexes([str(shards)])
    assert not has_indexes([])


def test_a_stale_index_stops_before_the_first_step(shards: Path) -> None:
    pack(shards / "train-4.tar", [("other.png", colors(1))])
    with pytest.raises(DataError, match=r"the index of .*train-4\.tar is stale"):
        select_photos(settings(shards), splits=["train"])


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("damage", ["cut", "replaced", "gone"])
def test_a_shard_that_changes_under_the_run_is_named(
    shards: Path, damage: str, threads: int
) -> None:
    source = make(settings(shards, decode_threads=threads))
    count = len(source.photos)
    source.load(0, 2)
    for shard in shards.glob("*.tar"):
        if damage == "cut":
            shard.write_bytes(shard.read_bytes()[:600])
        elif damage == "replaced":
            pack(shard, [(f"{n}.png", colors(7000 + n)) for n in range(30)])
        else:
            shard.unlink()
    with pytest.raises(DataError, match=r"train-\d\.tar.*run python -m pix2color index") as caught:
        source.load(10, count)
    assert "\n" not in str(caught.value)


def test_only_the_photos_asked_for_are_read(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = settings(shards)
    photos = select_photos(data, splits=["val"])
    for name in ("train-1.tar", "train-2.tar"):
        (shards / name).write_bytes(b"")
    first = sorted(range(len(photos)), key=lambda i: photos.digests[i])
    intact = [i for i in first if photos.shard_of(i).name not in ("train-1.tar", "train-2.tar")]
    until = next(n for n, i in enumerate(first) if i not in intact)
    assert len(photos.read_first(until, data)) == until
    with pytest.raises(DataError):
        photos.read_first(until + 1, data)
