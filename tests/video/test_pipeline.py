"""Colorized videos keep luma, times, sound and tags of their source."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import video_factory as vf

from pix2color.errors import PhotoError
from pix2color.inference.colorizer import Colorizer
from pix2color.photo import Provenance
from pix2color.video import pipeline, yuv

av = pytest.importorskip("av", reason="the video extra is not installed")


KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "mp4": ("a.mp4", {}, "yuv420p"),
    "mov": ("a.mov", {"sounds": 1}, "yuv420p"),
    "mkv, two sounds": ("a.mkv", {"sounds": 2}, "yuv420p"),
    "webm": ("a.webm", {"codec": "libvpx-vp9", "options": {"crf": "20"}}, "yuv420p"),
    "full range": ("a.mp4", {"pixels": "yuvj420p"}, "yuv420p"),
    "4:4:4, odd size": ("a.mkv", {"pixels": "yuv444p"}, "yuv444p"),
    "10 bits": ("a.mkv", {"pixels": "yuv420p10le"}, "yuv420p10le"),
    "10 bits, 4:2:2": ("a.mov", {"codec": "prores_ks", "pixels": "yuv422p10le"}, "yuv420p10le"),
    "RGB": ("a.mkv", {"codec": "ffv1", "pixels": "bgr0"}, "yuv420p"),
    "gray": ("a.mkv", {"codec": "ffv1", "pixels": "gray"}, "yuv420p"),
    "avi": ("a.avi", {"codec": "mpeg4", "sounds": 1, "options": {"b": "900000"}}, "yuv420p"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_luma_times_depth_and_sound_are_kept(
    kind: str, frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    name, how, pixels = KINDS[kind]
    if "odd" in kind:
        frames = [frame[:47, :63] for frame in frames]
    source = vf.write_video(tmp_path / name, frames, **how)
    target = tmp_path / "out" / Path(name).with_suffix(".mkv" if name == "a.avi" else name[1:])
    target.parent.mkdir()
    result = vf.colorize(source, colorizer, target)
    assert result.status == "done" and result.frames == len(frames)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert vf.frame_times(target) == vf.frame_times(source)
    before, after = vf.read_luma(source), vf.read_luma(target)
    assert before.dtype == after.dtype and before.shape == after.shape
    scale = 1 if before.dtype == np.uint8 else 4
    # So small a frame is nearly all detail; at 480p it is 0.5.
    assert np.abs(before.astype(int) - after).mean() < 2.6 * scale
    last = vf.decode(target)[-1]
    assert last.format.name in (pixels, pixels.replace("v4", "vj4"))
    assert last.color_range == (2 if kind in ("full range", "gray") else 1)
    assert last.colorspace == (1 if kind == "RGB" else 6)
    for number in range(how.get("sounds", 0)):
        assert vf.audio_packets(target, number) == vf.audio_packets(source, number)
    if last.format.name == "yuv420p":
        assert np.abs(vf.read_chroma(last)).max() > 10


def test_variable_times_rotation_shape_and_tags_are_kept(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    shown = [0, 3, 4, 10, 11, 30, 31, 70]
    source = vf.write_video(
        tmp_path / "a.mp4", frames, times=shown, base=Fraction(1, 100), rotation=90,
        aspect=Fraction(16, 15), tags={"title": "a video", "comment": "from the attic"},
    )  # fmt: skip
    target = tmp_path / "out.mp4"
    vf.colorize(source, colorizer, target, provenance=Provenance("0123", "size 48"))
    assert (
        vf.frame_times(target) == vf.frame_times(source) == [Fraction(time, 100) for time in shown]
    )
    with av.open(str(source)) as old, av.open(str(target)) as new:
        assert new.streams.video[0].sample_aspect_ratio == Fraction(16, 15)
        assert new.metadata["title"] == "a video"
        comment = new.metadata["comment"]
        assert comment.startswith("colors predicted by pix2color") and "attic" in comment
        assert next(new.decode(video=0)).rotation == next(old.decode(video=0)).rotation == 90
    vf.colorize(source, colorizer, target)
    with av.open(str(target)) as new:
        assert new.metadata["comment"] == "from the attic"


def test_the_network_sees_rotated_videos_upright(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    """Colors of a video that lies on its side are those of the upright video, turned."""
    upright = vf.write_video(tmp_path / "up.mp4", frames)
    lying = [np.ascontiguousarray(np.rot90(frame, -1)) for frame in frames]
    turned = vf.write_video(tmp_path / "lying.mp4", lying, rotation=90)
    for path in (upright, turned):
        vf.colorize(path, colorizer)
    one, two = (
        vf.read_chroma(vf.decode(tmp_path / f"out-{p.stem}.mkv")[0]) for p in (upright, turned)
    )
    assert np.abs(np.rot90(two, 1, axes=(1, 2)) - one).mean() < 3


def test_a_video_whose_times_start_late_is_complete(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    late = [100 + number for number in range(len(frames))]
    source = vf.write_video(tmp_path / "a.mkv", frames, times=late, sounds=1)
    assert vf.colorize(source, colorizer).notes == ()
    assert vf.frame_times(tmp_path / "out-a.mkv") == vf.frame_times(source)


def test_streams_that_a_container_cannot_hold_are_noted(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=64, height=48)
        stream.pix_fmt = "yuv420p"
        words = container.add_mux_stream("subrip")
        container.add_attachment("note.txt", "text/plain", b"a font, say")
        container.start_encoding()
        for number, frame in enumerate(frames):
            result = av.VideoFrame.from_ndarray(frame, format="gray")
            result.pts, result.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(result))
        container.mux(stream.encode(None))
        line = av.Packet(b"a word")
        line.pts = line.dts = 40
        line.duration, line.time_base, line.stream = 100, Fraction(1, 1000), words
        container.mux(line)
    assert vf.colorize(source, colorizer).notes == ()
    with av.open(str(tmp_path / "out-a.mkv")) as new:
        assert [s.type for s in new.streams] == ["video", "subtitle", "attachment"]
        assert [bytes(p) for p in new.demux(subtitles=0) if p.size] == [b"a word"]
    notes = vf.colorize(source, colorizer, tmp_path / "out.mp4").notes
    assert any("stream 1 (subtitle, srt) is left out" in note for note in notes), notes


def test_a_full_disk_leaves_nothing_under_the_name(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = vf.write_video(tmp_path / "a.mp4", frames)

    def full(self: Path, other: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(PhotoError, match="No space left"):
        vf.colorize(source, colorizer, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_few_frames_are_read_ahead(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow encoding is: memory does not grow with the length of a video."""
    source = vf.write_video(tmp_path / "a.mp4", frames * 4)
    read = 0
    luma_to_gray = yuv.luma_to_gray

    def counted(*args: Any) -> Any:
        nonlocal read
        read += 1
        return luma_to_gray(*args)

    monkeypatch.setattr(yuv, "luma_to_gray", counted)
    ahead: list[int] = []

    def slowly(progress: pipeline.VideoProgress) -> None:
        time.sleep(0.02)
        ahead.append(read - progress.done)

    vf.colorize(source, colorizer, progress=slowly)
    assert 1 <= max(ahead) <= 5
