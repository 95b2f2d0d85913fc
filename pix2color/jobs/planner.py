"""Which photo or film goes where: settled, or refused as dangerous, before anything is done."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pix2color.errors import Pix2ColorError
from pix2color.photo.formats import PHOTO_SUFFIXES, UNSUPPORTED_SUFFIXES, output_suffix
from pix2color.photo.walk import NOT_REGULAR, Identity, LeftOut, identity, walk
from pix2color.video import pyav as video


@dataclass(frozen=True)
class Job:
    """One photo or film to be colored."""

    source: Path
    target: Path
    extra_outputs: tuple[Path, ...] = ()
    """Further files: the second and later variants, then the map of confidence; of a film, its
    partial one."""
    problem: str = ""
    """Why it cannot be done, in one line: it fails with this reason, and the others go on."""

    @property
    def targets(self) -> tuple[Path, ...]:
        """Every file that it may write."""
        return (self.target, *self.extra_outputs)


@dataclass(frozen=True)
class JobPlan:
    """What a run will do."""

    jobs: tuple[Job, ...]
    """Photos, in the order of their targets' names."""
    unsupported: tuple[Path, ...]
    """Photos of formats that cannot be read, and films where PyAV is missing."""
    videos: tuple[Job, ...] = ()
    """In the order of their targets' names."""
    left_out: tuple[LeftOut, ...] = ()
    """Links that lead nowhere or back, pipes, devices, folders that may not be read."""


def plan_jobs(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    variants: int = 1,
    confidence: bool = False,
) -> JobPlan:
    """Find the photos and films, and where each goes: the same tree and names below `out`.

    Folders are walked as `walk` says; hidden files and `out` itself are left out. A file given by
    name is taken whatever its ending (films are told by theirs). Photos that would become one file
    (also on disks that ignore case or Unicode composition) get this as their `problem`.

    Args:
        variants: versions of each photo; those after the first are called NAME-2, NAME-3, ...
        confidence: a NAME-confidence.png beside each.

    Raises:
        Pix2ColorError: an input that is empty, not there or no file; no photo at all; an `out` that
            is no folder; a target that is one of the sources; or a film given by name where PyAV
            is missing.
    """
    folder = _output_folder(out)
    jobs: list[Job] = []
    films: list[Job] = []
    unsupported: list[Path] = []
    left_out: list[LeftOut] = []
    can_films = video.installed()
    for path, relative in _found(inputs, folder, left_out):
        suffix = path.suffix.lower()
        named = relative is None
        relative = Path(path.name) if relative is None else relative
        if suffix in video.SUFFIXES and (can_films or named):
            if not can_films:
                raise Pix2ColorError(f"{path}: {video.MISSING}")
            films.append(_film(path, folder, relative))
        elif named or suffix in PHOTO_SUFFIXES:
            target = folder / relative.with_suffix(output_suffix(relative.suffix))
            jobs.append(Job(path, target, _also(target, variants, confidence)))
        elif suffix in UNSUPPORTED_SUFFIXES | video.SUFFIXES:
            unsupported.append(path)
    if not jobs and not films and not unsupported:
        where = ", ".join(str(i) for i in inputs)
        looked_for = " ".join((*sorted(PHOTO_SUFFIXES), *sorted(video.SUFFIXES)))
        further = "".join(f"; {entry.path}: {entry.reason}" for entry in left_out[:1])
        raise Pix2ColorError(f"no photo in {where}, nor a film; looked for {looked_for}{further}")
    every = _without_doubles([*jobs, *films])
    refuse_sources([path for job in every for path in job.targets], [job.source for job in every])
    problems = _collisions(every)
    every = [replace(job, problem=problems.get(job, "")) for job in every]
    kinds = {job.source for job in films}
    return JobPlan(
        tuple(job for job in every if job.source not in kinds),
        tuple(sorted(unsupported)),
        tuple(job for job in every if job.source in kinds),
        tuple(sorted(left_out)),
    )


def _output_folder(out: str | Path) -> Path:
    """Raises Pix2ColorError for what is no folder and cannot become one."""
    if not str(out):
        raise Pix2ColorError("the output folder's name is empty; '.' is the current folder")
    for path in (Path(out), *Path(out).parents):
        if os.path.lexists(path):
            if path.is_dir():
                break
            raise Pix2ColorError(f"{path} is not a folder; choose another output folder")
    return Path(out)


def _found(
    inputs: Sequence[str | Path], out: Path, left_out: list[LeftOut]
) -> Iterator[tuple[Path, Path | None]]:
    """Every file of the inputs, with its path below the input; None: it was given by name."""
    for given in inputs:
        if not str(given):
            raise Pix2ColorError("an input's name is empty; '.' is the current folder")
        root = Path(given)
        if root.is_dir():
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
    """Why a file of `Plan.unsupported` was left out, and what helps."""
    if path.suffix.lower() in video.SUFFIXES:
        return video.MISSING
    return f"{path.suffix} cannot be read; export it as TIFF, PNG or JPEG"


def _film(path: Path, out: Path, relative: Path) -> Job:
    target = out / relative.with_suffix(video.output_suffix(relative.suffix))
    return Job(path, target, (video.partial_name(target),))


def _also(target: Path, variants: int, confidence: bool) -> tuple[Path, ...]:
    names = [f"{target.stem}-{number}{target.suffix}" for number in range(2, variants + 1)]
    if confidence:
        names.append(f"{target.stem}-confidence.png")
    return tuple(target.with_name(name) for name in names)


def _key(path: Path | str) -> str:
    """One for all spellings that some file system takes for the same name."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _without_doubles(jobs: Sequence[Job]) -> list[Job]:
    """Each photo once where several inputs hold it, in the order of the targets' names."""
    first: dict[tuple[str, Path], Job] = {}
    for job in jobs:
        first.setdefault((os.path.realpath(job.source), job.target), job)
    return sorted(first.values(), key=lambda job: str(job.target))


def _collisions(jobs: Sequence[Job]) -> Mapping[Job, str]:
    """Why photos cannot be colored together, where several would become one file."""
    owners: dict[str, list[Job]] = {}
    for job in jobs:
        for target in job.targets:
            owners.setdefault(_key(target), []).append(job)
    problems: dict[Job, str] = {}
    for name, several in owners.items():
        for job in several:
            other = next((o for o in several if o is not job), None)
            if other is not None:
                target = next(path for path in job.targets if _key(path) == name)
                problems[job] = (
                    f"it and {other.source} would both become {target}; color one of them into"
                    " another folder"
                )
    return problems


def refuse_sources(targets: Sequence[Path], sources: Sequence[Path]) -> None:
    """Raise Pix2ColorError where a file to be written is one to be read, under whatever name."""
    names = {_key(os.path.realpath(source)): source for source in sources}
    files = {_identity(source): source for source in sources}
    for target in targets:
        source = names.get(_key(os.path.realpath(target)))
        if source is None and target.exists():
            source = files.get(_identity(target))
        if source is not None:
            raise Pix2ColorError(
                f"{target} is the source {source}; choose another name or folder: sources are never"
                " written over"
            )


def _identity(path: Path) -> Identity:
    try:
        return identity(path)
    except OSError:
        return (-1, -1)
