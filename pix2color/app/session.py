"""One visitor's photos, and what can be done with them.

Every result is made by `pipeline.run`, as infer.py makes it: the file that is shown is the file
that is downloaded is the file that infer.py would have written. A session belongs to one visitor,
its folder has a name that cannot be guessed, and one thing happens in it at a time.
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

from pix2color.app import uploads, views
from pix2color.app.allowance import Allowance
from pix2color.app.remember import Remembering
from pix2color.errors import Pix2ColorError
from pix2color.inference import bands, pipeline
from pix2color.inference.colorizer import Colorizer
from pix2color.inference.hints import parse_hints
from pix2color.inference.plan import Job, plan
from pix2color.inference.wishes import Wishes
from pix2color.io import atomic_write
from pix2color.photo import Limits, read

VARIANTS = 4
ENDED = "this session has ended and its photos are removed; load the page again"
_HINTS = 200  # a photo's; each costs time
_FORMER = 2  # earlier results whose files are kept


@dataclass(frozen=True)
class Settings:
    """What a visitor chose for a photo; None keeps the weights' default."""

    temperature: float | None = None
    saturation: float | None = None
    hints: tuple[Mapping[str, Any], ...] = ()
    """As the objects of hints.json."""
    variants: int = 1


@dataclass
class Entry:
    """One photo of a session."""

    name: str
    """As the visitor knows it; a/b.jpg from a zip."""
    source: Path
    settings: Settings = Settings()
    chosen: int = 0
    """Which variant is shown and downloaded; 0 is the likeliest."""
    results: tuple[Path, ...] = ()
    """The coloured file, a further one for each further variant."""
    former: tuple[Path, ...] = ()
    """Folders of earlier results that a browser may still be loading."""
    overlay: Path | None = None
    """The gray photo dyed by the map of confidence, which no setting changes."""
    failure: str = ""
    before: Path | None = None
    """What a browser can show of the original."""

    @property
    def done(self) -> bool:
        return bool(self.results)

    @property
    def result(self) -> Path:
        """The coloured file that the visitor has chosen."""
        return self.results[self.chosen]

    @property
    def result_name(self) -> str:
        """Its name in a zip: the photo's, with the result's own last part."""
        return str(Path(self.name).with_name(self.result.name))


@dataclass
class Session:
    """A visitor. Methods raise Pix2ColorError with a message for the visitor."""

    colorizer: Colorizer
    allowance: Allowance
    folder: Path
    """Private and the session's own: removed with it."""
    entries: list[Entry] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Uploads that were not taken, and why."""
    touched: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    given: list[Path] = field(default_factory=list)
    """Uploads that were copied: not needed any more, and removed with the session."""
    _closed: bool = False
    _size: int = 0
    _open: tuple[Entry, Remembering] | None = None

    def add(self, files: Sequence[Path], settings: Settings | None = None) -> list[Entry]:
        """Take in uploaded photos and zip files; what is refused is told in `refused`."""
        with self._working():
            if shutil.disk_usage(self.folder).free < self.allowance.free_bytes:
                raise Pix2ColorError("the server's disk is full; come back later")
            self.given += files
            taken = uploads.take(
                files,
                self.folder / "in",
                files=self.allowance.files - len(self.entries),
                size=self.allowance.upload_bytes - self._size,
            )
            self._size += taken.size
            self.refused += taken.refused
            new = [Entry(name, path, settings or Settings()) for name, path in taken.photos]
            self.entries += new
            return new

    def clear(self) -> None:
        """Forget all photos and remove their files."""
        with self._working():
            self.entries, self.refused, self._open, self._size = [], [], None, 0
            for part in self.folder.iterdir():
                shutil.rmtree(part, ignore_errors=True)

    def colour(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        """Colour photos that were added; yields each when it is done or has failed.

        The first one comes alone, and its network's output is kept: it is the one being looked at.
        """
        waiting = list(entries)
        size = 1
        while waiting:
            now, waiting = waiting[:size], waiting[size:]
            with self._working():
                now = [entry for entry in now if entry in self.entries]
                self._run(now, self._remembering(now[0]) if size == 1 and now else self.colorizer)
            yield from now
            size = bands.cores()

    def change(self, entry: Entry, **settings: Any) -> Entry:
        """Colour a photo again with some settings (fields of `Settings`) in place of the former.

        The settings stay as they were where that fails.
        """
        with self._working():
            before = replace(entry)
            entry.settings = replace(entry.settings, **settings)
            if entry.chosen == 0 and "variants" not in settings:  # no need to write the others
                entry.settings = replace(entry.settings, variants=1)
            try:
                self._run([entry], self._remembering(entry))
            except BaseException:
                vars(entry).update(vars(before))
                raise
            if entry.failure:
                failure = entry.failure
                vars(entry).update(vars(before))
                raise Pix2ColorError(failure)
            return entry

    def hint(self, entry: Entry, x: float, y: float, color: str) -> Entry:
        """Pin a colour to a place: pixels of the upright photo."""
        if len(entry.settings.hints) >= _HINTS:
            raise Pix2ColorError(f"a photo has at most {_HINTS} hints here")
        one = {"x": x, "y": y, "color": color}
        parse_hints([one])
        return self.change(entry, hints=(*entry.settings.hints, one))

    def undo(self, entry: Entry) -> Entry:
        """Take the last hint away."""
        if not entry.settings.hints:
            raise Pix2ColorError("there is no hint to take away")
        return self.change(entry, hints=entry.settings.hints[:-1])

    def vary(self, entry: Entry, count: int = VARIANTS) -> list[Path]:
        """Several versions of a photo, as views, the likeliest first."""
        if not 1 <= count <= 2 * VARIANTS:
            raise Pix2ColorError(f"from 1 to {2 * VARIANTS} variants here, not {count}")
        self.change(entry, variants=count)
        with self._working():
            return [views.result_view(path, self._limits()) for path in entry.results]

    def choose(self, entry: Entry, number: int) -> Entry:
        """Take one of the versions that `vary` made; 0 is the likeliest."""
        if not 0 <= number < len(entry.results):
            raise Pix2ColorError(f"there is no variant {number + 1}")
        entry.chosen = number
        return entry

    def confidence(self, entry: Entry) -> Path:
        """The gray photo dyed where the network is not sure, as a JPEG."""
        with self._working():
            if entry.overlay is None:
                out = self._fresh("sure")
                job = plan([entry.source], out, confidence=True).jobs[0]
                options = replace(self._options(Settings(), ""), confidence=True)
                [outcome] = pipeline.run([job], lambda: self._remembering(entry), options)
                if outcome.status != "done":
                    raise Pix2ColorError(outcome.reason)
                photo = read(entry.source, limits=self._limits())
                entry.overlay = views.confidence_overlay(photo, job.also[-1], out / "sure.jpg")
            return entry.overlay

    def show(self, entry: Entry) -> tuple[Path, Path]:
        """What a browser shows before and after, both at full size."""
        with self._working():
            if entry.before is None:
                photo = read(entry.source, limits=self._limits())
                entry.before = views.rendered(photo, self._out(entry, "before") / "before")
            return entry.before, views.result_view(entry.result, self._limits())

    def hints_file(self) -> Path:
        """hints.json for `infer.py --hints`: of all photos that have some, by their names.

        Raises Pix2ColorError where none has, or two photos of one name do.
        """
        with self._working():
            found: dict[str, list[Mapping[str, Any]]] = {}
            for entry in self.entries:
                if not entry.settings.hints:
                    continue
                if entry.source.name in found:
                    raise Pix2ColorError(
                        f"two photos called {entry.source.name} have hints, and a hints file knows "
                        "photos by their names"
                    )
                found[entry.source.name] = list(entry.settings.hints)
            if not found:
                raise Pix2ColorError("no photo has a hint yet")
            path = self._fresh("hints") / "hints.json"
            atomic_write(path, json.dumps(found, indent=1, ensure_ascii=False))
            return path

    def all_files(self) -> Path:
        """A zip of all coloured photos, under the names and folders that they came with."""
        with self._working():
            done = [(entry.result_name, entry.result) for entry in self.entries if entry.done]
            if not done:
                raise Pix2ColorError("no photo is coloured yet")
            path = self._fresh("zip") / "coloured.zip"
            uploads.bundle(done, path)
            return path

    def rest(self) -> None:
        """Let go of the network's output, unless something is being done."""
        if self._lock.acquire(blocking=False):
            self._open = None
            self._lock.release()

    def close(self) -> None:
        """End it: its files go now, or as soon as what is being done in it has ended."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            try:
                shutil.rmtree(self.folder, ignore_errors=True)
            finally:
                self._lock.release()

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise Pix2ColorError(ENDED)
            self.touched = time.monotonic()
            try:
                yield
            finally:
                self.touched = time.monotonic()
                if self._closed:
                    shutil.rmtree(self.folder, ignore_errors=True)

    def _remembering(self, entry: Entry) -> Remembering:
        if self._open is None or self._open[0] is not entry:
            self._open = (entry, Remembering(self.colorizer))
        return self._open[1]

    def _limits(self) -> Limits:
        return Limits(megapixels=self.allowance.megapixels)

    def _out(self, entry: Entry, kind: str) -> Path:
        return self.folder / kind / entry.source.parent.name

    def _fresh(self, kind: str) -> Path:
        """A new empty folder, so that a file that is being downloaded is not written over."""
        path = self.folder / kind / secrets.token_hex(4)
        path.mkdir(parents=True)
        return path

    def _run(self, entries: Sequence[Entry], colorizer: Colorizer) -> None:
        """Colour some photos again; those with the same settings beside one another."""
        groups: dict[tuple[Any, ...], dict[Job, Entry]] = {}
        for entry in entries:
            groups.setdefault(_alike(entry), {})[self._job(entry)] = entry
        for jobs in groups.values():
            first = next(iter(jobs.values()))
            options = self._options(first.settings, first.source.name)
            for outcome in pipeline.run([*jobs], lambda: colorizer, options):
                _note(jobs[outcome.job], outcome)

    def _job(self, entry: Entry) -> Job:
        out = self._fresh("out")  # another address for another result: browsers keep what they have
        return plan([entry.source], out, variants=entry.settings.variants).jobs[0]

    def _options(self, settings: Settings, name: str) -> pipeline.Options:
        decode = self.colorizer.decoding(
            temperature=settings.temperature, saturation=settings.saturation
        )
        return pipeline.Options(
            decode=decode,
            limits=self._limits(),
            mark=pipeline.mark_of(self.colorizer, decode),
            wishes=Wishes(variants=settings.variants),
            hints={name: tuple(parse_hints(settings.hints))},
        )


def _alike(entry: Entry) -> tuple[Any, ...]:
    """The same for photos that can be coloured in one run; one with hints is alone."""
    settings = entry.settings
    alone = entry.source if settings.hints else None
    return (settings.temperature, settings.saturation, settings.variants, alone)


def _note(entry: Entry, outcome: pipeline.Outcome) -> None:
    """Take a result in place of the former one, whose files go a little later."""
    if outcome.status != "done":
        entry.failure = outcome.reason
        shutil.rmtree(outcome.job.target.parent, ignore_errors=True)
        return
    if entry.results:
        entry.former = (*entry.former, entry.results[0].parent)
    entry.failure = ""
    entry.results = (outcome.job.target, *outcome.job.also)
    entry.chosen = min(entry.chosen, len(entry.results) - 1)
    for folder in entry.former[:-_FORMER]:
        shutil.rmtree(folder, ignore_errors=True)
    entry.former = entry.former[-_FORMER:]
