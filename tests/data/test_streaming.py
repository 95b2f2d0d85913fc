"""Streaming: each photo exactly once an epoch over all processes, in another order each epoch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shard_files import colors, encoded, pack

from pix2color import config
from pix2color.data import streaming
from pix2color.data.dataset import ALL_SPLITS, Split, load_photos
from pix2color.data.loader import StreamingSource
from pix2color.data.streaming import StreamCounts, stream_photos
from pix2color.errors import DataError


def settings(*roots: Path, **options: object) -> config.DataConfig:
    values = {
        "roots": [str(r) for r in roots],
        "cache_size": 16,
        "cache": "none",
        "decode_threads": 0,
    }
    return config.DataConfig.model_validate(values | {"shuffle_buffer": 16} | options)


def digests(
    data: config.DataConfig,
    rank: int = 0,
    world: int = 1,
    *,
    epoch: int = 0,
    seed: int = 0,
    splits: Sequence[Split] = ALL_SPLITS,
    counts: StreamCounts | None = None,
) -> list[str]:
    photos = stream_photos(
        data, splits=splits, rank=rank, world=world, seed=seed, epoch=epoch, counts=counts
    )
    return [photo.digest for photo in photos]


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[Path]:
    """Five shards of 14 photos."""
    pytest.importorskip("webdataset", reason="needs the extra [stream]")
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(5):
        photos = [(f"{shard}/{n:02}.a.png", colors(100 * shard + n)) for n in range(14)]
        pack(folder / f"train-{shard}.tar", [*photos, ("notes.txt", b"no photo")])
    yield folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of 30 photos."""
    folder = tmp_path / "files"
    folder.mkdir()
    for n in range(30):
        (folder / f"{n}.png").write_bytes(colors(1000 + n))
    return folder


@pytest.mark.parametrize("world", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("workers", [0, 2])
def test_each_photo_once_an_epoch(shards: Path, world: int, workers: int) -> None:
    data = settings(shards, decode_threads=workers)
    shares = [digests(data, rank, world) for rank in range(world)]
    whole = load_photos(data, splits=ALL_SPLITS)
    assert sorted(d for share in shares for d in share) == whole.digests
    assert max(map(len, shares)) - min(map(len, shares)) <= 5 - 5 // world * world


def test_two_real_processes_see_each_photo_once(shards: Path) -> None:
    """This one and another one."""
    script = (
        "import sys; from pix2color.config import DataConfig;"
        "from pix2color.data.streaming import stream_photos;"
        "d = DataConfig(roots=(sys.argv[1],), cache_size=16, cache='none', shuffle_buffer=8);"
        "s = stream_photos(d, splits=('train',), rank=1, world=2, seed=3, epoch=1);"
        "print(*(photo.digest for photo in s))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(shards)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(streaming.__file__).parents[2],
    ) as process:
        own = digests(settings(shards, shuffle_buffer=8), 0, 2, splits=("train",), seed=3, epoch=1)
        shares = [own, process.communicate(timeout=120)[0].split()]
    assert process.returncode == 0
    assert all(len(share) > 20 for share in shares)
    expected = load_photos(settings(shards), splits=("train",)).digests
    assert sorted(shares[0] + shares[1]) == expected


def test_the_order_is_shuffled_and_repeatable(shards: Path) -> None:
    data = settings(shards)
    first = digests(data)
    assert digests(settings(shards, decode_threads=3)) == first
    other = digests(data, epoch=1)
    assert other != first
    assert sorted(other) == sorted(first)
    assert digests(data, seed=1) not in (first, other)
    unshuffled = digests(settings(shards, shuffle_buffer=1))
    assert first != unshuffled


def test_parts_are_those_of_the_cache(shards: Path) -> None:
    data = settings(shards, split={"train": 0.5, "val": 0.3, "test": 0.2})
    for part in ALL_SPLITS:
        expected = load_photos(data, splits=(part,))
        counts = StreamCounts()
        assert sorted(digests(data, splits=(part,), counts=counts)) == expected.digests
        assert (counts.used, counts.other_splits) == (len(expected), 70 - len(expected))
    expected = load_photos(data, splits=("val",))
    photos = stream_photos(data, splits=("val",), rank=0, world=1, seed=0, epoch=0)
    pixels = {photo.digest: photo.pixels for photo in photos}
    for digest, photo in zip(expected.digests, expected.photos, strict=True):
        np.testing.assert_array_equal(pixels[digest], photo)


def test_files_stream_without_webdataset(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webdataset", None)
    data = settings(files)
    shares = [digests(data, rank, 4) for rank in range(4)]
    assert [len(share) for share in shares] == [8, 8, 7, 7]
    expected = load_photos(data, splits=ALL_SPLITS).digests
    assert sorted(d for share in shares for d in share) == expected
    assert digests(data) != digests(data, epoch=1)


@pytest.mark.parametrize("roots", ["files", "shards"])
def test_training_on_two_processes_sees_each_photo_once_an_epoch(
    roots: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(roots)
    data = settings(folder, split={"train": 1, "val": 0, "test": 0})
    expected = sorted(photo.tobytes() for photo in load_photos(data, splits=["train"]).photos)
    steps, size, epochs = len(expected) // 10, 5, 3  # of two processes with 5 photos each

    def photos(source: StreamingSource, rank: int, step: int) -> list[bytes]:
        stacked, _ = source.load((2 * step + rank) * size, size)
        return [photo.numpy().tobytes() for photo in stacked]

    sources = [StreamingSource(data, seed=3, rank=rank, world=2) for rank in range(2)]
    seen = [
        [photos(source, rank, step) for rank, source in enumerate(sources)]
        for step in range(epochs * steps)
    ]
    for epoch in range(epochs):
        of_epoch = seen[epoch * steps : (epoch + 1) * steps]
        if roots == "files":  # shards are dealt out whole, so that shares may differ in size
            assert sorted(photo for step in of_epoch for part in step for photo in part) == expected
    assert {photo for step in seen[: steps + 2] for part in step for photo in part} == set(expected)
    resumed = [StreamingSource(data, seed=3, rank=rank, world=2) for rank in range(2)]
    for step in range(steps + 1, epochs * steps):
        assert [photos(source, rank, step) for rank, source in enumerate(resumed)] == seen[step]


def test_files_and_shards_mix(shards: Path, files: Path) -> None:
    data = settings(shards, files)
    shares = [digests(data, rank, 2) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == load_photos(data, splits=ALL_SPLITS).digests


def test_a_missing_webdataset_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(tmp_path / "s.tar", [("a.png", colors(0))])
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(DataError, match="pip install"):
        digests(settings(tmp_path))


def test_gray_and_broken_are_counted_by_name(shards: Path) -> None:
    gray = encoded(Image.new("L", (20, 20), 90))
    pack(shards / "odd.tar", [("gray.png", gray), ("x/torn.jpg", b"\xff\xd8 torn")])
    counts = StreamCounts()
    assert len(digests(settings(shards), counts=counts)) == 70
    assert (counts.used, counts.gray) == (70, 1)
    assert [name for name, _ in counts.corrupt] == ["shards/odd.tar/x/torn.jpg"]


def test_too_many_broken_files_stop(files: Path) -> None:
    for n in range(5):
        (files / f"torn-{n}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"5 of 35 files cannot be decoded.*files/torn-"):
        digests(settings(files))


@pytest.mark.parametrize("damage", ["cut", "header"])
def test_a_broken_shard_is_an_error(shards: Path, damage: str) -> None:
    shard = shards / "train-3.tar"
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    pack(shard, [(f"{n}.bmp", encoded(Image.fromarray(noise), "BMP")) for n in range(6)])
    content = bytearray(shard.read_bytes())
    if damage == "cut":
        del content[40_000:]
    else:
        second = 512 + 14_848  # a BMP of 14,454 bytes, in blocks of 512
        content[second : second + 100] = b"?" * 100
    shard.write_bytes(content)
    with pytest.raises(DataError, match=r"train-3\.tar is not a whole"):
        digests(settings(shards))


def test_a_limit_is_refused(files: Path) -> None:
    with pytest.raises(DataError, match=r"data\.max_photos needs data\.cache: ram"):
        digests(settings(files, max_photos=3))


def test_a_process_without_photos_is_an_error(files: Path) -> None:
    with pytest.raises(DataError, match="for process 31 of 31"):
        digests(settings(files), 30, 31)


def test_the_bundled_photos_stream_whole() -> None:
    expected = load_photos(config.DataConfig(cache_size=16), splits=("train",)).digests
    assert sorted(digests(settings(), splits=("train",))) == expected


def test_a_stream_can_be_left(shards: Path) -> None:
    data = settings(shards, decode_threads=2)
    photos = stream_photos(data, splits=ALL_SPLITS, rank=0, world=1, seed=0, epoch=0)
    assert next(iter(photos))[1].shape == (16, 21, 3)
    photos.close()  # type: ignore[attr-defined]
