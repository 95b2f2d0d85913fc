"""infer.py with videos among its inputs."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_model import calibrated, use_fake_model
from outputs import outputs
from PIL import Image

from pix2color.cli import infer
from pix2color.errors import Pix2ColorError
from pix2color.jobs.planner import plan_jobs
from pix2color.video import pyav

av = pytest.importorskip("av", reason="the video extra is not installed")

import video_factory as vf  # noqa: E402

from pix2color.video import pipeline  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_model(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    (root / "deep").mkdir(parents=True)
    frames = vf.to_gray(vf.shot("coffee", 5, step=2))
    Image.fromarray(frames[0]).save(root / "photo.png")
    vf.write_video(root / "deep/film.mp4", frames, sounds=1)
    return root


def test_a_folder_of_photos_and_videos(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "no.mkv").write_text("not a video")
    report = tmp_path / "status.json"
    arguments = [str(folder), "--out", str(tmp_path / "out"), "--report", str(report)]
    assert infer.main(arguments) == 1
    output = capsys.readouterr()
    assert "2 of 3 photos and videos colored" in output.out and "not a video" in output.err
    assert "Traceback" not in output.err
    assert [*outputs(tmp_path / "out")] == ["deep/film.mp4", "photo.png"]
    video = tmp_path / "out/deep/film.mp4"
    assert len(vf.decode(video)) == 5
    with av.open(str(video)) as container:
        assert "colors predicted by pix2color" in container.metadata["comment"]
        assert len(container.streams.audio) == 1
        rgb = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert np.ptp(rgb, axis=2).max() > 25
    statuses = {Path(p["source"]).name: p for p in json.loads(report.read_text())["photos"]}
    assert [statuses[n]["status"] for n in ("photo.png", "film.mp4", "no.mkv")] == [
        "done", "done", "failed",
    ]  # fmt: skip
    before = video.stat().st_mtime_ns
    infer.main([*arguments, "--resume"])
    assert "2 skipped" in capsys.readouterr().out and video.stat().st_mtime_ns == before


def test_decode_options_and_no_mark(folder: Path, tmp_path: Path) -> None:
    source = str(folder / "deep/film.mp4")
    gray = [
        source,
        "--out",
        str(tmp_path / "out"),
        "--saturation",
        "0",
        "--no-provenance",
        "--quiet",
    ]
    assert infer.main([*gray, "--size", "32", "--temperature", "0.9", "--vividness", "0.1"]) == 0
    with av.open(str(tmp_path / "out/film.mp4")) as container:
        assert "comment" not in container.metadata
        frame = next(container.decode(video=0))
    assert np.abs(vf.read_chroma(frame)).max() <= 1


def test_a_video_is_calibrated_as_photos_are(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fake_model(monkeypatch, calibrated())
    chroma = []
    for share in ("0", "1"):
        out = tmp_path / share
        source = str(folder / "deep/film.mp4")
        assert infer.main([source, "--out", str(out), "--quiet", "--calibration", share]) == 0
        chroma.append(np.abs(vf.read_chroma(vf.decode(out / "film.mp4")[2]).astype(int)).mean())
    assert chroma[1] == pytest.approx(chroma[0] / 2, rel=0.15)


@pytest.mark.parametrize(
    "options",
    [
        ["--variants", "2"], ["--hints", "hints.json"], ["--reference", "a.jpg"],
        ["--confidence"], ["--lossless-jpeg"], ["--srgb"], ["--skip-color"],
    ],
)  # fmt: skip
def test_options_for_photos_are_refused(
    options: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(folder / "deep/film.mp4")
    assert infer.main([source, "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert f"{options[0]} is for photos" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_any_error_of_a_video_is_its_outcome(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def faulty(*arguments: object, **options: object) -> None:
        raise IndexError("no such stream")

    monkeypatch.setattr("pix2color.video.pipeline.colorize_video", faulty)
    assert infer.main([str(folder), "--out", str(tmp_path / "out")]) == 1
    output = capsys.readouterr()
    assert "1 of 2 photos and videos colored" in output.out
    assert "film.mp4: IndexError: no such stream" in output.err


def test_videos_are_planned_like_photos(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = plan_jobs([folder], out)
    assert [job.target for job in plan.videos] == [out / "deep/film.mp4"]
    assert [job.target for job in plan.jobs] == [out / "photo.png"]
    with pytest.raises(Pix2ColorError, match="never"):
        plan_jobs([folder], folder)
    (folder / "film.avi").write_bytes(b"x")
    (folder / "film.mkv").write_bytes(b"x")
    problems = {job.source.name: job.problem for job in plan_jobs([folder], out).videos}
    assert "film.mkv would both become" in problems["film.avi"]
    assert "film.avi would both become" in problems["film.mkv"] and problems["film.mp4"] == ""
    (folder / "film.avi").unlink()
    (folder / "film.partial.mkv").write_bytes(b"x")
    problems = {job.source.name: job.problem for job in plan_jobs([folder], out).videos}
    assert [name for name in sorted(problems) if problems[name]] == ["film.mkv", "film.partial.mkv"]


def test_without_pyav(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                      capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setattr(pyav, "installed", lambda: False)
    assert infer.main([str(folder), "--out", str(tmp_path / "out")]) == 0
    output = capsys.readouterr().out
    assert "1 of 1 photos colored" in output
    assert "film.mp4: videos need PyAV: pip install" in output and "[video]" in output
    assert infer.main([str(folder / "deep/film.mp4"), "--out", str(tmp_path / "out")]) == 2
    assert "[video]" in capsys.readouterr().err


STOPPED = """
import functools, sys
sys.path.insert(0, "tests")
from fake_model import released
from pix2color.checkpoints import checkpoint
from pix2color.video import pipeline
checkpoint.load = lambda *args, **options: released()
from pix2color.runtime import load
load.find_graph = lambda weights: None
pipeline.VideoOptions = functools.partial(pipeline.VideoOptions, segment_frames=10)
colorize_frame = pipeline._colorize_frame
count = 0
def counted(*arguments):
    global count
    count += 1
    if count == 25:
        print("now", flush=True)
        sys.stdin.readline()
    return colorize_frame(*arguments)
pipeline._colorize_frame = counted
from pix2color.cli import infer
sys.exit(infer.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_playable_video(
    number: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    frames = vf.to_gray(vf.shot("coffee", 40, step=2))
    source = vf.write_video(tmp_path / "film.mp4", frames, sounds=1)
    out = tmp_path / "out"
    command = [sys.executable, "-c", STOPPED, str(source), "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "now\n"
    process.send_signal(number)
    _, error = process.communicate("\n", timeout=60)
    assert process.returncode == 130, error
    assert "film.partial.mp4; --resume continues" in error and "Traceback" not in error
    partial = out / "film.partial.mp4"
    assert 20 <= len(vf.decode(partial)) <= 25 and not (out / "film.mp4").exists()
    options = functools.partial(pipeline.VideoOptions, segment_frames=10)
    monkeypatch.setattr(pipeline, "VideoOptions", options)
    assert infer.main([str(source), "--out", str(out), "--resume"]) == 0
    assert "20 frames are done already" in capsys.readouterr().err
    assert len(vf.decode(out / "film.mp4")) == 40
    assert [path.name for path in out.iterdir()] == ["film.mp4"]
