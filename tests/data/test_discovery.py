"""Listing photos: folders, shards, single files, and what is said when there are none."""

from __future__ import annotations

import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pix2color.data.discovery import BUNDLED, list_photos
from pix2color.errors import DataError


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pack(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def names(*roots: Path | str) -> list[str]:
    return [item.name for item in list_photos([str(root) for root in roots])]


def test_folders_are_searched_through_all_levels(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for name in ("b/c/2.PNG", "a/1.jpg", "3.webp", "notes.txt", "a/list.csv", ".hidden.jpg"):
        write(root / name)
    write(root / ".cache/4.jpg")
    write(root / "__MACOSX/5.jpg")
    assert names(root) == ["photos/3.webp", "photos/a/1.jpg", "photos/b/c/2.PNG"]


def test_a_shard_reads_as_a_folder_does(tmp_path: Path) -> None:
    members = [("./b.webp", b"bb"), ("a/1.jpg", b"one"), ("._a.jpg", b"no"), ("a.txt", b"no")]
    shard = pack(tmp_path / "in" / "shard.tar", members)
    items = list_photos([str(shard)])
    assert [(i.name, i.read()) for i in items] == [
        ("shard.tar/a/1.jpg", b"one"),
        ("shard.tar/b.webp", b"bb"),
    ]
    assert names(tmp_path / "in") == ["in/shard.tar/a/1.jpg", "in/shard.tar/b.webp"]


def test_members_are_read_by_several_threads(tmp_path: Path) -> None:
    contents = [bytes([i]) * (1000 + i) for i in range(100)]
    shard = pack(tmp_path / "s.tar", [(f"{i:03}.jpg", c) for i, c in enumerate(contents)])
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda item: item.read(), list_photos([str(shard)]))) == contents


def test_mixed_roots_and_patterns(tmp_path: Path) -> None:
    pack(tmp_path / "t-1.tar", [("x.jpg", b"1")])
    pack(tmp_path / "t-2.tar", [("x.jpg", b"2")])
    single = write(tmp_path / "one.png")
    write(tmp_path / "folder/two.png")
    expected = ["folder/two.png", "one.png", "t-1.tar/x.jpg", "t-2.tar/x.jpg"]
    assert names(tmp_path / "t-*.tar", single, tmp_path / "folder") == expected


def test_names_are_unique(tmp_path: Path) -> None:
    write(tmp_path / "a/photos/1.jpg")
    write(tmp_path / "b/photos/1.jpg")
    assert names(tmp_path / "a/photos", tmp_path / "b/photos") == [
        "photos#2/1.jpg",
        "photos/1.jpg",
    ]
    shard = pack(tmp_path / "s.tar", [("1.jpg", b"old"), ("1.jpg", b"new")])
    assert names(shard) == ["s.tar/1.jpg", "s.tar/1.jpg#2"]


def test_a_root_listed_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "photos/a/1.jpg")
    pack(tmp_path / "photos/s.tar", [("2.jpg", b"2")])
    once = names(tmp_path / "photos")
    assert names(tmp_path / "photos", tmp_path / "photos/a", tmp_path / "photos/s.tar") == once


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_link_loops_end(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    write(root / "a/1.jpg")
    (root / "a/up").symlink_to(root)
    (root / "dangling.jpg").symlink_to(tmp_path / "nothing.jpg")
    outside = write(tmp_path / "elsewhere/2.jpg").parent
    (root / "linked").symlink_to(outside)
    assert names(root) == ["photos/a/1.jpg", "photos/linked/2.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_entries_that_are_not_files_are_skipped(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    write(root / "a/1.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "loop").symlink_to("loop")
    (root / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe.png")
    assert names(root) == ["photos/a/1.jpg"]
    with pytest.raises(DataError, match="not a regular file"):
        names(root / "pipe.png")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_folder_keeps_its_own_name_where_a_link_to_it_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "photos/real/1.jpg")
    (tmp_path / "photos/a-link").symlink_to(tmp_path / "photos/real")
    assert names(tmp_path / "photos") == ["photos/real/1.jpg"]


def test_training_and_coloring_take_the_same_files_for_photos(tmp_path: Path) -> None:
    from pix2color.photo.formats import PHOTO_SUFFIXES

    for number, suffix in enumerate(sorted(PHOTO_SUFFIXES)):
        write(tmp_path / f"in/{number:02}{suffix}")
    assert len(names(tmp_path / "in")) == len(PHOTO_SUFFIXES)


def test_an_empty_name_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "1.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="empty"):
        names("")


def test_no_roots_are_the_bundled_photos() -> None:
    items = list_photos([])
    assert items
    assert {item.name.removeprefix("skimage/") for item in items} <= set(BUNDLED)
    assert all(item.read() for item in items)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "nothing", ["no such file or folder", "nothing", "data.roots"]),
        (lambda p: p / "no-*.tar", ["no such file or folder", "no-*.tar"]),
        (lambda p: p, ["no photos in", ".jpg", "data.roots"]),
        (lambda p: write(p / "a.txt"), ["neither a photo", "a.txt"]),
        (lambda p: write(p / "a.tar.gz"), ["compressed", "unpack"]),
        (lambda p: write(p / "a.tar", b"not a tar" * 200), ["a.tar", "not a whole", "again"]),
        (lambda p: write(p / "a.tar", b""), ["a.tar", "not a whole"]),
        (lambda p: pack(p / "a.tar", [("a.txt", b"x")]), ["no photos in", "a.tar"]),
    ],
)
def test_roots_without_photos_are_errors_with_a_remedy(
    tmp_path: Path, make: object, words: list[str]
) -> None:
    root = make(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        list_photos([str(root)])
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize("size", [100, 600, 9_000, 17_000, 3 * (512 + 5_120), 28_160, 28_672])
def test_a_shard_cut_off_is_an_error(tmp_path: Path, size: int) -> None:
    # tarfile alone is silent about a cut inside or before a header.
    shard = pack(tmp_path / "s.tar", [(f"{i}.jpg", b"x" * 5000) for i in range(5)])
    shard.write_bytes(shard.read_bytes()[:size])
    with pytest.raises(DataError, match=r"s\.tar is not a whole"):
        list_photos([str(shard)])


def test_a_shard_with_a_damaged_header_is_an_error(tmp_path: Path) -> None:
    shard = pack(tmp_path / "s.tar", [(f"{i}.jpg", b"x" * 5000) for i in range(5)])
    content = bytearray(shard.read_bytes())
    content[2 * 5_632 : 2 * 5_632 + 100] = b"?" * 100
    shard.write_bytes(content)
    with pytest.raises(DataError, match=r"s\.tar is not a whole"):
        list_photos([str(shard)])


def test_a_file_that_shrank_cannot_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", b"abcdef")
    (item,) = list_photos([str(path)])
    path.write_bytes(b"abc")
    with pytest.raises(OSError, match="3 of 6 bytes"):
        item.read()
