"""Which photo or film goes where: settled, or refused as dangerous, before anything is done."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pix2color.errors import Pix2ColorError
from pix2color.inference.video import library as video
from pix2color.photo.formats import PHOTO_SUFFIXES, UNSUPPORTED_SUFFIXES, output_suffix


@dataclass(frozen=True)
class Job:
    """One photo or film to be coloured."""

    source: Path
    target: Path
    also: tuple[Path, ...] = ()
    """Further files: the second and later variants, then the map of confidence; of a film, its
    partial one."""


@dataclass(frozen=True)
class Plan:
    """What a run will do."""

    jobs: tuple[Job, ...]
    """Photos, in the order of their targets' names."""
    unsupported: tuple[Path, ...]
    """Photos of formats that cannot be read, and films where PyAV is missing."""
    films: tuple[Job, ...] = ()
    """In the order of their targets' names."""


def plan(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    variants: int = 1,
    confidence: bool = False,
) -> Plan:
    """Find the photos and films, and where each goes: the same tree and names below `out`.

    Folders are walked without following links to folders; hidden files and `out` itself are left
    out. A file given by name is taken whatever its ending (films are told by theirs).

    Args:
        variants: versions of each photo; those after the first are called NAME-2, NAME-3, ...
        confidence: a NAME-confidence.png beside each.

    Raises:
        Pix2ColorError: an input that is not there, no photo at all, two photos that would become
            one file (also on disks that ignore case or Unicode composition), or a target that is
            one of the sources; or a film given by name where PyAV is missing.
    """
    out = Path(out)
    jobs: list[Job] = []
    films: list[Job] = []
    unsupported: list[Path] = []
    can_films = video.installed()
    for given in inputs:
        root = Path(given)
        if root.is_dir():
            for path in _walk(root, out):
                suffix = path.suffix.lower()
                if suffix in PHOTO_SUFFIXES:
                    jobs.append(Job(path, _target(out, path.relative_to(root))))
                elif suffix in video.SUFFIXES and can_films:
                    films.append(_film(path, out, path.relative_to(root)))
                elif suffix in UNSUPPORTED_SUFFIXES | video.SUFFIXES:
                    unsupported.append(path)
        elif root.exists() and root.suffix.lower() in video.SUFFIXES:
            if not can_films:
                raise Pix2ColorError(f"{root}: {video.MISSING}")
            films.append(_film(root, out, Path(root.name)))
        elif root.exists():
            jobs.append(Job(root, _target(out, Path(root.name))))
        else:
            raise Pix2ColorError(f"{root}: no such file or folder")
    if not jobs and not films and not unsupported:
        where = ", ".join(str(i) for i in inputs)
        looked_for = " ".join((*sorted(PHOTO_SUFFIXES), *sorted(video.SUFFIXES)))
        raise Pix2ColorError(f"no photo in {where}, nor a film; looked for {looked_for}")
    jobs = sorted(dict.fromkeys(jobs), key=lambda job: str(job.target))
    jobs = [replace(job, also=_also(job.target, variants, confidence)) for job in jobs]
    films = sorted(dict.fromkeys(films), key=lambda job: str(job.target))
    _refuse_collisions([*jobs, *films])
    _refuse_sources([*jobs, *films])
    return Plan(tuple(jobs), tuple(sorted(unsupported)), tuple(films))


def remedy(path: Path) -> str:
    """Why a file of `Plan.unsupported` was left out, and what helps."""
    if path.suffix.lower() in video.SUFFIXES:
        return video.MISSING
    return f"{path.suffix} cannot be read; export it as TIFF, PNG or JPEG"


def _walk(root: Path, out: Path) -> Iterator[Path]:
    own = out.resolve()
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and (here / name).resolve() != own
        )
        for name in sorted(files):
            if not name.startswith("."):
                yield here / name


def _target(out: Path, relative: Path) -> Path:
    return out / relative.with_suffix(output_suffix(relative.suffix))


def _film(path: Path, out: Path, relative: Path) -> Job:
    target = out / relative.with_suffix(video.output_suffix(relative.suffix))
    return Job(path, target, (video.partial_name(target),))


def _also(target: Path, variants: int, confidence: bool) -> tuple[Path, ...]:
    names = [f"{target.stem}-{number}{target.suffix}" for number in range(2, variants + 1)]
    if confidence:
        names.append(f"{target.stem}-confidence.png")
    return tuple(target.with_name(name) for name in names)


def _key(path: Path) -> str:
    """One for all spellings that some file system takes for the same name."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    seen: dict[str, Job] = {}
    for job in jobs:
        for target in (job.target, *job.also):
            other = seen.setdefault(_key(target), job)
            if other is not job:
                raise Pix2ColorError(
                    f"{other.source} and {job.source} would both become {target}; colour them "
                    "in two runs with different --out"
                )


def _refuse_sources(jobs: Sequence[Job]) -> None:
    names = {_key(job.source.resolve()): job.source for job in jobs}
    files = {_identity(job.source): job.source for job in jobs}
    for target in (path for job in jobs for path in (job.target, *job.also)):
        source = names.get(_key(target.resolve()))
        if source is None and target.exists():
            source = files.get(_identity(target))
        if source is not None:
            raise Pix2ColorError(
                f"{target} is the source {source}; choose another --out: sources are never "
                "written over"
            )


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)
    return (status.st_dev, status.st_ino)
