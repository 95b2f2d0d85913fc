"""Stopped and killed runs: the partial video, and resuming."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import video_factory as vf

from pix2color.errors import PhotoError
from pix2color.inference.colorizer import Colorizer
from pix2color.video import pipeline

av = pytest.importorskip("av", reason="the video extra is not installed")

ROOT = Path(__file__).parents[2]


def test_a_stopped_video_is_playable_and_resumes_to_the_same_frames(
    colorizer: Colorizer, tmp_path: Path
) -> None:
    frames = vf.to_gray(vf.shot("coffee", 10, step=2))
    source = vf.write_video(tmp_path / "a.mp4", frames, sounds=1)
    complete, target = tmp_path / "complete.mp4", tmp_path / "out.mp4"
    partial = tmp_path / "out.partial.mp4"
    vf.colorize(source, colorizer, complete, segment_frames=4)
    result = vf.colorize(source, colorizer, target, segment_frames=4, stop=vf.stop_after(6))
    assert result == pipeline.VideoResult("stopped", partial, 6, ())
    assert not target.exists() and len(vf.decode(partial)) == 6
    assert 0 < len(vf.audio_packets(partial)) < len(vf.audio_packets(source))
    updates: list[pipeline.VideoProgress] = []
    vf.colorize(source, colorizer, target, segment_frames=4, resume=True, progress=updates.append)
    assert updates[0] == pipeline.VideoProgress(4, 10) and updates[-1].done == 10
    assert vf.video_packets(target) == vf.video_packets(complete)
    assert not partial.exists() and not list(tmp_path.glob(".*"))


def test_other_settings_or_no_resume_start_over(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    source, target = vf.write_video(tmp_path / "a.mp4", frames), tmp_path / "out.mp4"

    def frames_kept(**options: Any) -> int:
        vf.colorize(source, colorizer, target, segment_frames=2, stop=vf.stop_after(4))
        updates: list[pipeline.VideoProgress] = []
        vf.colorize(source, colorizer, target, segment_frames=2, progress=updates.append, **options)
        return updates[0].done

    assert frames_kept(resume=True) == 4
    assert frames_kept() == 0
    assert frames_kept(resume=True, stabilization="none") == 0


def test_a_missing_source_does_not_cost_the_finished_segments(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    """A disk that is not mounted at the second start: the third one resumes."""
    source, target = vf.write_video(tmp_path / "a.mp4", frames), tmp_path / "out.mp4"

    def crash(progress: pipeline.VideoProgress) -> None:
        if progress.done == 5:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        vf.colorize(source, colorizer, target, segment_frames=2, progress=crash)
    source.rename(tmp_path / "elsewhere.mp4")
    with pytest.raises(PhotoError, match="No such file"):
        vf.colorize(source, colorizer, target, segment_frames=2, resume=True)
    (tmp_path / "elsewhere.mp4").rename(source)
    updates: list[pipeline.VideoProgress] = []
    vf.colorize(source, colorizer, target, segment_frames=2, resume=True, progress=updates.append)
    assert updates[0].done == 4


def test_stopped_before_the_first_frame(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    source = vf.write_video(tmp_path / "a.mp4", frames)
    result = vf.colorize(source, colorizer, stop=lambda: True)
    assert result.path is None and [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, "tests")
import video_factory as vf
from fake_model import fake_colorizer
def slowly(progress):
    print(progress.done, flush=True)
    time.sleep(0.05)
vf.colorize(Path(sys.argv[1]), fake_colorizer(), Path(sys.argv[2]),
            segment_frames=5, resume=True, progress=slowly)
"""


@pytest.mark.slow
def test_killed_runs_resume_to_the_same_frames(colorizer: Colorizer, tmp_path: Path) -> None:
    frames = vf.to_gray([*vf.shot("coffee", 20, step=2), *vf.shot("rocket", 20, step=2)])
    source = vf.write_video(tmp_path / "a.mp4", frames, sounds=1)
    complete, target = tmp_path / "complete.mp4", tmp_path / "out.mp4"
    vf.colorize(source, colorizer, complete, segment_frames=5)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for count in (7, 28):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(source), str(target)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= count:
                process.kill()
                break
        process.wait()
        assert not target.exists()
    updates: list[pipeline.VideoProgress] = []
    vf.colorize(source, colorizer, target, segment_frames=5, resume=True, progress=updates.append)
    assert updates[0].done >= 25
    assert vf.video_packets(target) == vf.video_packets(complete)
    assert vf.audio_packets(target) == vf.audio_packets(source)
    assert not list(tmp_path.glob(".*"))
