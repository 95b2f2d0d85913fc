"""infer.py as a user meets it: folders, errors, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_model import calibrated, use_fake_model
from outputs import outputs
from photo_lab import lab_of
from PIL import Image

from pix2color import cli as commands
from pix2color.cli import infer
from pix2color.cli import main as dispatch
from pix2color.errors import EXIT_INTERRUPTED
from pix2color.jobs import pipeline

ROOT = Path(__file__).parents[2]
INFER = (str(ROOT / "infer.py"), "--size", "32", "--device", "cpu")
"""For processes of their own: the packaged weights at their smallest input, without torch."""


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_model(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path, small_photos: list[np.ndarray]) -> Path:
    root = tmp_path / "in"
    (root / "deep/er").mkdir(parents=True)
    Image.fromarray(small_photos[0]).convert("L").save(root / "a.jpg")
    Image.fromarray(small_photos[1]).convert("L").save(root / "deep/b.png")
    Image.fromarray(small_photos[2]).save(root / "deep/er/c.tif")
    (root / "notes.txt").write_text("not a photo")
    return root


def test_a_folder_is_colored_into_the_same_tree(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert infer.main([str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "3 of 3 photos colored" in capsys.readouterr().out
    found = [*outputs(tmp_path / "out")]
    assert found == ["a.jpg", "deep/b.png", "deep/er/c.tif"]
    for path in found:
        before_image, image = Image.open(folder / path), Image.open(tmp_path / "out" / path)
        assert image.mode == "RGB" and image.size == before_image.size
        assert image.format == before_image.format
        assert np.ptp(np.asarray(image).astype(int), axis=2).max() > 10
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_default_place_is_colorized(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert infer.main(["in/a.jpg", "--quiet"]) == 0
    assert (tmp_path / "colorized/a.jpg").exists()


def test_a_calibration_is_the_default_of_the_weights_and_an_option(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Weights without one say so, and files of them are as they were before there were any."""

    def colored(name: str, *options: str) -> bytes:
        out = tmp_path / name
        assert infer.main([str(folder / "a.jpg"), "--out", str(out), "--quiet", *options]) == 0
        return (out / "a.jpg").read_bytes()

    plain = colored("plain")
    assert b"vividness 0" in plain and b"calibration" not in plain
    arguments = [str(folder / "a.jpg"), "--out", str(tmp_path / "no"), "--calibration", "0.5"]
    assert infer.main(arguments) == 2
    said = capsys.readouterr().err
    assert "have no calibration" in said and "leave --calibration out" in said
    assert not (tmp_path / "no").exists()
    use_fake_model(monkeypatch, calibrated())
    whole, half = colored("whole"), colored("half", "--calibration", "0.5")
    assert b"calibration 1" in whole and b"calibration 0.5" in half
    assert colored("none", "--calibration", "0") == plain
    chroma = [
        np.hypot(*lab_of(np.asarray(Image.open(tmp_path / name / "a.jpg")))[1:]).mean()
        for name in ("plain", "half", "whole")
    ]
    # Before, some colors were beyond sRGB and were reduced.
    assert chroma[1] == pytest.approx(0.75 * chroma[0], rel=0.1)
    assert chroma[2] == pytest.approx(0.5 * chroma[0], rel=0.2)


def test_bad_photos_are_named_and_the_good_ones_done(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (folder / "a.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.jpg").write_text("these are words")
    Image.fromarray(np.full((1, 1), 90, np.uint8)).save(folder / "one.png")
    assert infer.main([str(folder), "--out", str(tmp_path / "out")]) == 1
    output = capsys.readouterr()
    assert "4 of 7 photos colored" in output.out and "3 failed" in output.err
    for name in ("cut.jpg", "empty.png", "words.jpg"):
        assert name in output.err and not (tmp_path / "out" / name).exists()
    assert "Traceback" not in output.err
    assert Image.open(tmp_path / "out/one.png").size == (1, 1)
    assert sorted(outputs(tmp_path / "out")) == ["a.jpg", "deep/b.png", "deep/er/c.tif", "one.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 2, "no such file or folder"),
        (["{empty}"], 2, "no photo in"),
        (["{in}", "--out", "{in}"], 2, "never"),
        (["{in}", "--device", "warp9"], 2, "no device"),
        (["{in}", "--temperature", "0"], 2, "temperature"),
        (["{in}", "--size", "5"], 2, "size"),
        (["{in}", "--size", "100000000"], 2, "size"),
        (["{in}", "--vividness", "inf"], 2, "vividness"),
        (["{in}", "--saturation", "1e30"], 2, "saturation"),
        (["{in}", "--temperature", "1e300"], 2, "temperature"),
        (["{in}", "--temperature", "nan"], 2, "temperature"),
        (["{in}", "--max-megapixels", "nan"], 2, "--max-megapixels nan: a number from 0.001 to"),
        (["{in}", "--max-megapixels", "inf"], 2, "--max-megapixels inf: at most"),
        (["{in}", "--max-megapixels", "-1"], 2, "--max-megapixels -1: at least 0.001"),
        (["{in}", "--variants", "1000000"], 2, "--variants 1000000: at most 16"),
        (["{in}", "--palette-strength", "nan"], 2, "--palette-strength nan"),
        ([""], 2, "empty"),
        (["{in}", "--out", ""], 2, "empty"),
        (["{in}", "--out", "{in}/a.jpg"], 2, "not a folder"),
        (["{in}", "--report", "{in}/a.jpg"], 2, "never written over"),
        (["{in}", "--report", "{in}/deep"], 2, "report"),
        (["{in}", "--report", "{in}/a.jpg/r.json"], 2, "report"),
        (["{in}", "--report", ""], 2, "report"),
        (["{in}", "--report", "{tmp}/pipe"], 2, "report"),
        (["{in}", "--report", "{tmp}/out/a.jpg"], 2, "a.jpg"),
        (["{in}", "--hints", "{in}/notes.txt", "--report", "{in}/notes.txt"], 2, "never written"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")  # it would be replaced by a file
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    places = {"in": folder, "empty": tmp_path / "empty", "tmp": tmp_path}
    filled = [a.format(**places) for a in arguments]
    if "--out" not in filled:
        filled += ["--out", str(tmp_path / "out")]
    assert infer.main(filled) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_options_are_written_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        infer.main([str(folder), "--siz", "64"])
    assert "--siz" in capsys.readouterr().err


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_no_command_takes_abbreviated_options(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        dispatch([command, "--hel"])
    assert ended.value.code == 2 and "usage" in capsys.readouterr().err


def test_a_collision_fails_its_photos_and_the_others_are_done(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open(folder / "a.jpg").save(folder / "b.gif")
    Image.open(folder / "a.jpg").save(folder / "b.png")
    assert infer.main([str(folder), "--out", str(tmp_path / "out")]) == 1
    output = capsys.readouterr()
    assert "3 of 5 photos colored" in output.out
    assert output.err.count("would both become") == 2
    assert not (tmp_path / "out/b.png").exists()


def test_what_is_no_file_is_named_and_the_others_are_done(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop.png").symlink_to("loop.png")
    report = tmp_path / "status.json"
    arguments = [str(folder), "--out", str(tmp_path / "out"), "--report", str(report)]
    assert infer.main(arguments) == 0
    output = capsys.readouterr().out
    assert "3 of 3 photos colored" in output
    assert "pipe.jpg: not a regular file" in output and "loop.png: a link to itself" in output
    reasons = {
        Path(e["path"]).name: e["reason"] for e in json.loads(report.read_text())["left_out"]
    }
    assert set(reasons) == {"pipe.jpg", "loop.png"}


def test_names_are_shown_without_what_steers_a_terminal(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "x\x1b[2J\n\u202egpj.jpg"
    (folder / name).write_text("words")
    (folder / "raw\x07.nef").write_text("raw")
    assert infer.main([str(folder), "--out", str(tmp_path / "out")]) == 1
    output = capsys.readouterr()
    shown = output.out + output.err
    assert "x\\x1b[2J\\n\\u202egpj.jpg" in shown and "raw\\x07.nef" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert infer.main([str(folder / "no\x1bwhere")]) == 2
    assert "no\\x1bwhere" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        infer.main([str(folder), "--no\x1bsuch"])
    assert "--no\\x1bsuch" in capsys.readouterr().err


def test_names_that_are_not_utf8_are_colored_shown_and_reported(
    folder: Path, tmp_path: Path
) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (folder / name).write_bytes((folder / "deep/b.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (folder / os.fsdecode(b"raw\xe9.nef")).write_text("raw")
    report = tmp_path / "status.json"
    done = subprocess.run(
        [sys.executable, *INFER, str(folder), "--out", str(tmp_path / "out"), "--report", report],
        capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"4 of 4 photos colored" in done.stdout and b"raw\\udce9.nef" in done.stdout
    assert (tmp_path / "out" / name).exists()
    sources = [p["source"] for p in json.loads(report.read_bytes().decode())["photos"]]
    assert str(folder / name) in sources


def test_a_report_that_cannot_be_written_at_the_end_loses_no_summary(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "reports"
    run = pipeline.colorize_jobs

    def until_the_place_is_gone(*arguments: Any, **options: Any) -> Iterator[pipeline.Outcome]:
        yield from run(*arguments, **options)
        (place / "status.json").unlink(missing_ok=True)
        place.rmdir()
        place.write_text("in the way")

    monkeypatch.setattr(pipeline, "colorize_jobs", until_the_place_is_gone)
    arguments = [
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--report",
        str(place / "status.json"),
    ]
    assert infer.main(arguments) == 1
    output = capsys.readouterr()
    assert "3 of 3 photos colored" in output.out
    assert "error: report" in output.err and "Traceback" not in output.err


def test_a_run_that_ends_early_leaves_the_older_report(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any moment there is the older report or the new one, and no empty file."""
    report = tmp_path / "status.json"
    report.write_text("older")
    contents = []
    run = pipeline.colorize_jobs

    def watched(*arguments: Any, **options: Any) -> Iterator[pipeline.Outcome]:
        for outcome in run(*arguments, **options):
            contents.append(report.read_text())
            yield outcome

    monkeypatch.setattr(pipeline, "colorize_jobs", watched)
    arguments = [str(folder), "--out", str(tmp_path / "out"), "--report", str(report)]
    assert infer.main(arguments) == 0
    assert contents == ["older"] * 3
    assert json.loads(report.read_text())["counts"] == {"done": 3}


def test_after_ctrl_c_every_photo_that_was_written_is_in_the_report(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        Image.fromarray(np.full((20, 30), 9 * number, np.uint8)).save(folder / f"x{number:02}.png")
    out, report = tmp_path / "out", tmp_path / "status.json"
    read, started = pipeline.read, []

    def interrupt_at_the_fourth(path: Path, **options: Any) -> Any:
        started.append(path)
        if len(started) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return read(path, **options)

    monkeypatch.setattr(pipeline, "read", interrupt_at_the_fourth)
    code = infer.main([str(folder), "--out", str(out), "--report", str(report)])
    assert code == EXIT_INTERRUPTED
    written = {str(out / name) for name in outputs(out)}
    photos = json.loads(report.read_text())["photos"]
    assert {photo["target"] for photo in photos if photo["status"] == "done"} == written
    assert 4 <= len(written) < 15


def test_without_arguments_it_shows_help_and_the_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert infer.main([]) == 0
    output = capsys.readouterr().out
    assert "usage" in output and "python infer.py photos/" in output


def test_commands_are_dispatched_and_misspellings_met(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["infr"]) == 2
    assert "did you mean infer?" in capsys.readouterr().err
    assert dispatch(["infer"]) == 0
    assert dispatch([]) == 0 and dispatch(["--version"]) == 0


def test_report_resume_and_mark(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "out", tmp_path / "status.json"
    (folder / "broken.jpg").write_text("words")
    (folder / "raw.nef").write_text("raw")
    arguments = [str(folder), "--out", str(out), "--report", str(report)]
    assert infer.main(arguments) == 1
    tree = json.loads(report.read_text())
    assert tree["counts"] == {"done": 3, "failed": 1} and tree["weights"] == "0123456789ab"
    by_name = {Path(p["source"]).name: p for p in tree["photos"]}
    assert by_name["broken.jpg"]["status"] == "failed" and by_name["broken.jpg"]["reason"]
    assert tree["unsupported"] == [str(folder / "raw.nef")]
    assert "pix2color" in Image.open(out / "a.jpg").getexif()[305]
    assert "raw.nef" in capsys.readouterr().out
    assert infer.main([*arguments, "--resume"]) == 1
    assert json.loads(report.read_text())["counts"] == {"skipped": 3, "failed": 1}
    assert infer.main([*arguments[:3], "--no-provenance"]) == 1
    assert 305 not in Image.open(out / "a.jpg").getexif()


def test_keep_color_says_which_photos_it_left(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer.main([str(folder), "--out", str(tmp_path / "out"), "--skip-color"]) == 0
    output = capsys.readouterr().out
    assert "2 of 3 photos colored, 1 skipped" in output and "already has color" in output
    assert not (tmp_path / "out/deep/er/c.tif").exists()


def _ranks(*arguments: str) -> list[subprocess.Popen[str]]:
    """Two processes with the variables that torchrun sets."""
    ranks = [{"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"} for rank in "01"]
    return [
        subprocess.Popen(
            [sys.executable, *arguments], env=os.environ | rank, stderr=subprocess.PIPE, text=True
        )
        for rank in ranks
    ]


def _torchrun(*arguments: str) -> list[subprocess.Popen[str]]:
    # accelerate starts several processes on GPUs alone; torchrun sets the same variables.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return [subprocess.Popen([*launch, *arguments], stderr=subprocess.PIPE, text=True)]


@pytest.mark.parametrize("start", [_ranks, pytest.param(_torchrun, marks=pytest.mark.slow)])
def test_two_processes_share_a_folder(
    start: Callable[..., list[subprocess.Popen[str]]], folder: Path, tmp_path: Path
) -> None:
    for i in range(5):
        Image.fromarray(np.full((20, 30), 40 * i, np.uint8)).save(folder / f"x{i}.png")
    report, out = tmp_path / "status.json", tmp_path / "out"
    processes = start(*INFER, str(folder), "--out", str(out), "--report", str(report))
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    reports = [json.loads((tmp_path / f"status-{i}of2.json").read_text()) for i in (1, 2)]
    sources = [[p["source"] for p in r["photos"]] for r in reports]
    assert [len(s) for s in sources] == [4, 4]
    assert len({*sources[0], *sources[1]}) == 8
    assert len(outputs(out)) == 8


def _seconds(*command: str) -> float:
    """The least of five runs: other work on the machine only adds."""
    best = 1e9
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
    return best


def test_help_and_import_are_instant() -> None:
    bare = _seconds("-c", "pass")
    assert _seconds("infer.py", "--help") < 0.3
    assert _seconds("-c", "import pix2color") - bare < 0.2


def test_planning_and_help_import_nothing_heavy() -> None:
    code = (
        "import sys, pix2color, pix2color.jobs.planner, pix2color.cli.infer;"
        "heavy = {'torch', 'skimage', 'scipy', 'torchvision', 'tifffile'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_torch_brings_nothing_else_that_is_heavy(tmp_path: Path, folder: Path) -> None:
    code = (
        "import sys; from pix2color.cli import infer;"
        "code = infer.main(sys.argv[1:]);"
        "heavy = {'torchvision', 'lpips', 'skimage', 'scipy', 'accelerate', 'matplotlib', 'timm',"
        " 'torch._dynamo', 'sympy', 'tifffile', 'pandas'};"
        "assert 'torch' in sys.modules;"
        "sys.exit(code or ', '.join(heavy & set(sys.modules)) or 0)"
    )
    photo, out = str(folder / "a.jpg"), str(tmp_path / "out")
    command = [sys.executable, "-c", code, photo, "--out", out, "--runtime", "torch"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "out/a.jpg").mode == "RGB"


def test_photos_of_the_repository_are_small_and_gray() -> None:
    files = sorted((ROOT / "photos").glob("*.jpg"))
    assert len(files) == 6
    assert sum(f.stat().st_size for f in files) < 400_000
    assert all(Image.open(f).mode == "L" for f in files)
