"""The index of a shard: what it says about every photo, and when it is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shard_files import colors, encoded, index_path, local, pack

from pix2color.data.dataset import content_hash
from pix2color.data.discovery import list_photos
from pix2color.data.shard_index import build_index, read_index, write_index
from pix2color.errors import DataError
from pix2color.photo.gray import is_gray

GRAY = encoded(Image.new("L", (20, 20), 90))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Nine photos, a gray one, a broken one and a file that is no photo; indexed."""
    members = [(f"{n}/photo.png", colors(n)) for n in range(9)]
    members += [("gray.png", GRAY), ("torn.jpg", b"\xff\xd8 torn"), ("notes.txt", b"no photo")]
    path = tmp_path / "train-0.tar"
    pack(path, members)
    write_index(local(path), build_index(local(path), threads=2))
    return path


def test_every_photo_is_where_the_index_says(shard: Path) -> None:
    index = read_index(local(shard))
    listed = {ref.name: ref for ref in list_photos([str(shard)])}
    content = shard.read_bytes()
    assert {f"train-0.tar/{name}" for name in index.names} == set(listed)
    for name, offset, size, digest in zip(
        index.names, index.offsets, index.sizes, index.digests, strict=True
    ):
        photo = content[offset : offset + size]
        assert photo == listed[f"train-0.tar/{name}"].read()
        assert digest == content_hash(photo)


def test_gray_and_broken_files_are_recorded(shard: Path) -> None:
    index = read_index(local(shard))
    chroma = dict(zip(index.names, index.chroma, strict=True))
    assert chroma["gray.png"] is not None and chroma["gray.png"] < 1
    assert chroma["torn.jpg"] is None
    [(position, reason)] = index.corrupt.items()
    assert index.names[position] == "torn.jpg" and reason
    assert index.count_gray(5.0) == 1


def test_chroma_decides_as_is_gray_does_at_every_threshold(
    small_photos: list[np.ndarray], tmp_path: Path
) -> None:
    shard = tmp_path / "s.tar"
    muted = [(0.2 * p + 0.8 * p.mean(2, keepdims=True)).astype(np.uint8) for p in small_photos]
    pixels = [*small_photos, *muted]
    pack(shard, [(f"{i}.png", encoded(Image.fromarray(p))) for i, p in enumerate(pixels)])
    index = build_index(local(shard), threads=0)
    for threshold in (2.0, 5.0, 10.0, 20.125, 40.0):
        expected = sum(is_gray(photo, threshold) for photo in pixels)
        assert index.count_gray(threshold) == expected
    assert 0 < index.count_gray(10.0) < len(index)


def test_the_number_of_threads_changes_nothing(shard: Path) -> None:
    assert (
        build_index(local(shard), threads=1)
        == build_index(local(shard), threads=4)
        == read_index(local(shard))
    )


def test_progress_counts_every_photo(shard: Path) -> None:
    seen: list[tuple[int, int]] = []
    build_index(local(shard), threads=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 11) for done in range(1, 12)]


def test_a_shard_without_an_index_says_how_to_make_one(shard: Path) -> None:
    index_path(shard).unlink()
    with pytest.raises(DataError, match=r"train-0\.tar has no index; run python -m pix2color"):
        read_index(local(shard))


@pytest.mark.parametrize("change", ["appended", "replaced", "touched"])
def test_an_index_older_than_its_shard_is_stale(shard: Path, change: str) -> None:
    status = shard.stat()
    if change == "appended":
        shard.write_bytes(shard.read_bytes() + bytes(512))
        os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "replaced":
        pack(shard, [("other.png", colors(99))])
    else:
        os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(DataError, match=r"the index of .*train-0\.tar is stale.*; run python"):
        read_index(local(shard))


@pytest.mark.parametrize("kept", [0, 765_000_000, 765_432_000, 765_432_100])
def test_a_copy_on_a_coarser_file_system_keeps_its_index(shard: Path, kept: int) -> None:
    os.utime(shard, ns=(0, 1_700_000_000_765_432_198))
    write_index(local(shard), build_index(local(shard), threads=0))
    os.utime(shard, ns=(0, 1_700_000_000_000_000_000 + kept))
    assert len(read_index(local(shard))) == 11


@pytest.mark.parametrize(
    "damage", ["cut", "version", "format", "lengths", "beyond", "digest", "unknown"]
)
def test_a_damaged_index_is_refused_by_name(shard: Path, damage: str) -> None:
    path = index_path(shard)
    tree = json.loads(path.read_text())
    if damage == "version":
        tree["version"] = 2
    elif damage == "format":
        tree["format"] = "another"
    elif damage == "lengths":
        tree["sizes"].pop()
    elif damage == "beyond":
        tree["offsets"][0] = shard.stat().st_size
    elif damage == "digest":
        tree["digests"][0] = "0123"
    elif damage == "unknown":
        tree["more"] = 1
    text = json.dumps(tree)
    path.write_text(text[: len(text) // 2] if damage == "cut" else text)
    with pytest.raises(DataError, match=r"train-0\.tar\.index\.json is damaged or of another"):
        read_index(local(shard))


def test_a_shard_that_is_cut_off_is_not_indexed(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-3000])
    with pytest.raises(DataError, match=r"train-0\.tar is not a whole, uncompressed \.tar"):
        build_index(local(shard), threads=0)


def test_a_shard_that_changes_meanwhile_is_not_indexed(shard: Path) -> None:
    with pytest.raises(DataError, match="changed while it was read"):
        build_index(
            local(shard), threads=0, progress=lambda done, total: os.utime(shard, (done, done))
        )


def test_an_index_is_no_photo(shard: Path) -> None:
    assert len(list_photos([str(shard.parent)])) == 11
