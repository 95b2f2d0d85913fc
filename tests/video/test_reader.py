"""Broken videos are refused, or read as far as possible with a note."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import video_factory as vf

from pix2color.errors import PhotoError
from pix2color.inference.colorizer import Colorizer

av = pytest.importorskip("av", reason="the video extra is not installed")


def broken(path: Path) -> None:
    """Overwrite the middle of a video's pictures."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    position, size = places[len(places) // 2]
    data[position + 4 : position + size] = b"\xff" * (size - 4)
    path.write_bytes(data)


def refused(path: Path, colorizer: Colorizer) -> str:
    """The error of a video; nothing may be left beside it."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(PhotoError) as caught:
        vf.colorize(path, colorizer)
    left = [found for found in path.parent.iterdir() if found not in before]
    assert left == []
    return str(caught.value)


def test_files_that_are_not_videos_are_refused(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    words = tmp_path / "words.mp4"
    words.write_text("these are words " * 100)
    assert "not a video" in refused(words, colorizer)
    empty = tmp_path / "empty.mkv"
    empty.write_bytes(b"")
    assert "not a video" in refused(empty, colorizer)
    cut = vf.write_video(tmp_path / "cut.mp4", frames)
    cut.write_bytes(cut.read_bytes()[:900])  # its index is at the end
    assert "index is missing" in refused(cut, colorizer)
    song = tmp_path / "song.mp4"
    with av.open(str(song), "w") as container:
        track = container.add_stream("aac", rate=8000, layout="mono")
        container.start_encoding()
        vf.encode_sound(container, track, 0.5, 0.1)
    assert "no video stream" in refused(song, colorizer)
    bare = tmp_path / "bare.avi"
    with av.open(str(bare), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=64, height=48)
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
    assert "no frames" in refused(bare, colorizer)


def test_broken_and_missing_parts_are_noted(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    middle = vf.write_video(tmp_path / "middle.mkv", frames, codec="mjpeg", pixels="yuvj420p")
    broken(middle)
    result = vf.colorize(middle, colorizer)
    assert result.status == "done" and result.frames >= len(frames) - 1
    assert any("broken" in note or "damaged" in note for note in result.notes)
    long = vf.write_video(
        tmp_path / "long.mkv", frames, rate=2, codec="ffv1", pixels="yuv420p", sounds=1
    )
    long.write_bytes(long.read_bytes()[: long.stat().st_size // 2])
    result = vf.colorize(long, colorizer)
    assert 0 < result.frames < len(frames)
    assert any("it ends after" in note for note in result.notes)
    assert len(vf.decode(tmp_path / "out-long.mkv")) == result.frames


def test_frames_of_another_size_are_resized_and_noted(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    """Two JPEG sizes in one stream: the raw packets of two videos under one header."""
    parts = [
        vf.write_video(tmp_path / "one.mkv", frames, codec="mjpeg", pixels="yuvj420p"),
        vf.write_video(
            tmp_path / "two.mkv", [f[:32, :48] for f in frames], codec="mjpeg", pixels="yuvj420p"
        ),
    ]
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as new, av.open(str(parts[0])) as first:
        stream = new.add_stream_from_template(first.streams.video[0], opaque=True)
        for number, part in enumerate(parts):
            with av.open(str(part)) as old:
                for packet in old.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = packet.pts + number * 40 * len(frames)
                        packet.stream = stream
                        new.mux(packet)
    result = vf.colorize(source, colorizer)
    assert any("change their size" in note for note in result.notes), result
    result = vf.decode(tmp_path / "out-a.mkv")
    assert len(result) == 2 * len(frames) and {(f.width, f.height) for f in result} == {(64, 48)}
