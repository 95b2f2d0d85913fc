"""One client's photos and the operations on them.

Every result is made by `pipeline.colorize_jobs`: the file that is shown and downloaded is the
file that infer.py would have written. A session belongs to one client, its folder
has a name that cannot be guessed, and it runs one operation at a time.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pix2color import bands
from pix2color.app import uploads, views
from pix2color.app.cached_runtime import CachePool
from pix2color.app.limits import ServerLimits
from pix2color.errors import Pix2ColorError
from pix2color.guidance.guidance import Guidance
from pix2color.guidance.hints import parse_hints
from pix2color.inference.colorizer import Colorizer
from pix2color.io import atomic_write
from pix2color.jobs import pipeline
from pix2color.jobs.planner import Job, plan_jobs
from pix2color.photo import Limits, read

VARIANTS = 4
ENDED = "this session has ended and its photos are removed; load the page again"
_HINTS = 200  # a photo's; each costs time
_KEPT_PREVIOUS = 2  # earlier results whose files are kept


@dataclass(frozen=True)
class Settings:
    """Settings of one photo; None keeps the weights' default."""

    temperature: float | None = None
    vividness: float | None = None
    saturation: float | None = None
    calibration: float | None = None
    hints: tuple[Mapping[str, Any], ...] = ()
    """As the objects of hints.json."""
    variants: int = 1

    def decode_options(self) -> dict[str, float | None]:
        """Those of `DecodeConfig`."""
        return {
            "temperature": self.temperature,
            "vividness": self.vividness,
            "saturation": self.saturation,
            "calibration": self.calibration,
        }


@dataclass
class Entry:
    """One photo of a session."""

    name: str
    """As the client knows it; a/b.jpg from a zip."""
    source: Path
    settings: Settings = Settings()
    selected: int = 0
    """Which variant is shown and downloaded; 0 is the most probable."""
    results: tuple[Path, ...] = ()
    """The colored file, a further one for each further variant."""
    previous: tuple[Path, ...] = ()
    """Folders of earlier results that a browser may still be loading."""
    overlay: Path | None = None
    """The gray photo tinted by the confidence map, which no setting changes."""
    failure: str = ""
    preview: Path | None = None
    """The original in a format that a browser can show."""

    @property
    def done(self) -> bool:
        return bool(self.results)

    @property
    def result(self) -> Path:
        """The colored file that the client has chosen."""
        return self.results[self.selected]

    @property
    def result_name(self) -> str:
        """Its name in a zip: the photo's, with the result's own last part."""
        return str(Path(self.name).with_name(self.result.name))


@dataclass
class Session:
    """The photos of one client. Methods raise Pix2ColorError with a message for the client."""

    colorizer: Colorizer
    limits: ServerLimits
    folder: Path
    """Private folder, removed with the session."""
    caches: CachePool
    """Network outputs, shared by all sessions."""
    entries: list[Entry] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Uploads that were refused, and why."""
    last_used: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    uploads: list[Path] = field(default_factory=list)
    """Uploads that were copied; the store removes them after the session."""
    _closed: bool = False
    _size: int = 0

    def add(self, files: Sequence[Path], settings: Settings | None = None) -> list[Entry]:
        """Take in uploaded photos and zip files; what is refused is listed in `refused`."""
        with self._exclusive():
            if shutil.disk_usage(self.folder).free < self.limits.free_bytes:
                raise Pix2ColorError("the server's disk is full; come back later")
            self.uploads += files
            result = uploads.ingest(
                files,
                self.folder / "in",
                files=self.limits.files - len(self.entries),
                size=self.limits.upload_bytes - self._size,
            )
            self._size += result.size
            self.refused += result.refused
            new = [Entry(name, path, settings or Settings()) for name, path in result.photos]
            self.entries += new
            return new

    def clear(self) -> None:
        """Remove all photos and their files."""
        with self._exclusive():
            self.entries, self.refused, self._size = [], [], 0
            self.caches.release(self.folder)
            for part in self.folder.iterdir():
                shutil.rmtree(part, ignore_errors=True)

    def colorize(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        """Color photos that were added; yields each when it is done or has failed.

        The first one runs alone and its network output is cached: it is the one that is shown.
        """
        pending = list(entries)
        size = 1
        while pending:
            batch, pending = pending[:size], pending[size:]
            with self._exclusive():
                batch = [entry for entry in batch if entry in self.entries]
                self._run(
                    batch,
                    self._cached_colorizer(batch[0]) if size == 1 and batch else self.colorizer,
                )
            yield from batch
            size = bands.cores()

    def change(self, entry: Entry, **settings: Any) -> Entry:
        """Color a photo again with some settings (fields of `Settings`) replaced.

        The settings stay as they were where that fails.
        """
        with self._exclusive():
            before = replace(entry)
            entry.settings = replace(entry.settings, **settings)
            if entry.selected == 0 and "variants" not in settings:  # no need to write the others
                entry.settings = replace(entry.settings, variants=1)
            try:
                self._run([entry], self._cached_colorizer(entry))
            except BaseException:
                vars(entry).update(vars(before))
                raise
            if entry.failure:
                failure = entry.failure
                vars(entry).update(vars(before))
                raise Pix2ColorError(failure)
            return entry

    def hint(self, entry: Entry, x: float, y: float, color: str) -> Entry:
        """Set a color at a point, in pixels of the upright photo."""
        if len(entry.settings.hints) >= _HINTS:
            raise Pix2ColorError(f"a photo has at most {_HINTS} hints here")
        hint = {"x": x, "y": y, "color": color}
        parse_hints([hint])
        return self.change(entry, hints=(*entry.settings.hints, hint))

    def undo(self, entry: Entry) -> Entry:
        """Remove the last hint."""
        if not entry.settings.hints:
            raise Pix2ColorError("there is no hint to remove")
        return self.change(entry, hints=entry.settings.hints[:-1])

    def make_variants(self, entry: Entry, count: int = VARIANTS) -> list[Path]:
        """Several versions of a photo, as views, the most probable first."""
        if not 1 <= count <= 2 * VARIANTS:
            raise Pix2ColorError(f"from 1 to {2 * VARIANTS} variants here, not {count}")
        self.change(entry, variants=count)
        with self._exclusive():
            return [views.result_view(path, self._read_limits()) for path in entry.results]

    def choose(self, entry: Entry, number: int) -> Entry:
        """Select one of the versions of `make_variants`; 0 is the most probable."""
        if not 0 <= number < len(entry.results):
            raise Pix2ColorError(f"there is no variant {number + 1}")
        entry.selected = number
        return entry

    def confidence(self, entry: Entry) -> Path:
        """The gray photo, tinted where the network's confidence is low, as a JPEG."""
        with self._exclusive():
            if entry.overlay is None:
                out = self._new_folder("sure")
                job = plan_jobs([entry.source], out, confidence=True).jobs[0]
                options = replace(self._options(Settings(), ""), confidence=True)
                [outcome] = pipeline.colorize_jobs(
                    [job], lambda: self._cached_colorizer(entry), options
                )
                if outcome.status != "done":
                    raise Pix2ColorError(outcome.reason)
                photo = read(entry.source, limits=self._read_limits())
                entry.overlay = views.confidence_overlay(
                    photo, job.extra_outputs[-1], out / "sure.jpg"
                )
            return entry.overlay

    def show(self, entry: Entry) -> tuple[Path, Path]:
        """Images of the original and the result that a browser can show, at full size."""
        with self._exclusive():
            if entry.preview is None:
                photo = read(entry.source, limits=self._read_limits())
                entry.preview = views.render(photo, self._out(entry, "before") / "before")
            return entry.preview, views.result_view(entry.result, self._read_limits())

    def hints_file(self) -> Path:
        """hints.json, which infer.py reads: of all photos that have some, by their names.

        Raises Pix2ColorError where none has, or two photos of one name do.
        """
        with self._exclusive():
            hints_by_name: dict[str, list[Mapping[str, Any]]] = {}
            for entry in self.entries:
                if not entry.settings.hints:
                    continue
                if entry.source.name in hints_by_name:
                    raise Pix2ColorError(
                        f"two photos called {entry.source.name} have hints, and a hints file knows "
                        "photos by their names"
                    )
                hints_by_name[entry.source.name] = list(entry.settings.hints)
            if not hints_by_name:
                raise Pix2ColorError("no photo has a hint yet")
            path = self._new_folder("hints") / "hints.json"
            atomic_write(path, json.dumps(hints_by_name, indent=1, ensure_ascii=False))
            return path

    def all_files(self) -> Path:
        """A zip of all colored photos, under the names and folders that they came with."""
        with self._exclusive():
            results = [(entry.result_name, entry.result) for entry in self.entries if entry.done]
            if not results:
                raise Pix2ColorError("no photo is colored yet")
            path = self._new_folder("zip") / "colored.zip"
            uploads.zip_results(results, path)
            return path

    @property
    def busy(self) -> bool:
        """Whether an operation is running."""
        return self._lock.locked()

    @property
    def has_results(self) -> bool:
        """Whether a photo has been colored."""
        return any(entry.done for entry in self.entries)

    def close(self) -> None:
        """End the session: its files are removed now, or when the running operation has ended."""
        self._closed = True
        self._remove_if_idle()

    def _remove_if_idle(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self.caches.release(self.folder)
                shutil.rmtree(self.folder, ignore_errors=True)
            finally:
                self._lock.release()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        try:
            with self._lock:
                if self._closed:
                    raise Pix2ColorError(ENDED)
                self.last_used = time.monotonic()
                try:
                    yield
                finally:
                    self.last_used = time.monotonic()
        finally:
            # After the release: `close` either gets the lock or is seen here.
            if self._closed:
                self._remove_if_idle()

    def _cached_colorizer(self, entry: Entry) -> Colorizer:
        return self.caches.get(self.folder, entry)

    def _read_limits(self) -> Limits:
        return Limits(megapixels=self.limits.megapixels)

    def _out(self, entry: Entry, kind: str) -> Path:
        return self.folder / kind / entry.source.parent.name

    def _new_folder(self, kind: str) -> Path:
        """A new empty folder: a file that is being downloaded is never overwritten."""
        path = self.folder / kind / secrets.token_hex(4)
        path.mkdir(parents=True)
        return path

    def _run(self, entries: Sequence[Entry], colorizer: Colorizer) -> None:
        """Color photos; those with the same settings in one run of the pipeline."""
        groups: dict[tuple[Any, ...], dict[Job, Entry]] = {}
        for entry in entries:
            groups.setdefault(_batch_key(entry), {})[self._job(entry)] = entry
        for jobs in groups.values():
            first = next(iter(jobs.values()))
            options = self._options(first.settings, first.source.name)
            for outcome in pipeline.colorize_jobs([*jobs], lambda: colorizer, options):
                _record_outcome(jobs[outcome.job], outcome)

    def _job(self, entry: Entry) -> Job:
        out = self._new_folder("out")  # a new address per result: browsers cache images
        return plan_jobs([entry.source], out, variants=entry.settings.variants).jobs[0]

    def _options(self, settings: Settings, name: str) -> pipeline.JobOptions:
        decode = self.colorizer.resolve_decode(**settings.decode_options())
        return pipeline.JobOptions(
            decode=decode,
            limits=self._read_limits(),
            provenance=pipeline.provenance_of(self.colorizer, decode),
            guidance=Guidance(variants=settings.variants),
            hints={name: tuple(parse_hints(settings.hints))},
        )


def _batch_key(entry: Entry) -> tuple[Any, ...]:
    """Equal for photos that can be colored in one run; one with hints runs alone."""
    settings = entry.settings
    unique = entry.source if settings.hints else None
    return (*settings.decode_options().values(), settings.variants, unique)


def _record_outcome(entry: Entry, outcome: pipeline.Outcome) -> None:
    """Replace an entry's result; the files of the previous ones are removed later."""
    if outcome.status != "done":
        entry.failure = outcome.reason
        shutil.rmtree(outcome.job.target.parent, ignore_errors=True)
        return
    if entry.results:
        entry.previous = (*entry.previous, entry.results[0].parent)
    entry.failure = ""
    entry.results = (outcome.job.target, *outcome.job.extra_outputs)
    entry.selected = min(entry.selected, len(entry.results) - 1)
    for folder in entry.previous[:-_KEPT_PREVIOUS]:
        shutil.rmtree(folder, ignore_errors=True)
    entry.previous = entry.previous[-_KEPT_PREVIOUS:]
