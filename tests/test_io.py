"""Files written whole or not at all, by several threads and processes at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2color import io


def dead_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    return child.pid


def part_of(process: int) -> str:
    """A part's name as a process of this number makes it."""
    return f".0123456789abcdef.{io._owner(process)}{io.PART_SUFFIX}"


def test_files_of_one_stem_written_at_once_keep_their_own_content(tmp_path: Path) -> None:
    long = "n" * 100
    names = ["p1.jpg", "p1.tif", f"{long}1.png", f"{long}2.png"]
    with (
        io.atomic_open(tmp_path / names[0]) as a,
        io.atomic_open(tmp_path / names[1]) as b,
        io.atomic_open(tmp_path / names[2]) as c,
        io.atomic_open(tmp_path / names[3]) as d,
    ):
        for _ in range(3):
            for name, file in zip(names, (a, b, c, d), strict=True):
                file.write(name.encode())
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        name: name.encode() * 3 for name in names
    }


def test_one_file_written_by_many_threads_is_one_of_the_whole_contents(tmp_path: Path) -> None:
    contents = [bytes([n]) * 300_000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: io.atomic_write(tmp_path / "a", content), contents))
    assert (tmp_path / "a").read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_pipe_or_device_is_refused_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for write in (lambda: io.atomic_write(pipe, b"content"), lambda: io.check_writable(pipe)):
        with pytest.raises(OSError, match="not a regular file"):
            write()
    assert pipe.is_fifo() and [p.name for p in tmp_path.iterdir()] == ["pipe"]
    with pytest.raises(OSError, match="not a regular file"):
        io.atomic_write(Path(os.devnull), b"content")


def test_checking_that_a_file_can_be_written_leaves_it_as_it_is(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("content")
    io.check_writable(old)
    io.check_writable(tmp_path / "new" / "report.json")
    assert old.read_text() == "content" and not list((tmp_path / "new").iterdir())
    with pytest.raises(FileExistsError):
        io.check_writable(old / "below.json")


@pytest.mark.parametrize("name", ["\N{GRINNING FACE}" * 62 + ".jpg", "n" * 251 + ".png"])
def test_the_longest_legal_names_can_be_written(name: str, tmp_path: Path) -> None:
    io.atomic_write(tmp_path / name, b"content")
    assert (tmp_path / name).read_bytes() == b"content"


def test_text_is_utf8_and_the_folder_is_made(tmp_path: Path) -> None:
    io.atomic_write(tmp_path / "deep" / "er" / "a.txt", "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}")
    assert (tmp_path / "deep" / "er" / "a.txt").read_bytes() == b"Zo\xc3\xab"


@pytest.mark.parametrize("missing", [1, 4096, 100_000])
@pytest.mark.parametrize("writer", ["Pillow", "write"])
def test_a_disk_that_takes_less_than_it_is_given_is_an_error(
    writer: str, missing: int, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")  # Windows has no such limit
    array = np.random.default_rng(0).integers(0, 256, (500, 700), dtype=np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (array.size - missing, before[1]))
    try:
        with pytest.raises(OSError), io.atomic_open(tmp_path / "a") as file:
            if writer == "Pillow":
                Image.fromarray(array).save(file, "PPM")
            else:
                file.write(array.data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_an_error_the_old_file_is_untouched_and_nothing_is_left(
    error: BaseException, tmp_path: Path
) -> None:
    io.atomic_write(tmp_path / "a", b"old")
    with pytest.raises(type(error)), io.atomic_open(tmp_path / "a") as file:
        file.write(b"new")
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_the_usual_permissions_apply(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    io.atomic_write(tmp_path / "a", b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_stale_parts_are_those_of_ended_processes_and_of_no_one_else(tmp_path: Path) -> None:
    ended = dead_process()
    stale = [
        part_of(ended),
        f".long name of 60 letters.{io._owner(ended)}{io.PART_SUFFIX}",
        part_of(os.getpid()),  # in a container, an earlier run's number is this one's
    ]
    kept = [
        part_of(os.getppid()),
        f".0123456789abcdef.othermachine-{ended}{io.PART_SUFFIX}",
        f".x.{io._owner(ended)}\N{SUPERSCRIPT TWO}{io.PART_SUFFIX}",
        f".notes{io.PART_SUFFIX}",
        "photo.jpg",
    ]
    for name in (*stale, *kept):
        (tmp_path / name).write_bytes(b"")
    with io.atomic_open(tmp_path / "being written"):
        io.remove_stale_parts(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {*kept, "being written"}


def test_on_windows_no_process_gets_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(process: int, signal: int) -> None:
        raise AssertionError(f"process {process} was interrupted")

    (tmp_path / part_of(os.getppid())).write_bytes(b"")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", ctrl_c)
    io.remove_stale_parts(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("has_hard_links", [True, False])
def test_a_new_file_never_replaces_one(
    has_hard_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a file nor a link to nothing, also on a disk without hard links, such as FAT."""

    def no_link(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not has_hard_links:
        monkeypatch.setattr(os, "link", no_link)
    new, old, dangling = tmp_path / "deep/new", tmp_path / "old", tmp_path / "dangling"
    old.write_bytes(b"old")
    dangling.symlink_to(tmp_path / "nothing")
    io.atomic_create(new, b"new")
    assert new.read_bytes() == b"new"
    for path in (new, old, dangling):
        with pytest.raises(FileExistsError):
            io.atomic_create(path, b"other")
    assert old.read_bytes() == b"old" and new.read_bytes() == b"new" and dangling.is_symlink()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["dangling", "deep", "new", "old"]
