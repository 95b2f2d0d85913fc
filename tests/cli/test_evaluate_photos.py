"""python -m pix2color evaluate: which photos are measured, and their groups."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_model import write_release
from PIL import Image

from pix2color.checkpoints import release_file
from pix2color.cli import evaluate
from pix2color.config import DataConfig, SplitConfig
from pix2color.data.dataset import load_photos
from pix2color.data.streaming import stream_photos
from pix2color.errors import EXIT_OK, EXIT_USAGE

SHARES = {"train": 0.6, "val": 0.25, "test": 0.15}
GIVEN = ("--split-shares", "0.6,0.25,0.15")


def _content(seed: int, tint: int = 0) -> bytes:
    """A small photo of its own for each seed; with a tint it is all skin, the darker the less."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    if tint:
        pixels = np.array([tint, 0.72 * tint, 0.6 * tint]) + rng.integers(-2, 3, (3, 4, 1))
    file = io.BytesIO()
    image = Image.fromarray(pixels.astype(np.uint8)).resize((20, 16), Image.Resampling.BICUBIC)
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards: 30 photos of the sea and 30 faces, half of them dark, and 4 other photos."""
    folder = tmp_path_factory.mktemp("shards")
    members = [(f"sea/{i:02}.png", _content(i)) for i in range(30)]
    members += [(f"face/{i:02}.png", _content(100 + i, (60, 220)[i % 2])) for i in range(30)]
    members += [(f"odd-{i}/1.png", _content(200 + i)) for i in range(4)]
    for shard in range(2):
        with tarfile.open(folder / f"part-{shard}.tar", "w") as tar:
            for name, content in members[shard::2]:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return folder


@pytest.fixture(autouse=True)
def _no_packaged_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(release_file, "DEFAULT_FILE", tmp_path / "none.safetensors")


def _run(out: Path, *arguments: str | Path) -> int:
    rest = ("--quick", "--quiet", "--crop", "16", "--resamples", "20", "--out", out)
    return evaluate.main([*map(str, arguments), *map(str, rest)])


def _tree(folder: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return tree


def _measured(out: Path) -> set[str]:
    with (out / "photos.csv").open(newline="") as file:
        return {line["photo"] for line in csv.DictReader(file)}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_is_that_of_a_training_with_these_shares(
    shards: Path, tmp_path: Path, split: Any
) -> None:
    code = _run(tmp_path, "--data", shards, "--split", split, *GIVEN)
    assert code == EXIT_OK
    config = DataConfig(roots=(str(shards),), split=SplitConfig(**SHARES), cache_size=16)
    trained = load_photos(config, splits=[split], keep_gray=True)
    assert _measured(tmp_path) == set(trained.names) and len(trained) > 5
    text = _tree(tmp_path)["data"]["text"]
    assert f"{len(trained)} of 64 files" in text and f"split {split} of 0.6, 0.25, 0.15" in text


def test_no_training_photo_is_held_out_in_memory_or_streamed(shards: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="needs the extra [stream]")
    _run(tmp_path, "--data", shards, "--split", "val", *GIVEN)
    config = DataConfig(roots=(str(shards),), split=SplitConfig(**SHARES), decode_threads=0)
    seen = load_photos(config, splits=["train"])
    assert not _measured(tmp_path) & set(seen.names)
    streamed = stream_photos(config, splits=["train"], rank=0, world=1, seed=0, epoch=0)
    assert {photo.digest for photo in streamed} == set(seen.digests)


def test_the_shares_are_those_that_the_weights_record(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_release(tmp_path / "own.safetensors", data={"split": SHARES})
    older = write_release(tmp_path / "older.safetensors")
    given, recorded = tmp_path / "given", tmp_path / "recorded"
    _run(given, "--data", shards, "--split", "val", *GIVEN)
    capsys.readouterr()
    networks = ("--checkpoint", own, "--checkpoint", older)
    assert _run(recorded, "--data", shards, "--split", "val", *networks) == EXIT_OK
    assert _measured(recorded) == _measured(given)
    printed = capsys.readouterr().out
    assert "older.safetensors: records no data.split; if its training was given" in printed
    assert "own.safetensors: records" not in printed
    assert "records no data.split" in (recorded / "report.md").read_text()
    other = ("--split-shares", "0.5,0.5,0")
    _run(given, "--data", shards, "--split", "val", *networks, *other)
    assert "own.safetensors: records data.split 0.6, 0.25, 0.15;" in capsys.readouterr().out


def test_weights_that_record_different_shares_or_none_need_them(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    equal = {"train": 0.5, "val": 0.5, "test": 0}
    one = write_release(tmp_path / "one.safetensors", data={"split": SHARES})
    two = write_release(tmp_path / "two.safetensors", data={"split": equal})
    for networks, found in (
        (("--checkpoint", one, "--checkpoint", two), "different ones"),
        ((), "none"),
    ):
        code = _run(tmp_path / "report", "--data", shards, "--split", "val", *networks)
        assert code == EXIT_USAGE
        error = capsys.readouterr().err
        assert "--split val needs --split-shares" in error and f"record {found}" in error
    assert not (tmp_path / "report").exists()


def test_figures_by_source_are_in_every_form_of_the_report(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = write_release(tmp_path / "net.safetensors")
    out = tmp_path / "report"
    code = _run(out, "--data", shards, "--checkpoint", network, "--by-source")
    assert code == EXIT_OK
    (grouping,) = _tree(out)["groupings"]
    counts = {group["name"]: group["photos"] for group in grouping["groups"]}
    assert counts == {"face": 30, "sea": 30, "other (4 sources)": 4}
    gains = grouping["groups"][0]["rows"][2]["gains"]["auc"]
    assert gains["low"] < gains["value"] < gains["high"]
    for text in (capsys.readouterr().out, (out / "report.md").read_text()):
        assert "## net by source" in text and "gain in AuC (%)" in text
        assert f"| face | 30 | {gains['value']:+.2f} ({gains['low']:+.2f} .. " in text
        assert "| all | 64 |" in text
    with (out / "groups.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["figure"] == "auc_gain"]
    (face,) = (line for line in lines if (line["group"], line["method"]) == ("face", "net"))
    assert face["by"] == "source" and face["photos"] == "30"
    assert float(face["value"]) == pytest.approx(gains["value"], rel=1e-5)


def test_only_some_sources_keep_their_split(shards: Path, tmp_path: Path) -> None:
    _run(tmp_path / "all", "--data", shards, "--split", "val", *GIVEN)
    code = _run(tmp_path / "sea", "--data", shards, "--split", "val", *GIVEN, "--sources", "sea")
    assert code == EXIT_OK
    expected = {name for name in _measured(tmp_path / "all") if "/sea/" in name}
    assert _measured(tmp_path / "sea") == expected and expected
    assert "of 30 files" in _tree(tmp_path / "sea")["data"]["text"]


def test_skin_by_tone_and_by_labels(shards: Path, tmp_path: Path) -> None:
    network = write_release(tmp_path / "net.safetensors")
    labels = tmp_path / "labels.csv"
    lines = [f"face/{i:02}.png,{'odd' if i % 2 else 'even'}" for i in range(28)]
    labels.write_text("\n".join(["file,number", *lines]))
    out = tmp_path / "report"
    code = _run(
        out, "--data", shards, "--sources", "face", "--skin", "--groups", labels,
        "--checkpoint", network,
    )  # fmt: skip
    assert code == EXIT_OK
    by_label, by_lightness, by_tone = _tree(out)["groupings"]
    assert by_label["by"] == "number"
    counts = {group["name"]: group["photos"] for group in by_label["groups"]}
    assert counts == {"even": 14, "odd": 14, "without a group": 2}
    assert {group["name"].partition(" (")[0]: group["photos"] for group in by_tone["groups"]} == {
        "dark": 15,
        "light": 15,
    }
    page = (out / "report.md").read_text()
    assert [group["photos"] for group in by_lightness["groups"]] == [15, 15]
    for by in ("number", "lightness of the true skin", "tone of the true skin"):
        assert f"## net by {by}" in page
    assert "| ITA - truth (degrees) |" in page and "Chai and Ngan 1999" in page
    whole = _tree(out)["rows"][2]["figures"]["skin_auc"]["value"]
    parts = [group["rows"][2]["figures"]["skin_auc"]["value"] for group in by_tone["groups"]]
    assert sum(parts) / 2 == pytest.approx(whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split-shares", "0.9,0.1,0"), "--split-shares needs --split"),
        (("--split", "val", "--split-shares", "0.9,0.1"), "write it as TRAIN,VAL,TEST"),
        (("--split", "val", "--split-shares", "0.9,0.2,0"), "three shares that sum to 1"),
        (("--split", "val", "--split-shares", "a,b,c"), "--split-shares a,b,c: write it as"),
        (("--split", "test", "--split-shares", "0.5,0.5,0"), "--split test: none of the photos"),
        (("--sources", "see"), "--sources see: no photo is of it; did you mean sea?"),
        (("--groups", "{tmp}/empty.csv"), "empty.csv names no photo"),
        (("--groups", "{tmp}/foreign.csv"), "line 2: lake/1.png names none of the 64 photos"),
        (("--groups", "{tmp}/no.csv"), "no.csv cannot be read"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    shards: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "foreign.csv").write_text("file,group\nlake/1.png,a\n")
    filled = [text.format(tmp=tmp_path) for text in arguments]
    assert _run(tmp_path / "report", "--data", shards, *filled) == EXIT_USAGE
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "report").exists()


def test_photos_too_few_to_split_are_not_held_out(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = _run(tmp_path / "report", "--data", photo_folder, "--split", "val", *GIVEN)
    assert code == EXIT_USAGE
    assert "too few to split" in capsys.readouterr().err
