"""`data.source_weights`: how often the photos of a source are drawn per epoch."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pix2color.config import DataConfig, load
from pix2color.data.dataset import load_photos
from pix2color.data.loader import InMemorySource, PhotoSource, StreamingSource
from pix2color.errors import ConfigError, DataError

FOLDERS = {"plain": 3, "wide/ade20k": 4, "wide/maps": 2}
"""Photos per folder."""


@pytest.fixture(params=["folder", "shard"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> DataConfig:
    """Photos of one color each, so that a crop tells which photo it is from."""
    number = 0
    for folder, count in FOLDERS.items():
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for _ in range(count):
            number += 1
            pixels = np.full((20, 20, 3), (20 * number, 255 - 20 * number, 128), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / folder / f"{number}.png")
    root = tmp_path / "photos"
    if request.param == "shard":
        root = tmp_path / "photos.tar"
        with tarfile.open(root, "w") as tar:
            for folder in FOLDERS:
                tar.add(tmp_path / "photos" / folder, folder)
    return DataConfig.model_validate(
        {
            "roots": [str(root)],
            "cache_size": 20,
            "crop_scale": [0.5, 1.0],
            "decode_threads": 0,
            "min_chroma": 0,
        }
    )


def with_weights(data: DataConfig, **weights: float) -> DataConfig:
    root = Path(data.roots[0]).name
    named = {f"{root}/{name.replace('_', '/')}": weight for name, weight in weights.items()}
    return DataConfig.model_validate(data.model_dump() | {"source_weights": named})


def in_memory(data: DataConfig, *, seed: int = 0) -> InMemorySource:
    photos = load_photos(data, splits=["train"])
    return InMemorySource(photos.photos, data, seed=seed, names=photos.names)


SOURCES = {
    "ram": in_memory,
    "stream": lambda data: StreamingSource(data, seed=0),
}


def reds(source: PhotoSource, first: int, count: int) -> list[int]:
    """The photo of each sample, by its red."""
    return [int(source.load(sample, 1)[0][0, 0, 0, 0]) for sample in range(first, first + count)]


def folder_of(red: int) -> str:
    number = red // 20
    return "plain" if number <= 3 else "wide/ade20k" if number <= 7 else "wide/maps"


@pytest.mark.parametrize("kind", SOURCES)
def test_a_photo_is_drawn_as_often_as_the_longest_prefix_of_its_name_says(
    kind: str, data: DataConfig
) -> None:
    source = SOURCES[kind](with_weights(data, wide=2, wide_maps=3))
    per_epoch = 3 * 1 + 4 * 2 + 2 * 3
    for epoch in range(3):
        drawn = Counter(reds(source, epoch * per_epoch, per_epoch))
        assert len(drawn) == 9
        expected = {"plain": 1, "wide/ade20k": 2, "wide/maps": 3}
        assert all(count == expected[folder_of(red)] for red, count in drawn.items())


@pytest.mark.parametrize("kind", SOURCES)
def test_a_weight_between_two_integers_is_reached_over_the_epochs(
    kind: str, data: DataConfig
) -> None:
    """1.5 is one and two draws in turn, 0.25 is one draw in four epochs."""
    source = SOURCES[kind](with_weights(data, wide=1.5, plain=0.25))
    drawn = Counter(reds(source, 0, 6 * 6 + 3))  # four epochs
    assert {red: 1 if folder_of(red) == "plain" else 6 for red in drawn} == dict(drawn)
    assert len(drawn) == 9


def test_repeated_draws_of_an_epoch_are_other_crops(data: DataConfig) -> None:
    for source in (SOURCES[kind](with_weights(data, plain=4, wide=1)) for kind in SOURCES):
        crops = [source.load(sample, 1) for sample in range(3 * 4 + 6)]
        places = {(int(photo[0, 0, 0, 0]), float(crop.top[0])) for photo, crop in crops}
        assert len(places) == len(crops)


def test_resuming_needs_only_the_samples_number(data: DataConfig) -> None:
    weighted = with_weights(data, wide=1.7, plain=0.6)
    running = in_memory(weighted)
    batches = [running.load(first, 4) for first in range(0, 80, 4)]
    for number in (17, 3, 11):
        photos, crops = in_memory(weighted).load(4 * number, 4)
        assert torch.equal(photos, batches[number][0])
        assert torch.equal(crops.top, batches[number][1].top)
    assert reds(in_memory(weighted, seed=1), 0, 12) != reds(in_memory(weighted), 0, 12)


def test_weights_of_1_change_nothing(data: DataConfig) -> None:
    weighted, plain = in_memory(with_weights(data, wide=1)), in_memory(data)
    for first in (0, 7, 18):
        (photos, crops), (expected, expected_crops) = weighted.load(first, 5), plain.load(first, 5)
        assert torch.equal(photos, expected)
        assert crops.seeds == expected_crops.seeds


@pytest.mark.parametrize("data", ["folder"], indirect=True)
def test_processes_share_the_draws_of_files(data: DataConfig) -> None:
    weighted = with_weights(data, wide=2)
    sources = [StreamingSource(weighted, seed=0, rank=rank, world=3) for rank in range(3)]
    drawn: Counter[int] = Counter()
    for step in range(5):
        for rank, source in enumerate(sources):
            drawn[int(source.load(3 * step + rank, 1)[0][0, 0, 0, 0])] += 1
    assert all(count == (1 if folder_of(red) == "plain" else 2) for red, count in drawn.items())


@pytest.mark.parametrize("kind", SOURCES)
def test_an_unknown_prefix_names_the_nearest_folder(kind: str, data: DataConfig) -> None:
    with pytest.raises(DataError, match=r"begins with .*wide/ade2k'; did you mean .*wide/ade20k\?"):
        SOURCES[kind](with_weights(data, wide_ade2k=2))


@pytest.mark.parametrize("weight", ["0", "-1", ".nan", ".inf", "many"])
def test_a_weight_is_a_positive_number(weight: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.source_weights"):
        load(None, [f"data.source_weights={{photos: {weight}}}"])
