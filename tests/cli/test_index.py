"""index: shards get an index beside them, once, and bad shards are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from shard_files import colors, index_path, local, pack

from pix2color.cli import main
from pix2color.data.shard_index import read_index
from pix2color.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards of four photos."""
    for number in range(3):
        photos = [(f"{n}.png", colors(10 * number + n)) for n in range(4)]
        pack(tmp_path / f"train-{number}.tar", photos)
    return tmp_path


def test_a_folder_of_shards_is_indexed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(folder)]) == EXIT_OK
    assert [len(read_index(local(shard))) for shard in sorted(folder.glob("*.tar"))] == [4, 4, 4]
    assert "train-2.tar: 4 photos, of which 0 gray, 0 corrupt" in capsys.readouterr().err
    assert len(list(folder.iterdir())) == 6


def test_a_current_index_is_kept_and_a_stale_one_is_made_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["index", str(folder)])
    kept = index_path(folder / "train-0.tar").stat()
    pack(folder / "train-1.tar", [("new.png", colors(77)), ("other.png", colors(78))])
    index_path(folder / "train-2.tar").write_text("{")
    capsys.readouterr()
    assert main(["index", str(folder / "train-*.tar"), "--threads", "1"]) == EXIT_OK
    lines = capsys.readouterr().err.splitlines()
    assert ["index is current" in line for line in lines] == [True, False, False]
    assert index_path(folder / "train-0.tar").stat().st_mtime_ns == kept.st_mtime_ns
    assert len(read_index(local(folder / "train-1.tar"))) == 2
    assert len(read_index(local(folder / "train-2.tar"))) == 4


def test_a_broken_shard_is_named_and_the_others_are_indexed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = folder / "train-1.tar"
    broken.write_bytes(broken.read_bytes()[:700])
    assert main(["index", str(folder), "--quiet"]) == EXIT_FAILED
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ") and "train-1.tar" in first
    assert last == "1 of 3 shards were not indexed"
    assert not index_path(broken).exists()
    assert read_index(local(folder / "train-2.tar"))


def test_without_shards_nothing_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photo.png").write_bytes(colors(0))
    assert main(["index", str(tmp_path)]) == EXIT_USAGE
    assert "no .tar shards" in capsys.readouterr().err
    assert main(["index", str(tmp_path / "missing.tar")]) == EXIT_USAGE
    assert main(["index", str(tmp_path), "--threads", "0"]) == EXIT_USAGE
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
