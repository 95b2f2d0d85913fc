"""The hidden folder beside a target in which a video is made, and from which a run resumes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pix2color.io import atomic_open, atomic_write
from pix2color.video.pyav import partial_name
from pix2color.video.stabilizer import Floats
from pix2color.video.writer import Segment


class WorkDir:
    """Finished segments, the stabilizer's state after each, and the settings they belong to.

    Segment N is N.mp4, N.npz (the state) and N.json, which is written last: it marks the segment
    as finished.
    """

    def __init__(self, target: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Open the folder of an earlier run with the same settings, or an empty one.

        Args:
            target: the video to make.
            settings: what two runs must have in common to share segments; JSON values.
            resume: keep the segments of an earlier run.

        Raises:
            OSError: the folder cannot be written.
        """
        self._target = target
        self._folder = target.with_name(f".{target.name}.pix2color-video")
        self.segments: list[Segment] = []
        """The finished ones."""
        if resume and self._read_segments(settings):
            return
        self.segments = []
        has_partial = self._partial_flag.exists()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        try:
            if has_partial:
                self._partial_flag.touch()
            atomic_write(self._folder / "settings.json", json.dumps(settings))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Delete the folder unless a later run can use it."""
        if not self.segments and not self._partial_flag.exists():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _read_segments(self, settings: Mapping[str, Any]) -> bool:
        """Find the finished segments; False where the settings differ."""
        try:
            if json.loads((self._folder / "settings.json").read_text()) != settings:
                return False
            for path in sorted(self._folder.glob("*.json")):
                if path.stem.isdigit():
                    values = json.loads(path.read_text())
                    self.segments.append(Segment(path.with_suffix(".mp4"), **values))
        except (OSError, ValueError, TypeError):
            return False
        return True

    @property
    def _partial_flag(self) -> Path:
        """A file that exists where an earlier run wrote the partial video."""
        return self._folder / "partial"

    @property
    def next_path(self) -> Path:
        """The file of the next segment."""
        return self._folder / f"{len(self.segments):06}.mp4"

    def stabilizer_state(self) -> dict[str, Floats]:
        """The state after the last finished segment."""
        if not self.segments:
            return {}
        with np.load(self.segments[-1].path.with_suffix(".npz")) as arrays:
            return dict(arrays)

    def commit_segment(self, segment: Segment, state: Mapping[str, Floats]) -> None:
        """Mark a segment as finished."""
        with segment.path.open("rb") as file:
            os.fsync(file.fileno())
        with atomic_open(segment.path.with_suffix(".npz")) as file:
            np.savez(file, **dict[str, Any](state))
        values = {"start": segment.start, "frames": segment.frames, "duration": segment.duration}
        atomic_write(segment.path.with_suffix(".json"), json.dumps(values))
        self.segments.append(segment)

    @contextlib.contextmanager
    def publish(self, *, complete: bool) -> Iterator[tuple[Path, Path]]:
        """Give the joined video its name: yields a temporary path to write and the final one.

        Args:
            complete: the whole video, after which the folder is deleted, and the partial video of
                an earlier run with it; otherwise the partial video.
        """
        path = self._target if complete else partial_name(self._target)
        joined = self._folder / f"joined{path.suffix}"
        yield joined, path
        joined.replace(path)
        if not complete:
            self._partial_flag.touch()
            return
        if self._partial_flag.exists():
            partial_name(path).unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
