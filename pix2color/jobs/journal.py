"""The record of the runs into one output: what was planned, and how each photo ended.

Below `.pix2color/` in the output:

    manifest/00000.jsonl         500 photos per file: source, size, version, target
    runs/0001-TOKEN/run.json     version of pix2color, weights, options, number of photos
    runs/0001-TOKEN/00000.jsonl  a line per photo of that manifest file, after its output is there
    commits/00000.jsonl          as soon as all photos of that manifest file have a line: these
                                 lines, without what differs between two runs of the same work

Each process of a run has a folder of its own, and takes whole files of the manifest. A line that
was lost with its process costs no more than the photo's repetition, which gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pix2color._version import __version__
from pix2color.errors import StoreError
from pix2color.jobs.mirror import Mirror
from pix2color.jobs.pipeline import JobOptions, Outcome
from pix2color.jobs.planner import Job
from pix2color.jobs.store import Store, digest

FOLDER = ".pix2color"
SHARD = 500
"""Photos per file of the manifest and of the journal."""
_FLUSH_SECONDS = 5.0
_ALREADY_DONE = "already done"


@dataclass(frozen=True)
class Line:
    """How one photo ended in one run."""

    source: str
    """Path or URL."""
    size: int
    """Of the source, in bytes."""
    version: str
    """Of the source, as `object_store.Entry.version`."""
    target: str
    """Below the output."""
    status: str
    reason: str
    seconds: float
    outputs: dict[str, str]
    """The digest of each file that was written, by its name below the output."""
    weights: str
    options: str
    """Digest of the options; the folder's run.json has them."""


def recorded_options(options: JobOptions, runtime: str) -> dict[str, Any]:
    """What decides on the bytes of an output beside its source and the weights."""
    palette, hints = options.guidance.palette, options.hints
    return {
        **options.decode.model_dump(),
        "runtime": runtime,
        "provenance": options.provenance is not None,
        "skip_color": options.skip_color,
        "srgb": options.srgb,
        "lossless": options.lossless,
        "allow_truncated": options.limits.on_truncated == "keep",
        "variants": options.guidance.variants,
        "confidence": options.confidence,
        "reference": "" if palette is None else hashlib.sha256(palette.tobytes()).hexdigest()[:12],
        "palette_strength": options.guidance.strength,
        "hints": _short_digest({name: repr(hints[name]) for name in hints}) if hints else "",
    }


def in_shards(jobs: Sequence[Job], processes: int) -> list[Sequence[Job]]:
    """The plan in parts that a process takes whole: at most SHARD photos, some per process."""
    size = SHARD if processes == 1 else min(SHARD, -(-len(jobs) // (4 * processes)))
    return [jobs[first : first + size] for first in range(0, len(jobs), max(1, size))]


class Journal:
    """Reads what earlier runs recorded in an output, and records this one."""

    def __init__(
        self, store: Store, out: Path, mirror: Mirror, *, weights: str, options: dict[str, Any]
    ) -> None:
        """Args:
        store: the output.
        out: its local path, below which the targets are.
        mirror: of the run; gets the digests of what earlier runs wrote.
        weights: the digest of the checkpoint.
        options: `recorded_options`.

        Raises:
            StoreError: the output cannot be read, or its record is damaged.
        """
        self._store, self._out, self._mirror = store, out, mirror
        self._weights, self._options, self._options_id = weights, options, _short_digest(options)
        self._lines: dict[str, Line] = {}
        self._earlier_options: dict[str, dict[str, Any]] = {}
        self._names = {entry.name for entry in store.list()}
        numbers = self._read_runs()
        self._run = f"{max(numbers, default=0) + 1:04}-{secrets.token_hex(4)}"
        self._planned: set[str] = set()
        self._shard_of: dict[str, int] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._open: dict[int, set[str]] = {}  # targets without a line, by shard
        self._final: dict[int, list[Line]] = {}  # lines of a shard that is not committed yet
        self._pending: dict[int, list[Line]] = {}  # those of this run
        self._unwritten: set[int] = set()
        self._written: dict[int, str] = {}
        self._last_flush = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()

    def start(self, shards: Sequence[Sequence[Job]], *, writes_manifest: bool = True) -> None:
        """Record the plan before any work: so an output that cannot be written is seen at once.

        Args:
            shards: of all processes of the run (`in_shards`).
            writes_manifest: of several processes one writes it.

        Raises:
            StoreError: the output cannot be written.
        """
        self._planned = set(self._read_manifest())
        jobs = [job for shard in shards for job in shard]
        self._shard_of = {self._name(j.target): n for n, shard in enumerate(shards) for j in shard}
        # Now: a source that changes under the run is seen as changed by the next one.
        self._rows = {self._name(job.target): self._row(job) for job in jobs}
        for number, shard in enumerate(shards):
            self._open[number] = {self._name(job.target) for job in shard if not job.problem}
        run = {
            "pix2color": __version__,
            "weights": self._weights,
            "options": self._options,
            "photos": len(jobs),
            "shards": len(shards),
        }
        text = json.dumps(run, indent=1)
        self._store.write(f"{FOLDER}/runs/{self._run}/run.json", text.encode())
        if writes_manifest:
            contents = {
                _manifest_file(number): _jsonl(self._rows[self._name(job.target)] for job in shard)
                for number, shard in enumerate(shards)
            }
            kept = {*contents, *map(_commit_file, range(len(shards)))}
            own = (*self._files("manifest"), *self._files("commits"))
            surplus = {name: b"" for name in own if name not in kept}
            for name, data in (contents | surplus).items():
                self._write_own(name, data)

    def settled(self, job: Job) -> Outcome | None:
        """The outcome of a photo that needs no work; None where it has to be done. After `start`.

        It is settled where an earlier run colored or skipped it, from the same source with the same
        weights and options, and its outputs exist.
        """
        line = self._line(job)
        if line is None:
            # Of a version without a record; a photo that was planned would have a line.
            is_unrecorded = not job.problem and self._name(job.target) not in self._planned
            is_done = is_unrecorded and job.is_done()
            return Outcome(job, "skipped", _ALREADY_DONE) if is_done else None
        if line.status == "failed" or self._change(job, line):
            return None
        if line.status == "skipped":
            self._close(line)
            return Outcome(job, "skipped", line.reason)
        names = [self._name(path) for path in job.targets]
        if not all(name in self._names and name in line.outputs for name in names):
            return None
        self._close(line)
        digests = tuple(line.outputs[name] for name in names)
        return Outcome(job, "skipped", _ALREADY_DONE, digests=digests, seconds=line.seconds)

    def changes(self, jobs: Sequence[Job]) -> list[str]:
        """What differs from the earlier runs, in one line each. After `start`."""
        counts: dict[str, int] = {}
        for job in jobs:
            line = self._line(job)
            if line is not None and line.status != "failed":
                change = self._change(job, line)
                counts[change] = counts.get(change, 0) + 1
        counts.pop("", None)
        said = [f"photos done again: {number}, {change}" for change, number in counts.items()]
        names = {self._name(job.target) for job in jobs}
        for words, number in (
            ("new since the last run", len(names - self._planned)),
            ("of the last run that this one has not", len(self._planned - names)),
        ):
            if self._planned and number:
                said.append(f"photos {words}: {number}")
        return said

    def add(self, outcome: Outcome) -> None:
        """Record how a photo ended; written to the output some seconds later at most.

        Raises:
            StoreError: the output cannot be written.
        """
        job = outcome.job
        if job.problem or (outcome.status == "skipped" and outcome.reason == _ALREADY_DONE):
            return
        row = self._rows.pop(self._name(job.target))
        names = (self._name(path) for path in job.targets)
        outputs = dict(zip(names, outcome.digests, strict=False))
        line = Line(
            **row, status=outcome.status, reason=outcome.reason, seconds=round(outcome.seconds, 3),
            outputs=outputs, weights=self._weights, options=self._options_id,
        )  # fmt: skip
        shard = self._shard_of[row["target"]]
        self._pending.setdefault(shard, []).append(line)
        self._unwritten.add(shard)
        self._close(line)
        if time.monotonic() - self._last_flush > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the lines and commits that are not in the output yet. Raises StoreError."""
        for shard in sorted(self._unwritten):
            data = _jsonl(asdict(line) for line in self._pending[shard])
            name = f"{FOLDER}/runs/{self._run}/{shard:05}.jsonl"
            self._store.write(name, data, replaces=self._written.get(shard, ""))
            self._written[shard] = digest(data)
        self._unwritten.clear()
        for shard in [n for n, targets in self._open.items() if not targets]:
            self._commit(shard)
        self._last_flush = time.monotonic()

    def _close(self, line: Line) -> None:
        """Take a photo's last line; the shard is committed when it has all of them."""
        shard = self._shard_of[line.target]
        self._open[shard].discard(line.target)
        self._final.setdefault(shard, []).append(line)

    def _commit(self, shard: int) -> None:
        """Write how all photos of a shard ended. Two runs of the same work write the same bytes."""
        lines = sorted(self._final.pop(shard, []), key=lambda line: line.target)
        rows = [asdict(line) for line in lines]
        for row in rows:
            del row["seconds"]
        del self._open[shard]
        self._pending.pop(shard, None)
        if rows:
            self._write_own(_commit_file(shard), _jsonl(rows))

    def _read_runs(self) -> list[int]:
        """Read all lines, of the latest run last; returns the numbers of the runs."""
        numbers = []
        for name in sorted(n for n in self._names if n.startswith(f"{FOLDER}/runs/")):
            run, _, file = name.removeprefix(f"{FOLDER}/runs/").partition("/")
            with _errors_named(self._store, name):
                numbers.append(int(run.partition("-")[0]))
                if file == "run.json":
                    options = json.loads(self._store.read(name))["options"]
                    self._earlier_options[_short_digest(options)] = options
                elif file.endswith(".jsonl"):
                    for row in _rows(self._store.read(name)):
                        self._take(Line(**row))
        return numbers

    def _take(self, line: Line) -> None:
        """A line replaces an earlier one of its photo; a failure does not undo what is there."""
        for name, content in line.outputs.items():
            self._mirror.replaceable[self._out / name] = content
        if line.status != "failed" or line.target not in self._lines:
            self._lines[line.target] = line

    def _files(self, folder: str) -> list[str]:
        return sorted(n for n in self._names if n.startswith(f"{FOLDER}/{folder}/"))

    def _read_manifest(self) -> Iterator[str]:
        """The targets that the last run planned."""
        for name in self._files("manifest"):
            with _errors_named(self._store, name):
                for row in _rows(self._store.read(name)):
                    yield row["target"]

    def _row(self, job: Job) -> dict[str, Any]:
        try:
            size, version = self._mirror.version(job.source)
        except OSError:  # it is gone meanwhile, which is the photo's failure
            size, version = 0, ""
        source, target = self._mirror.shown(job.source), self._name(job.target)
        return {"source": source, "size": size, "version": version, "target": target}

    def _name(self, target: Path) -> str:
        return target.relative_to(self._out).as_posix()

    def _line(self, job: Job) -> Line | None:
        return None if job.problem else self._lines.get(self._name(job.target))

    def _change(self, job: Job, line: Line) -> str:
        """Why a recorded result is not what this run would give; empty where it is."""
        row = self._rows[line.target]
        if (line.size, line.version) != (row["size"], row["version"]):
            return "their source changed"
        if line.weights != self._weights:
            return f"they have other weights ({line.weights}, now {self._weights})"
        if line.options != self._options_id:
            before = self._earlier_options.get(line.options, {})
            return f"they have other options ({_differences(before, self._options)})"
        return ""

    def _write_own(self, name: str, data: bytes) -> None:
        """Write a file of the record, in place of the one of an earlier run."""
        replaces = digest(self._store.read(name)) if name in self._names else ""
        self._store.write(name, data, replaces=replaces)


@contextlib.contextmanager
def _errors_named(store: Store, name: str) -> Iterator[None]:
    """Turn what a damaged file raises into a StoreError that names it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StoreError(
            f"{store.shown(name)}: not a record of this version of pix2color",
            remedy="remove it, and its photos are done again",
        ) from None


def _manifest_file(number: int) -> str:
    return f"{FOLDER}/manifest/{number:05}.jsonl"


def _commit_file(number: int) -> str:
    return f"{FOLDER}/commits/{number:05}.jsonl"


def _jsonl(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """ASCII: names that are not UTF-8 are escaped."""
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def _rows(data: bytes) -> Iterable[dict[str, Any]]:
    return (json.loads(line) for line in data.splitlines())


def _short_digest(settings: Mapping[str, Any]) -> str:
    return digest(json.dumps(settings, sort_keys=True).encode())[:12]


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Such as `vividness 0.0, now 0.5`."""
    changed = [name for name in now if before.get(name) != now[name]]
    return ", ".join(f"{name} {before.get(name, 'unknown')}, now {now[name]}" for name in changed)
