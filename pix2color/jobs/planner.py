"""Plans a run: where each photo and video goes. Dangerous targets are refused beforehand."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pix2color.data.object_store import is_url
from pix2color.errors import Pix2ColorError
from pix2color.jobs.mirror import Mirror
from pix2color.photo.formats import PHOTO_SUFFIXES, UNSUPPORTED_SUFFIXES, output_suffix
from pix2color.photo.walk import NOT_REGULAR, Identity, LeftOut, identity, walk
from pix2color.video import pyav as video

_VIDEO_IN_STORE = "a video: videos are colored from folders into folders"


@dataclass(frozen=True)
class Job:
    """One photo or video to be colored."""

    source: Path
    target: Path
    extra_outputs: tuple[Path, ...] = ()
    """Further files of a photo: the second and later variants, then the confidence map; of a video,
    its partial file."""
    problem: str = ""
    """Why this job cannot be done, in one line; the run fails it with this reason."""

    @property
    def targets(self) -> tuple[Path, ...]:
        """Every file that the job may write."""
        return (self.target, *self.extra_outputs)

    def is_done(self, *, extra: bool = True) -> bool:
        """Whether an earlier run wrote the target, and (`extra`) all extra outputs.

        A target that is older than the source does not count.
        """
        try:
            if extra and not all(path.exists() for path in self.extra_outputs):
                return False
            return self.target.stat().st_mtime >= self.source.stat().st_mtime
        except OSError:
            return False


@dataclass(frozen=True)
class JobPlan:
    """The jobs of a run, and the files that it leaves out."""

    jobs: tuple[Job, ...]
    """Photos, in the order of their targets' names."""
    unsupported: tuple[Path, ...]
    """Photos of formats that cannot be read, and videos where PyAV is missing."""
    videos: tuple[Job, ...] = ()
    """In the order of their targets' names."""
    left_out: tuple[LeftOut, ...] = ()
    """Broken and circular links, pipes, devices, folders without read permission; of a store, names
    that files cannot have, and videos."""
    shown: Callable[[Path], str] = str
    """What a user calls a file: its path, or the URL that the path stands for."""


def plan_jobs(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    variants: int = 1,
    confidence: bool = False,
    mirror: Mirror | None = None,
) -> JobPlan:
    """Find the photos and videos, and where each goes: the same tree and names below `out`.

    Folders are searched as by `walk`, without hidden files and `out` itself. A file that is named
    itself is taken whatever its suffix (a video needs one). Photos with the same target (also on
    disks that ignore case or Unicode composition) get a `problem`.

    Args:
        variants: number of versions of each photo: NAME, NAME-2, NAME-3, ...
        confidence: also NAME-confidence.png for each photo.
        mirror: has local paths for inputs and an `out` that are URLs; None takes them as paths.

    Raises:
        Pix2ColorError: an input that is empty, not there or no file; no photo at all; an `out` that
            is no folder; a target that is one of the sources; or a named video where PyAV
            is missing.
        StoreError: a store that cannot be opened or listed.
    """
    folder = mirror.add(str(out))[0] if mirror and is_url(out) else _output_folder(out)
    shown = mirror.shown if mirror else str
    jobs: list[Job] = []
    videos: list[Job] = []
    unsupported: list[Path] = []
    left_out: list[LeftOut] = []
    has_pyav = video.installed()
    for path, relative in _input_files(inputs, folder, left_out, mirror):
        suffix = path.suffix.lower()
        is_named = relative is None
        relative = Path(path.name) if relative is None else relative
        if suffix in video.SUFFIXES and (has_pyav or is_named):
            if mirror and (mirror.holds(path) or mirror.holds(folder)):
                if is_named:
                    raise Pix2ColorError(f"{shown(path)}: {_VIDEO_IN_STORE}")
                left_out.append(LeftOut(path, _VIDEO_IN_STORE))
                continue
            if not has_pyav:
                raise Pix2ColorError(f"{path}: {video.MISSING}")
            videos.append(_video_job(path, folder, relative))
        elif is_named or suffix in PHOTO_SUFFIXES:
            target = folder / relative.with_suffix(output_suffix(relative.suffix))
            jobs.append(Job(path, target, _extra_outputs(target, variants, confidence)))
        elif suffix in UNSUPPORTED_SUFFIXES | video.SUFFIXES:
            unsupported.append(path)
    if not jobs and not videos and not unsupported:
        where = ", ".join(str(i) for i in inputs)
        looked_for = " ".join((*sorted(PHOTO_SUFFIXES), *sorted(video.SUFFIXES)))
        further = "".join(f"; {shown(entry.path)}: {entry.reason}" for entry in left_out[:1])
        raise Pix2ColorError(f"no photo in {where}, nor a video; looked for {looked_for}{further}")
    every = _unique([*jobs, *videos])
    targets = [path for job in every for path in job.targets]
    refuse_sources(targets, [job.source for job in every], shown)
    problems = _collisions(every, shown)
    every = [replace(job, problem=problems.get(job, "")) for job in every]
    video_sources = {job.source for job in videos}
    return JobPlan(
        tuple(job for job in every if job.source not in video_sources),
        tuple(sorted(unsupported)),
        tuple(job for job in every if job.source in video_sources),
        tuple(sorted(left_out)),
        shown,
    )


def _output_folder(out: str | Path) -> Path:
    """The path of `out`; raises Pix2ColorError where it is no folder and cannot become one."""
    if not str(out):
        raise Pix2ColorError("the output folder's name is empty; '.' is the current folder")
    for path in (Path(out), *Path(out).parents):
        if os.path.lexists(path):
            if path.is_dir():
                break
            raise Pix2ColorError(f"{path} is not a folder; choose another output folder")
    return Path(out)


def _input_files(
    inputs: Sequence[str | Path], out: Path, left_out: list[LeftOut], mirror: Mirror | None
) -> Iterator[tuple[Path, Path | None]]:
    """Every file of the inputs, with its path below its folder; None: the file is an input."""
    for name in inputs:
        if not str(name):
            raise Pix2ColorError("an input's name is empty; '.' is the current folder")
        root = Path(name)
        if mirror and is_url(name):
            for found in mirror.find(str(name), out):
                if isinstance(found, LeftOut):
                    left_out.append(found)
                else:
                    yield found
        elif root.is_dir():
            for entry in walk(root, {identity(out)} if out.exists() else None):
                if isinstance(entry, LeftOut):
                    left_out.append(entry)
                else:
                    yield entry, entry.relative_to(root)
        elif root.is_file():
            yield root, None
        elif root.exists():
            raise Pix2ColorError(f"{root}: {NOT_REGULAR}")
        else:
            raise Pix2ColorError(f"{root}: no such file or folder")


def skip_reason(path: Path) -> str:
    """Why a file of `JobPlan.unsupported` was left out, and what to do."""
    if path.suffix.lower() in video.SUFFIXES:
        return video.MISSING
    return f"{path.suffix} cannot be read; export it as TIFF, PNG or JPEG"


def _video_job(path: Path, out: Path, relative: Path) -> Job:
    target = out / relative.with_suffix(video.output_suffix(relative.suffix))
    return Job(path, target, (video.partial_name(target),))


def _extra_outputs(target: Path, variants: int, confidence: bool) -> tuple[Path, ...]:
    names = [f"{target.stem}-{number}{target.suffix}" for number in range(2, variants + 1)]
    if confidence:
        names.append(f"{target.stem}-confidence.png")
    return tuple(target.with_name(name) for name in names)


def _normalized(path: Path | str) -> str:
    """The same for all spellings that some file system treats as one name."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _unique(jobs: Sequence[Job]) -> list[Job]:
    """Each job once, in the order of the targets' names."""
    first: dict[tuple[str, Path], Job] = {}
    for job in jobs:
        first.setdefault((os.path.realpath(job.source), job.target), job)
    return sorted(first.values(), key=lambda job: str(job.target))


def _collisions(jobs: Sequence[Job], shown: Callable[[Path], str]) -> Mapping[Job, str]:
    """The problem of each job whose target is also another's."""
    owners: dict[str, list[Job]] = {}
    for job in jobs:
        for target in job.targets:
            owners.setdefault(_normalized(target), []).append(job)
    problems: dict[Job, str] = {}
    for name, several in owners.items():
        for job in several:
            other = next((o for o in several if o is not job), None)
            if other is not None:
                target = next(path for path in job.targets if _normalized(path) == name)
                problems[job] = (
                    f"it and {shown(other.source)} would both become {shown(target)}; color one of"
                    " them into another folder"
                )
    return problems


def refuse_sources(
    targets: Sequence[Path], sources: Sequence[Path], shown: Callable[[Path], str] = str
) -> None:
    """Raise Pix2ColorError where a target is one of the sources, under whatever name."""
    names = {_normalized(os.path.realpath(source)): source for source in sources}
    files = {_identity(source): source for source in sources}
    for target in targets:
        source = names.get(_normalized(os.path.realpath(target)))
        if source is None and target.exists():
            source = files.get(_identity(target))
        if source is not None:
            raise Pix2ColorError(
                f"{shown(target)} is the source {shown(source)}; choose another name or folder:"
                " sources are never written over"
            )


def _identity(path: Path) -> Identity:
    try:
        return identity(path)
    except OSError:
        return (-1, -1)
