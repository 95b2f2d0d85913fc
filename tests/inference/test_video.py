"""Films: what is kept, what is steady, what goes on after a stop, and what is refused."""

from __future__ import annotations

import itertools
import os
import signal as signals
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_model import released

from pix2color.errors import PhotoError
from pix2color.inference.colorizer import Colorizer
from pix2color.photo import Provenance

av = pytest.importorskip("av", reason="the video extra is not installed")

import filming  # noqa: E402

from pix2color.video import optical_flow, pipeline, reader, scene_cuts, stabilizer, yuv  # noqa: E402
from pix2color.video.rotation import Rotation  # noqa: E402

ROOT = Path(__file__).parents[2]
FRAMES = 8


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer(released())


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """A gray pan, 48 x 64. Shared: do not write into it."""
    return filming.gray(filming.shot("coffee", FRAMES, step=2))


def color(
    source: Path, colorizer: Colorizer, target: Path | None = None, **options: Any
) -> pipeline.VideoResult:
    target = target or source.with_name(f"out-{source.stem}.mkv")
    return pipeline.colorize_video(
        source, target, colorizer, pipeline.VideoOptions(colorizer.decode, **options)
    )


def decoded(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times(path: Path) -> list[Fraction]:
    return [frame.pts * frame.time_base for frame in decoded(path)]


def luma(path: Path) -> np.ndarray:
    with reader.Reader(path) as video:
        return np.stack([yuv.luma(frame, video.signal) for frame in video.frames()])


def chroma(frame: Any) -> np.ndarray:
    """The Cb and Cr planes of an 8-bit frame, 0 in the middle."""
    planes = []
    for plane in frame.planes[1:]:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
        planes.append(rows.astype(int) - 128)
    return np.stack(planes)


def sound(path: Path, number: int = 0) -> list[bytes]:
    with av.open(str(path)) as container:
        track = container.streams.audio[number]
        return [bytes(packet) for packet in container.demux(track) if packet.size]


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
    source = filming.write(tmp_path / name, frames, **how)
    target = tmp_path / "out" / Path(name).with_suffix(".mkv" if name == "a.avi" else name[1:])
    target.parent.mkdir()
    result = color(source, colorizer, target)
    assert result.status == "done" and result.frames == len(frames)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert times(target) == times(source)
    before, after = luma(source), luma(target)
    assert before.dtype == after.dtype and before.shape == after.shape
    scale = 1 if before.dtype == np.uint8 else 4
    # So small a picture is nearly all detail; at 480p it is 0.5.
    assert np.abs(before.astype(int) - after).mean() < 2.6 * scale
    made = decoded(target)
    assert made[0].format.name == pixels or made[0].format.name == pixels.replace("v4", "vj4")
    first = decoded(source)[0]
    expected = 2 if kind in ("full range", "gray") else 1
    assert made[0].color_range == expected, first.color_range
    assert made[0].colorspace == (1 if kind == "RGB" else 6)
    for number in range(how.get("sounds", 0)):
        assert sound(target, number) == sound(source, number)
    if made[0].format.name == "yuv420p":
        assert np.abs(chroma(made[-1])).max() > 10


def test_planes_before_the_encoder_hold_the_very_luma(frames: list[np.ndarray]) -> None:
    form = yuv.PixelFormat(64, 48, 8, False, 6, 2, 2)
    given = np.arange(256, dtype=np.uint8)[None].repeat(12, 0).reshape(48, 64)
    codes = yuv.gray_values(given, form)
    assert codes.min() == 0 and codes.max() == 255  # what lies outside 16..235 is cut for colors
    made = form.frame(given, yuv.chroma(codes, np.full((2, 6, 8), 40, np.float32), form))
    assert np.array_equal(yuv.luma(made, form), given)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_chroma_shows_the_color_that_was_asked_for(bits: int, full: bool, matrix: int) -> None:
    """Against full_size.compose: of a flat color RGB comes out, shifted by the luma's change."""
    from pix2color.inference import compose

    form = yuv.PixelFormat(32, 32, bits, full, matrix, 2, 2)
    black, white = form.luma_range()
    given = np.full((32, 32), (black + white) // 2, np.uint8 if bits == 8 else np.uint16)
    codes = yuv.gray_values(given, form)
    for a, b in ((20.0, 30.0), (-25.0, 10.0), (10.0, -40.0), (0.0, 0.0)):
        ab = np.stack([np.full((4, 4), a), np.full((4, 4), b)]).astype(np.float32)
        cb, cr = (plane[0, 0].astype(float) for plane in yuv.chroma(codes, ab, form))
        assert (cb, cr) == (128 * 2 ** (bits - 8),) * 2 or (a, b) != (0, 0)
        reach = 2**bits - 1 if full else 224 * 2 ** (bits - 8)
        red, blue = yuv._WEIGHTS[matrix]
        shown = [
            (cr - 128 * 2 ** (bits - 8)) / reach * 2 * (1 - red),
            (cb - 128 * 2 ** (bits - 8)) / reach * 2 * (1 - blue),
        ]
        wanted = compose.compose_rgb(codes, ab)[0, 0] / np.iinfo(codes.dtype).max
        own = red * wanted[0] + (1 - red - blue) * wanted[1] + blue * wanted[2]
        assert np.allclose(shown, [wanted[0] - own, wanted[2] - own], atol=0.012)


def test_variable_times_rotation_shape_and_tags_are_kept(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    shown = [0, 3, 4, 10, 11, 30, 31, 70]
    source = filming.write(
        tmp_path / "a.mp4", frames, times=shown, base=Fraction(1, 100), rotation=90,
        aspect=Fraction(16, 15), tags={"title": "a film", "comment": "from the attic"},
    )  # fmt: skip
    target = tmp_path / "out.mp4"
    color(source, colorizer, target, mark=Provenance("0123", "size 48"))
    assert times(target) == times(source) == [Fraction(time, 100) for time in shown]
    with av.open(str(source)) as old, av.open(str(target)) as new:
        assert new.streams.video[0].sample_aspect_ratio == Fraction(16, 15)
        assert new.metadata["title"] == "a film"
        comment = new.metadata["comment"]
        assert comment.startswith("colors predicted by pix2color") and "attic" in comment
        assert next(new.decode(video=0)).rotation == next(old.decode(video=0)).rotation == 90
    color(source, colorizer, target)
    with av.open(str(target)) as new:
        assert new.metadata["comment"] == "from the attic"


def test_a_turned_film_is_seen_upright(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    """Colors of a film that lies on its side are those of the upright film, turned."""
    upright = filming.write(tmp_path / "up.mp4", frames)
    lying = [np.ascontiguousarray(np.rot90(frame, -1)) for frame in frames]
    turned = filming.write(tmp_path / "lying.mp4", lying, rotation=90)
    for path in (upright, turned):
        color(path, colorizer)
    one, two = (chroma(decoded(tmp_path / f"out-{p.stem}.mkv")[0]) for p in (upright, turned))
    assert np.abs(np.rot90(two, 1, axes=(1, 2)) - one).mean() < 3


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("across", [False, True])
def test_turning_back(swapped: bool, down: bool, across: bool) -> None:
    plane = np.arange(12).reshape(3, 4)
    turn = Rotation(swapped, down, across)
    assert np.array_equal(turn.invert(turn.apply(plane)[None])[0], plane)


def test_cuts_are_found_and_motion_is_none() -> None:
    names = ("coffee", "astronaut", "rocket", "chelsea", "camera")
    draw = np.random.default_rng(0)
    pans = {
        name: [frame / 2.55 for frame in filming.gray(filming.shot(name, 6, step=4))]
        for name in names
    }
    for name, pan in pans.items():
        for before, after in itertools.pairwise(pan):
            flickering = after * draw.uniform(0.85, 1.15) + draw.normal(0, 3, after.shape)
            assert not scene_cuts.is_cut(before, flickering), name
        for other in names:
            assert other == name or scene_cuts.is_cut(pan[-1], pans[other][0]), (name, other)


def test_flow_finds_a_pan() -> None:
    takes = filming.shot("astronaut", 2, height=80, width=106, step=3)
    before, after = (np.float32(frame / 2.55) for frame in filming.gray(takes))
    moved = optical_flow.flow(before, after)
    rows, columns = filming.places(*takes, 80, 106)
    wanted = np.stack([rows, columns]) - np.mgrid[:80, :106]
    error = np.hypot(*(moved - wanted))
    assert np.median(error) < 0.4 and np.hypot(*wanted).mean() > 2.5
    back = optical_flow.warp(before[None], moved)[0]
    there = optical_flow.inside(moved)
    assert np.abs(back - after)[there].mean() < 0.4 * np.abs(before - after)[there].mean()


def test_carrying_by_nothing_changes_nothing() -> None:
    planes = np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32)
    assert np.allclose(
        optical_flow.warp(planes, np.zeros((2, 7, 5), np.float32)), planes, atol=1e-5
    )
    assert optical_flow.inside(np.zeros((2, 7, 5), np.float32)).all()


def steadied(takes: list[filming.Take], kind: stabilizer.Method) -> tuple[list[np.ndarray], int]:
    """Noisy colors of a film after Steady, and how many shots it saw."""
    draw = np.random.default_rng(0)
    one = stabilizer.TemporalStabilizer(kind)
    made = []
    for take, gray in zip(takes, filming.gray(takes), strict=True):
        level = np.float32(gray / 2.55)
        true = take.rgb.transpose(2, 0, 1)[:2] / 4
        noise = draw.normal(0, 6, (2, 1, 1)) * np.ones_like(true)
        made.append(one(np.float32(true + noise), level, level))
    return made, one.shots


def unsteadiness(takes: list[filming.Take], made: list[np.ndarray]) -> float:
    found = []
    for number in range(1, len(takes)):
        height, width = made[number].shape[1:]
        rows, columns = filming.places(takes[number - 1], takes[number], height, width)
        moved = np.float32(np.stack([rows, columns]) - np.mgrid[:height, :width])
        change = made[number] - optical_flow.warp(made[number - 1], moved)
        found.append(np.abs(change)[:, optical_flow.inside(moved)].mean())
    return float(np.mean(found))


def test_steadiness_lessens_flicker_and_ends_with_the_shot() -> None:
    pan = filming.shot("coffee", 8, height=80, width=106, step=2)
    figures = {kind: unsteadiness(pan, steadied(pan, kind)[0]) for kind in ("none", "flow")}
    assert figures["flow"] < 0.45 * figures["none"]
    other = filming.shot("rocket", 4, height=80, width=106, step=2)
    both, found = steadied([*pan, *other], "flow")
    plain, _ = steadied([*pan, *other], "none")
    assert found == 2 and np.array_equal(both[8], plain[8])  # nothing of the first shot is left


def test_what_comes_into_view_keeps_its_own_colors() -> None:
    """A dark bar moves over a light ground: behind it no ghost of its color stays."""
    made = []
    one = stabilizer.TemporalStabilizer("flow")
    for number in range(8):
        level = np.full((60, 80), 80, np.float32)
        ab = np.zeros((2, 60, 80), np.float32)
        bar = slice(10 + 6 * number, 20 + 6 * number)
        level[:, bar], ab[:, :, bar] = 20, 50
        made.append(one(ab, level, level))
    behind = made[-1][:, :, 10 : 10 + 6 * 7 - 2]
    assert np.abs(behind).mean() < 2


def test_a_stopped_film_is_playable_and_goes_on_to_the_same_frames(
    colorizer: Colorizer, tmp_path: Path
) -> None:
    frames = filming.gray(filming.shot("coffee", 10, step=2))
    source = filming.write(tmp_path / "a.mp4", frames, sounds=1)
    options = pipeline.VideoOptions(colorizer.decode, segment=4)
    pipeline.colorize_video(source, tmp_path / "whole.mp4", colorizer, options)
    target = tmp_path / "out.mp4"
    result = pipeline.colorize_video(source, target, colorizer, options, stop=after(6))
    partial = tmp_path / "out.partial.mp4"
    assert result == pipeline.VideoResult("stopped", partial, 6, ())
    assert not target.exists() and len(decoded(partial)) == 6
    assert 0 < len(sound(partial)) < len(sound(source))
    going_on = pipeline.VideoOptions(colorizer.decode, segment=4, resume=True)
    stages: list[pipeline.VideoProgress] = []
    pipeline.colorize_video(source, target, colorizer, going_on, progress=stages.append)
    assert stages[0] == pipeline.VideoProgress(4, 10) and stages[-1].done == 10
    assert packets(target) == packets(tmp_path / "whole.mp4")
    assert not partial.exists() and not list(tmp_path.glob(".*"))


def after(count: int) -> Callable[[], bool]:
    """Says stop from its `count`-th call on."""
    calls = iter(range(count))
    return lambda: next(calls, None) is None


def packets(path: Path) -> list[tuple[int, bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [(p.pts, bytes(p)) for p in container.demux(stream) if p.size]


def test_other_settings_or_no_resume_begin_again(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    source, target = filming.write(tmp_path / "a.mp4", frames), tmp_path / "out.mp4"

    def first_stage(**how: Any) -> int:
        pipeline.colorize_video(
            source,
            target,
            colorizer,
            pipeline.VideoOptions(colorizer.decode, segment=2),
            stop=after(4),
        )
        stages: list[pipeline.VideoProgress] = []
        given = {"decode": colorizer.decode, "segment": 2} | how
        pipeline.colorize_video(
            source, target, colorizer, pipeline.VideoOptions(**given), progress=stages.append
        )
        return stages[0].done

    assert first_stage(resume=True) == 4
    assert first_stage() == 0
    assert first_stage(resume=True, steadiness="none") == 0


def test_stopped_before_the_first_frame(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    source = filming.write(tmp_path / "a.mp4", frames)
    options = pipeline.VideoOptions(colorizer.decode)
    result = pipeline.colorize_video(
        source, tmp_path / "b.mp4", colorizer, options, stop=lambda: True
    )
    assert result.path is None and sorted(p.name for p in tmp_path.glob("[!.]*")) == ["a.mp4"]


def broken(path: Path) -> None:
    """Overwrite the middle of a film's pictures."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    position, size = places[len(places) // 2]
    data[position + 4 : position + size] = b"\xff" * (size - 4)
    path.write_bytes(data)


def refused(path: Path, colorizer: Colorizer) -> str:
    """The error of a film; nothing may be left beside it."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(PhotoError) as caught:
        color(path, colorizer)
    left = [found for found in path.parent.iterdir() if found not in before]
    assert left == []
    return str(caught.value)


def test_what_is_no_film_is_refused(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    words = tmp_path / "words.mp4"
    words.write_text("these are words " * 100)
    assert "not a film" in refused(words, colorizer)
    empty = tmp_path / "empty.mkv"
    empty.write_bytes(b"")
    assert "not a film" in refused(empty, colorizer)
    cut = filming.write(tmp_path / "cut.mp4", frames)
    cut.write_bytes(cut.read_bytes()[:900])  # its index is at the end
    assert "index is missing" in refused(cut, colorizer)
    song = tmp_path / "song.mp4"
    with av.open(str(song), "w") as container:
        track = container.add_stream("aac", rate=8000, layout="mono")
        container.start_encoding()
        filming._sound(container, track, 0.5, 0.1)
    assert "no video stream" in refused(song, colorizer)
    bare = tmp_path / "bare.avi"
    with av.open(str(bare), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=64, height=48)
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
    assert "no frames" in refused(bare, colorizer)


def test_broken_and_missing_parts_are_said(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    middle = filming.write(tmp_path / "middle.mkv", frames, codec="mjpeg", pixels="yuvj420p")
    broken(middle)
    result = color(middle, colorizer)
    assert result.status == "done" and result.frames >= FRAMES - 1
    assert any("broken" in note or "damaged" in note for note in result.notes)
    long = filming.write(
        tmp_path / "long.mkv", frames, rate=2, codec="ffv1", pixels="yuv420p", sounds=1
    )
    long.write_bytes(long.read_bytes()[: long.stat().st_size // 2])
    result = color(long, colorizer)
    assert 0 < result.frames < FRAMES
    assert any("it ends after" in note for note in result.notes)
    assert len(decoded(tmp_path / "out-long.mkv")) == result.frames


def test_a_film_that_begins_late_is_whole(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    late = [100 + number for number in range(FRAMES)]
    source = filming.write(tmp_path / "a.mkv", frames, times=late, sounds=1)
    assert color(source, colorizer).notes == ()
    assert times(tmp_path / "out-a.mkv") == times(source)


def test_a_changing_size_is_said_and_made_one(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    """Two JPEG sizes in one stream: the raw packets of two films under one header."""
    parts = [
        filming.write(tmp_path / "one.mkv", frames, codec="mjpeg", pixels="yuvj420p"),
        filming.write(
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
                        packet.pts = packet.dts = packet.pts + number * 40 * FRAMES
                        packet.stream = stream
                        new.mux(packet)
    result = color(source, colorizer)
    assert any("change their size" in note for note in result.notes), result
    made = decoded(tmp_path / "out-a.mkv")
    assert len(made) == 2 * FRAMES and {(f.width, f.height) for f in made} == {(64, 48)}


def test_what_a_container_cannot_hold_is_named(
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
            made = av.VideoFrame.from_ndarray(frame, format="gray")
            made.pts, made.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))
        line = av.Packet(b"a word")
        line.pts = line.dts = 40
        line.duration, line.time_base, line.stream = 100, Fraction(1, 1000), words
        container.mux(line)
    assert color(source, colorizer).notes == ()
    with av.open(str(tmp_path / "out-a.mkv")) as new:
        assert [s.type for s in new.streams] == ["video", "subtitle", "attachment"]
        assert [bytes(p) for p in new.demux(subtitles=0) if p.size] == [b"a word"]
    notes = color(source, colorizer, tmp_path / "out.mp4").notes
    assert any("stream 1 (subtitle, srt) is left out" in note for note in notes), notes


def test_a_full_disk_leaves_nothing_under_the_name(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = filming.write(tmp_path / "a.mp4", frames)

    def full(self: Path, other: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(PhotoError, match="No space left"):
        color(source, colorizer, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_memory_does_not_grow_with_the_film(
    frames: list[np.ndarray], colorizer: Colorizer, tmp_path: Path
) -> None:
    """Frames are read no further ahead than a few, however slow the rest is."""
    source = filming.write(tmp_path / "a.mp4", frames * 4)
    alive: list[int] = []
    seen = {"read": 0}
    original = yuv.gray_values

    def counted(values: Any, form: Any) -> Any:
        seen["read"] += 1
        return original(values, form)

    monkey = pytest.MonkeyPatch()
    monkey.setattr(yuv, "gray_codes", counted)
    try:
        pipeline.colorize_video(
            source, tmp_path / "out.mp4", colorizer, pipeline.VideoOptions(colorizer.decode),
            progress=lambda stage: (time.sleep(0.005), alive.append(seen["read"] - stage.done))[1],  # type: ignore[func-returns-value]
        )  # fmt: skip
    finally:
        monkey.undo()
    assert max(alive) <= 6


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, "tests")
from fake_model import released
from pix2color.inference.colorizer import Colorizer
from pix2color.video import film
colorizer = Colorizer(released())
def slowly(stage):
    print(stage.done, flush=True)
    time.sleep(0.05)
film.color(Path(sys.argv[1]), Path(sys.argv[2]), colorizer,
            film.Options(colorizer.decode, segment=5, resume=True), progress=slowly)
"""


@pytest.mark.slow
def test_killed_films_go_on_to_the_same_frames(colorizer: Colorizer, tmp_path: Path) -> None:
    takes = [*filming.shot("coffee", 20, step=2), *filming.shot("rocket", 20, step=2)]
    source = filming.write(tmp_path / "a.mp4", filming.gray(takes), sounds=1)
    whole, target = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    pipeline.colorize_video(
        source, whole, colorizer, pipeline.VideoOptions(colorizer.decode, segment=5)
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for count in (7, 28):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(source), str(target)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= count:
                process.send_signal(signals.SIGKILL)
                break
        process.wait()
        assert not target.exists()
    stages: list[pipeline.VideoProgress] = []
    pipeline.colorize_video(
        source, target, colorizer, pipeline.VideoOptions(colorizer.decode, segment=5, resume=True),
        progress=stages.append,
    )  # fmt: skip
    assert stages[0].done >= 25
    assert packets(target) == packets(whole)
    assert sound(target) == sound(source) and not list(tmp_path.glob(".*"))
