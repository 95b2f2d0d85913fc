"""infer.py with hints, variants, a reference and maps of confidence, with the packaged weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from flaky_store import new_url
from outputs import outputs
from PIL import Image

from pix2color.cli import infer
from pix2color.jobs.store import open_store

PHOTOS = Path(__file__).parents[2] / "photos"
SMALL = ("--size", "64", "--quiet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    for name in ("camera", "rocket"):
        with Image.open(PHOTOS / f"{name}.jpg") as image:
            image.resize((160, 120)).save(root / f"{name}.png")
    return root


def redness(path: Path) -> float:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), np.float64)
    return float((pixels[..., 0] - pixels[..., 2]).mean())


def test_variants_and_maps_lie_beside_the_photo(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [str(folder), "--out", str(out), "--variants", "3", "--confidence", *SMALL]
    assert infer.main(arguments) == 0
    names = {*outputs(out)}
    parts = ("", "-2", "-3", "-confidence")
    assert names == {f"{name}{part}.png" for name in ("camera", "rocket") for part in parts}
    pictures = [np.asarray(Image.open(out / f"rocket{part}.png")) for part in parts]
    assert pictures[3].ndim == 2 and np.ptp(pictures[3]) > 10
    apart = [np.abs(pictures[0].astype(int) - other.astype(int)).mean() for other in pictures[1:3]]
    assert min(apart) > 0.5
    # Again with --resume: all there, nothing done; without a variant: done again.
    report = tmp_path / "status.json"
    assert infer.main([*arguments, "--resume", "--report", str(report)]) == 0
    assert json.loads(report.read_text())["counts"] == {"skipped": 2}
    (out / "rocket-3.png").unlink()
    assert infer.main([*arguments, "--resume", "--report", str(report)]) == 0
    assert json.loads(report.read_text())["counts"] == {"skipped": 1, "done": 1}


def test_variants_and_maps_go_into_a_store(folder: Path, tmp_path: Path) -> None:
    out = open_store(new_url())
    arguments = [str(folder), "--variants", "2", "--confidence", *SMALL, "--out"]
    assert infer.main([*arguments, str(tmp_path / "out")]) == 0
    assert infer.main([*arguments, out.url]) == 0
    names = [entry.name for entry in out.list() if not entry.name.startswith(".")]
    assert len(names) == 6
    expected = outputs(tmp_path / "out")
    assert {name: out.read(name) for name in names} == expected
    out._files.rm_file(out._path("rocket-2.png"))  # type: ignore[attr-defined]
    report = tmp_path / "status.json"
    assert infer.main([*arguments, out.url, "--resume", "--report", str(report)]) == 0
    assert json.loads(report.read_text())["counts"] == {"skipped": 1, "done": 1}
    assert {name: out.read(name) for name in names} == expected


def test_hints_go_to_the_photo_they_name(folder: Path, tmp_path: Path) -> None:
    hints = tmp_path / "hints.json"
    hints.write_text(json.dumps({"rocket.png": [{"box": [0, 0, 159, 119], "color": "tomato"}]}))
    plain, red = tmp_path / "plain", tmp_path / "red"
    assert infer.main([str(folder), "--out", str(plain), *SMALL]) == 0
    assert infer.main([str(folder), "--out", str(red), "--hints", str(hints), *SMALL]) == 0
    assert redness(red / "rocket.png") > redness(plain / "rocket.png") + 20
    assert (red / "camera.png").stat().st_size == (plain / "camera.png").stat().st_size


def test_a_reference_gives_its_palette(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), (230, 60, 40)).save(tmp_path / "red.png")
    found = []
    for number, strength in enumerate(("0", "1")):
        out = tmp_path / str(number)
        reference = ("--reference", str(tmp_path / "red.png"), "--palette-strength", strength)
        assert infer.main([str(folder / "camera.png"), "--out", str(out), *reference, *SMALL]) == 0
        found.append(redness(out / "camera.png"))
    assert found[1] > found[0] + 20


def test_names_that_would_meet_fail(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / "camera.png", folder / "rocket-2.png")
    out = tmp_path / "out"
    assert infer.main([str(folder), "--out", str(out), "--variants", "2", *SMALL]) == 1
    assert "would both become" in capsys.readouterr().err
    assert {*outputs(out)} == {"camera.png", "camera-2.png"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--variants", "0"), "--variants 0: at least 1"),
        (("--hints", "{tmp}/none.json"), "cannot be read"),
        (("--hints", "{tmp}/list.json"), "a list is for one photo, and there are 2"),
        (("--hints", "{tmp}/names.json"), "no photo is called boat.png"),
        (("--reference", "{tmp}/none.jpg"), "reference"),
        (("--reference", "{tmp}/in/camera.png"), "has no colors"),
        (
            ("--reference", "{tmp}/red.png", "--palette-strength", "3"),
            "--palette-strength 3: at most 1",
        ),
        (("--hints", "{tmp}/brackets.json"), "nested too deeply"),
        (("--hints", "{tmp}/digits.json"), "hints"),
        (("--hints", "/dev/zero"), "above 16 million characters"),
        (("--hints", "{tmp}/far.json"), "is not a number"),
        (("--hints", "{tmp}/wide.json"), "radius"),
        (("--lossless-jpeg", "--variants", "2"), "--lossless-jpeg goes with none of"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...],
    message: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    point = [{"x": 3, "y": 4, "color": "red"}]
    (tmp_path / "list.json").write_text(json.dumps(point))
    (tmp_path / "names.json").write_text(json.dumps({"boat.png": point}))
    Image.new("RGB", (50, 50), "red").save(tmp_path / "red.png")
    (tmp_path / "brackets.json").write_text("[" * 100_000)
    (tmp_path / "digits.json").write_text('[{"x": ' + "9" * 5000 + ', "y": 1, "color": "red"}]')
    (tmp_path / "far.json").write_text('[{"x": ' + "9" * 400 + ', "y": 1, "color": "red"}]')
    (tmp_path / "wide.json").write_text('[{"x": 1, "y": 1, "radius": 1e300, "color": "red"}]')
    filled = [text.format(tmp=tmp_path) for text in arguments]
    assert infer.main([str(folder), "--out", str(tmp_path / "out"), *filled, *SMALL]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "out").exists()


def test_a_hint_outside_its_photo_fails_that_photo_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hints = tmp_path / "hints.json"
    hints.write_text(json.dumps({"rocket.png": [{"x": 900, "y": 4, "color": "red"}]}))
    out = tmp_path / "out"
    assert infer.main([str(folder), "--out", str(out), "--hints", str(hints), *SMALL]) == 1
    assert "is outside the photo of 160 x 120 pixels" in capsys.readouterr().err
    assert [*outputs(out)] == ["camera.png"]
