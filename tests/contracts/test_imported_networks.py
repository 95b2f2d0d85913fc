"""Imported networks of others are release files like any other: every command takes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from imported import NARROW, import_narrow
from PIL import Image

from pix2color import Colorizer
from pix2color.app.limits import ServerLimits
from pix2color.app.session import Settings
from pix2color.app.sessions import SessionStore
from pix2color.checkpoints import release_file
from pix2color.cli import main
from pix2color.runtime import load

SIZE = ("--size", "64")
HINT = {"x": 40, "y": 30, "color": "#d02020"}


@pytest.fixture(scope="module", params=NARROW)
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release file of each kind."""
    return import_narrow(request.param, tmp_path_factory.mktemp("imported"))


@pytest.fixture
def photo(small_photos: list[np.ndarray], tmp_path: Path) -> Path:
    """A gray photo."""
    path = tmp_path / "photo.png"
    Image.fromarray(small_photos[0]).convert("L").save(path)
    return path


def is_colored(pixels: np.ndarray) -> bool:
    return bool(np.ptp(pixels.astype(int), axis=-1).mean() > 3)


def infer(photo: Path, weights: Path, *options: str | Path) -> Path:
    """infer.py's file of that photo."""
    out = photo.parent / "out"
    arguments = [str(photo), "--checkpoint", str(weights), "--out", str(out), *map(str, options)]
    assert main(["infer", *arguments, "--quiet", *SIZE]) == 0
    return out / photo.name


def test_it_is_the_file_of_its_kind(imported: Path) -> None:
    meta = release_file.read(imported).meta
    assert meta["origin"]["kind"] == imported.stem and "BSD-2-Clause" in meta["notice"]
    info = load.load_runtime(imported, "cpu").info
    assert info.square_input and info.size_multiple == 8 and info.decode.input_size == 256
    assert info.accepts_hints == (imported.stem == "siggraph17")
    assert (info.log_prior is None) == (imported.stem == "siggraph17")


def test_infer_colors_as_the_library(imported: Path, photo: Path) -> None:
    (photo.parent / "hints.json").write_text(json.dumps([HINT]))
    hinted = np.asarray(Image.open(infer(photo, imported, "--hints", photo.parent / "hints.json")))
    plain = np.asarray(Image.open(infer(photo, imported)))
    colorizer = Colorizer.from_pretrained(imported)
    given = np.asarray(Image.open(photo))
    assert np.array_equal(plain, colorizer(given, input_size=64)) and is_colored(plain)
    assert np.array_equal(hinted, colorizer(given, input_size=64, hints=[HINT]))
    assert not np.array_equal(hinted, plain)


def test_evaluate_measures_it(
    imported: Path, photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--no-default", "--crop", "48", "--quick", "--quiet", "--out", str(tmp_path / "out")]
    arguments = ["--data", str(photo_folder), "--checkpoint", str(imported), *rest, *SIZE]
    assert main(["evaluate", *arguments]) == 0
    assert f"| {imported.stem} |" in capsys.readouterr().out
    rows = json.loads((tmp_path / "out/metrics.json").read_text())["rows"]
    row = next(row for row in rows if row["name"] == imported.stem)
    assert row["figures"]["colorfulness"]["value"] > 3


def test_profile_times_it(imported: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(photo), "--checkpoint", str(imported), "--runs", "1"]) == 0
    assert "network" in capsys.readouterr().out


def test_the_app_colors_with_it(imported: Path, photo: Path) -> None:
    colorizer = Colorizer.from_pretrained(imported)
    store = SessionStore(colorizer, ServerLimits(), photo.parent / "sessions")
    session = store.get_or_create("client")
    [entry] = session.colorize(session.add([photo], Settings(hints=(HINT,))))
    expected = colorizer(np.asarray(Image.open(photo)), hints=[HINT])
    assert np.array_equal(np.asarray(Image.open(entry.result)), expected)


def test_videos_are_colored_with_it(imported: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the video extra is not installed")
    import video_factory

    film = tmp_path / "film.mp4"
    shown = video_factory.shot("coffee", 3, step=2)
    video_factory.write_video(film, video_factory.to_gray(shown))
    frames = video_factory.decode(infer(film, imported))
    assert len(frames) == 3
    assert all(is_colored(frame.to_ndarray(format="rgb24")) for frame in frames)


def test_both_runtimes_color_alike_with_and_without_hints(imported: Path, photo: Path) -> None:
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    single, networks = photo.parent / "single.onnx", [Colorizer.from_pretrained(imported)]
    assert main(["export", "--graph", "--checkpoint", str(imported)]) == 0
    assert main(["export", "--onnx", str(single), "--checkpoint", str(imported)]) == 0
    networks += [Colorizer.from_pretrained(path, "cpu") for path in (imported, single)]
    assert [one.runtime.kind for one in networks] == ["torch", "onnx", "onnx"]
    given = np.asarray(Image.open(photo))
    for hints in ([], [HINT]):
        expected, *others = (one(given, hints=hints, input_size=64).astype(int) for one in networks)
        assert is_colored(expected)
        for other in others:
            assert np.abs(other - expected).max() <= 4
            assert (np.abs(other - expected) <= 1).mean() > 0.999
    imported.with_suffix(".onnx").unlink()
