"""infer.py from folder to folder: the record of its runs, and --resume by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_model import use_fake_model
from outputs import outputs
from PIL import Image

from pix2color.cli import infer
from pix2color.jobs import journal, pipeline

NAMES = ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_model(monkeypatch)


@pytest.fixture
def scans(tmp_path: Path, small_photos: list[np.ndarray]) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, photo in enumerate(small_photos):
        Image.fromarray(photo).convert("L").save(folder / f"{number}.jpg")
    return folder


def run(*arguments: object) -> int:
    return infer.main([*map(str, arguments)])


def committed(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((out / ".pix2color/commits").iterdir())]


def rows(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_two_runs_of_the_same_work_commit_the_same_bytes(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SHARD", 2)
    (scans / "4.jpg").write_text("words")
    assert run(scans, "--out", tmp_path / "a", "--quiet") == 1
    assert run(scans, "--out", tmp_path / "b", "--quiet", "--workers", 1) == 1
    assert committed(tmp_path / "a") == committed(tmp_path / "b")
    lines = [row for data in committed(tmp_path / "a") for row in rows(data)]
    assert [line["target"] for line in lines] == [*NAMES, "4.jpg"]
    assert [line["status"] for line in lines] == [*["done"] * 4, "failed"]
    for line in lines[:4]:
        data = (tmp_path / "a" / line["target"]).read_bytes()
        assert line["outputs"] == {line["target"]: journal.digest(data)}


def test_processes_take_whole_shards_and_commit_them(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        assert run(scans, "--out", tmp_path / "out", "--quiet") == 0
    targets = [[row["target"] for row in rows(data)] for data in committed(tmp_path / "out")]
    assert [name for shard in targets for name in shard] == NAMES


def test_a_shard_is_committed_when_its_last_photo_has_a_line(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(scans, "--out", tmp_path / "whole", "--quiet") == 0
    out, add = tmp_path / "out", journal.Journal.add

    def interrupted(self: journal.Journal, outcome: pipeline.Outcome) -> None:
        if outcome.job.source.name == "2.jpg":
            raise KeyboardInterrupt
        add(self, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "add", interrupted)
        assert run(scans, "--out", out, "--quiet", "--workers", 1) == 130
    assert not (out / ".pix2color/commits").exists()
    assert run(scans, "--out", out, "--quiet", "--resume") == 0
    assert committed(out) == committed(tmp_path / "whole")


def test_resume_notices_other_options_and_other_sources_and_says_so(
    scans: Path, tmp_path: Path, small_photos: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(scans, "--out", out, "--quiet") == 0
    before = {name: (out / name).stat().st_mtime_ns for name in NAMES}
    Image.fromarray(small_photos[0][:40]).convert("L").save(scans / "1.jpg")
    assert run(scans, "--out", out, "--resume") == 0
    said = capsys.readouterr()
    assert "1 of 4 photos colored, 3 skipped" in said.out
    assert "photos done again: 1, their source changed" in said.err
    changed = {name for name in NAMES if (out / name).stat().st_mtime_ns != before[name]}
    assert changed == {"1.jpg"}
    assert run(scans, "--out", out, "--resume", "--vividness", "0.5") == 0
    assert "other options (vividness 0.0, now 0.5)" in capsys.readouterr().err
    fresh = tmp_path / "fresh"
    assert run(scans, "--out", fresh, "--quiet", "--vividness", "0.5") == 0
    assert outputs(fresh) == outputs(out)


def test_outputs_without_a_record_are_done_by_their_times(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of an older version, or of photos that were named one by one."""
    out = tmp_path / "out"
    assert run(*sorted(scans.iterdir()), "--out", out, "--quiet") == 0
    assert not (out / ".pix2color").exists()
    (out / "3.jpg").unlink()
    assert run(scans, "--out", out, "--resume") == 0
    assert "1 of 4 photos colored, 3 skipped" in capsys.readouterr().out
    assert sorted(outputs(out)) == NAMES


@pytest.mark.parametrize("name", [".pix2color", ".pix2color/manifest", ".pix2color/runs"])
def test_a_file_in_the_records_place_is_named_and_kept(
    name: str, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("of somebody else")
    assert run(scans, "--out", out) == 2
    said = capsys.readouterr().err
    assert ".pix2color" in said and said.count("\n") == 1
    assert (out / name).read_text() == "of somebody else"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--ray-address", "head:6379"), "--ray-address is for --engine ray"),
        (("--engine", "ray", "--no-isolate"), "leave --no-isolate out"),
        (("--engine", "ray", "--out", "memory://out"), "memory of this process"),
        (("--workers", "0"), "--workers 0: at least 1"),
        (("--time-limit", "0"), "--time-limit 0: at least 0.1"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_starts(
    arguments: tuple[str, ...], words: str, scans: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run(scans, "--out", tmp_path / "out", *arguments) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_ray_that_is_not_installed_is_one_line(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(scans, "--out", tmp_path / "out", "--engine", "ray") == 2
    said = capsys.readouterr().err
    assert 'Ray is not installed; pip install "pix2color[ray]"' in said and said.count("\n") == 1
    assert not outputs(tmp_path / "out")
