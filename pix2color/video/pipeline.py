"""A film in color: colored frame by frame, in segments, and going on where it was stopped."""

from __future__ import annotations

import json
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pix2color.config import DecodeConfig
from pix2color.errors import PhotoError
from pix2color.inference import preprocess
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.postprocess import upsample_ab
from pix2color.inference.prediction import Prediction
from pix2color.photo import Provenance, files
from pix2color.photo.photo import Pixels
from pix2color.runtime.base import out_of_memory
from pix2color.video import muxer, writer, yuv
from pix2color.video.pyav import library, partial_name
from pix2color.video.reader import Reader
from pix2color.video.stabilizer import Method, TemporalStabilizer, flow_input

SEGMENT = 120
"""Frames of a segment: what a kill costs at most."""
_AHEAD = 3  # frames that are read and seen by the network before they are needed
_VERSION = 1  # of the working folder


@dataclass(frozen=True)
class VideoOptions:
    """How a film is colored."""

    decode: DecodeConfig
    provenance: Provenance | None = None
    """What the comment says; None says nothing."""
    steadiness: Method = "flow"
    resume: bool = False
    """Go on with what an earlier run of the same settings finished."""
    segment: int = SEGMENT


@dataclass(frozen=True)
class VideoResult:
    """What became of a film."""

    status: Literal["done", "stopped"]
    path: Path | None
    """The film; of a stopped one what there is of it, None where there is nothing."""
    frames: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class VideoProgress:
    """How far a film is, for progress."""

    done: int
    """Frames that lie in segments of an earlier run, or are encoded."""
    expected: int | None
    """About how many there are."""


def colorize_video(
    source: Path,
    target: Path,
    colorizer: Colorizer,
    options: VideoOptions,
    *,
    progress: Callable[[VideoProgress], None] = lambda stage: None,
    stop: Callable[[], bool] = lambda: False,
) -> VideoResult:
    """Color a film, every frame of it; luma, times, sound and tags stay.

    Works in a hidden folder beside the target, which is gone when the film is done. Memory does not
    grow with the film.

    Args:
        target: its ending tells the container (`writing`).
        progress: called after each frame.
        stop: asked before each frame; where it says yes, what is done becomes a film of its own
            beside the target (NAME.partial.mp4), and `options.resume` goes on later.

    Raises:
        PhotoError: not a film, no frames, or a disk that does not take it.
        Pix2ColorError: PyAV is not installed.
    """
    av = library()
    work = WorkDir(source, target, options)
    try:
        with Reader(source) as reader:
            work.open(_settings(source, colorizer, options))
            finished = _segments(reader, work, colorizer, options, progress, stop)
            notes = reader.notes
        if not finished:
            path = work.partial()
            return VideoResult("stopped", path, work.frames, ())
        left_out = work.join()
        return VideoResult("done", target, work.frames, (*notes, *left_out))
    except av.error.FFmpegError as error:
        raise PhotoError(f"{error.strerror or error}") from error
    except OSError as error:
        raise PhotoError(f"cannot be written: {error.strerror or error}") from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise PhotoError("out of memory: try a smaller network input, or the CPU") from None
    finally:
        work.close()


class WorkDir:
    """The hidden folder: segments, and what is needed to go on."""

    def __init__(self, source: Path, target: Path, options: VideoOptions) -> None:
        self.source, self.target, self._options = source, target, options
        self.folder = target.with_name(f".{target.name}.pix2color-film")
        self.pieces: list[muxer.Segment] = []
        self.shared: muxer.Frame | None = None
        self._tail: muxer.Segment | None = None

    def open(self, settings: dict[str, Any]) -> None:
        """Take up what is there, or begin anew."""
        if not (self._options.resume and self._take_up(settings)):
            self.pieces = []
            ours = self._marker.exists()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            if ours:
                self._marker.touch()
            with files.atomic_open_photo(self.folder / "settings.json") as file:
                file.write(json.dumps(settings).encode())

    def close(self) -> None:
        """Leave the folder only where there is something to go on from."""
        if not self.pieces and not self._marker.exists():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _take_up(self, settings: dict[str, Any]) -> bool:
        """Find the finished segments of an earlier run; False where its settings were others."""
        try:
            if json.loads((self.folder / "settings.json").read_text()) != settings:
                return False
            for path in sorted(self.folder.glob("*.json")):
                if path.stem.isdigit():
                    told = json.loads(path.read_text())
                    self.pieces.append(
                        muxer.Segment(path.with_suffix(".mp4"), told["start"], told["frames"])
                    )
        except (OSError, ValueError, KeyError):
            return False
        return True

    @property
    def _marker(self) -> Path:
        """Is there where the partial film is ours, to be removed when the whole one is done."""
        return self.folder / "partial"

    @property
    def frames(self) -> int:
        """How many lie in segments."""
        tail = self._tail.frames if self._tail else 0
        return tail + sum(piece.frames for piece in self.pieces)

    def state(self) -> dict[str, NDArray[Any]]:
        """Of the steadiness after the last finished segment."""
        if not self.pieces:
            return {}
        with np.load(self.pieces[-1].path.with_suffix(".npz")) as found:
            return dict(found)

    def next_path(self) -> Path:
        return self.folder / f"{len(self.pieces):06}.mp4"

    def finish(self, segment: writer.SegmentWriter, state: dict[str, NDArray[Any]]) -> None:
        """A segment is whole: from now on it counts."""
        path = self.next_path()
        with files.atomic_open_photo(path.with_suffix(".npz")) as file:
            np.savez(file, **dict[str, Any](state))
        told = {"start": segment.start, "frames": segment.frames}
        with files.atomic_open_photo(path.with_suffix(".json")) as file:
            file.write(json.dumps(told).encode())
        self.pieces.append(muxer.Segment(path, **told))

    def leave(self, segment: writer.SegmentWriter) -> None:
        """A segment was cut short: it counts for the partial film only."""
        self._tail = muxer.Segment(self.next_path(), segment.start, segment.frames)

    def join(self) -> tuple[str, ...]:
        """The film under its name; the folder goes. Returns what could not be kept."""
        return self._joined(self.pieces, self.target)

    def partial(self) -> Path | None:
        """What there is, as a film of its own."""
        pieces = [*self.pieces, *([self._tail] if self._tail else [])]
        if not pieces:
            return None
        path = partial_name(self.target)
        self._joined(pieces, path)
        return path

    def _joined(self, pieces: list[muxer.Segment], target: Path) -> tuple[str, ...]:
        assert self.shared is not None
        whole = target == self.target
        made = self.folder / f"joined{target.suffix}"
        mark = self._options.provenance
        notes = muxer.concat_segments(
            pieces, self.source, made, self.shared,
            comment=mark.text() if mark else None, whole=whole,
        )  # fmt: skip
        made.replace(target)
        if whole:
            if self._marker.exists():
                partial_name(self.target).unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self._marker.touch()
        return notes


def _settings(source: Path, colorizer: Colorizer, options: VideoOptions) -> dict[str, Any]:
    """What has to be the same for two runs to go together."""
    status = source.stat()
    return {
        "version": _VERSION,
        "size": status.st_size,
        "modified": status.st_mtime_ns,
        "weights": colorizer.digest,
        "decode": options.decode.model_dump(),
        "steadiness": options.steadiness,
        "segment": options.segment,
        "mark": asdict(options.provenance) if options.provenance else None,
    }


@dataclass(frozen=True)
class FramePrediction:
    """A frame and what the network makes of it."""

    pts: int
    length: int
    luma: Pixels
    codes: Pixels
    guess: Prediction


def _segments(
    reader: Reader, work: WorkDir, colorizer: Colorizer, options: VideoOptions,
    progress: Callable[[VideoProgress], None], stop: Callable[[], bool],
) -> bool:  # fmt: skip
    """Color what is not done yet, segment after segment; False where it was stopped."""
    form = reader.signal
    encoding = writer.encoding_for(work.target.suffix, form)
    work.shared = muxer.Frame(reader.time_base, reader.rate, reader.turn, encoding.tag)
    steady = TemporalStabilizer(options.steadiness)
    steady.restore(work.state())
    done = work.frames
    progress(VideoProgress(done, reader.expected))
    with Prefetcher(_predict_frames(reader, colorizer, options.decode, skip=done)) as frames:
        frame = next(frames, None)
        while frame is not None:
            halted = False
            with writer.SegmentWriter(
                work.next_path(), encoding, form, reader.rate, reader.time_base,
                writer.aspect_of(reader),
            ) as segment:  # fmt: skip
                while frame is not None and segment.frames < options.segment:
                    if stop():
                        halted = True
                        break
                    picture = _colorized_frames(frame, steady, reader, options.decode)
                    segment.add(picture, pts=frame.pts, length=frame.length)
                    done += 1
                    progress(VideoProgress(done, reader.expected))
                    frame = next(frames, None)
            if halted:
                if segment.frames:
                    work.leave(segment)
                return False
            work.finish(segment, steady.state())
    return True


def _predict_frames(
    reader: Reader, colorizer: Colorizer, decode: DecodeConfig, *, skip: int
) -> Iterator[FramePrediction]:
    """Frames after the first `skip`, seen by the network."""
    for number, frame in enumerate(reader.frames()):
        if number < skip:
            continue
        luma = yuv.luma(frame, reader.signal)
        codes = yuv.gray_values(luma, reader.signal)
        guess = colorizer.predict(np.ascontiguousarray(reader.turn.apply(codes)), decode.input_size)
        length = frame.duration or round(1 / (reader.rate * reader.time_base)) or 1
        yield FramePrediction(frame.pts, length, luma, codes, guess)


def _colorized_frames(
    frame: FramePrediction, steady: TemporalStabilizer, reader: Reader, decode: DecodeConfig
) -> Any:
    """The frame in color, as av.VideoFrame."""
    form, turn, guess = reader.signal, reader.turn, frame.guess
    shown = turn.apply(np.empty(form.chroma_size, np.bool_)).shape
    guide = guess.guide
    if guide.size > shown[0] * shown[1]:  # finer than chroma is kept
        guide = preprocess.resize_lightness(np.ascontiguousarray(turn.apply(frame.codes)), shown)
    ab = upsample_ab(guess.ab(decode), guess.cell_lightness(), guide)
    ab = steady(ab, guide, flow_input(guess))
    return form.frame(frame.luma, yuv.chroma(frame.codes, turn.invert(ab), form))


class Prefetcher:
    """An iterator whose next items are made in a thread of its own; a context manager."""

    def __init__(self, items: Iterator[FramePrediction]) -> None:
        self._queue: queue.Queue[FramePrediction | BaseException | None] = queue.Queue(_AHEAD)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), name="film", daemon=True)

    def __enter__(self) -> Iterator[FramePrediction]:
        self._thread.start()
        return self._items()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _items(self) -> Iterator[FramePrediction]:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _run(self, items: Iterator[FramePrediction]) -> None:
        last: BaseException | None = None
        try:
            for item in items:
                if not self._put(item):
                    return
        except BaseException as error:
            last = error
        self._put(last)

    def _put(self, item: FramePrediction | BaseException | None) -> bool:
        while not self._ended.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
