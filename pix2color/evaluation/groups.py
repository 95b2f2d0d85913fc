"""Groups of photos that have figures of their own: by source, or by a file of labels."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pix2color.errors import DataError

MIN_PHOTOS = 20
"""Sources with fewer photos are one group: intervals of so few photos cannot be trusted."""
NO_GROUP = "without a group"
"""The photos that a file of labels does not name."""
_SHARD = re.compile(r"\.tar(#\d+)?$", re.IGNORECASE)  # unique_name adds the number
_FORM = "write a line `file,group` and below it a line per photo"


@dataclass(frozen=True)
class Grouping:
    """A division of photos: every photo is in exactly one group."""

    by: str
    """What the groups share, such as `source`."""
    groups: Mapping[str, Sequence[int]]
    """Name -> indices of the photos, in the order of the tables."""


def path_in_root(name: str) -> str:
    """The path of a photo below its root folder or inside its shard.

    `wide-00.tar/ade20k/1.webp` and `photos/wide-00.tar/ade20k/1.webp` -> `ade20k/1.webp`.
    """
    parts = name.split("/")
    shards = [i for i, part in enumerate(parts[:-1]) if _SHARD.search(part)]
    return "/".join(parts[(shards[-1] if shards else 0) + 1 :]) or name


def source_of(name: str) -> str:
    """The first folder of `path_in_root`; the root or shard itself where there is none."""
    path = path_in_root(name)
    if "/" in path:
        return path.partition("/")[0]
    return name.removesuffix(path).rstrip("/").rpartition("/")[2] or name


def by_source(names: Sequence[str]) -> Grouping:
    """Photos by `source_of` their names; sources of fewer than MIN_PHOTOS photos are one group."""
    groups = _collect(map(source_of, names))
    small = [name for name, chosen in groups.items() if len(chosen) < MIN_PHOTOS]
    rest = sorted(index for name in small for index in groups.pop(name))
    groups = dict(sorted(groups.items()))
    other = f"other ({len(small)} source{'s' if len(small) > 1 else ''})"
    return Grouping("source", groups | {other: rest} if rest else groups)


@dataclass(frozen=True)
class Labels:
    """A file that says which group a photo is in."""

    by: str
    """What the groups share: the head of the column."""
    groups: Mapping[str, str]
    """Name of a photo -> its group."""
    file: Path


def read_labels(file: Path, found: Sequence[str]) -> Labels:
    """Read a CSV file of labels.

    Args:
        file: a first line `file,NAME`, where NAME says what the groups share; then a line per photo
            with its name or `path_in_root` and its group. Further columns are ignored.
        found: names of all photos, which the file may name.

    Raises:
        DataError: the file cannot be read, is empty, or has a line without a group, that names no
            photo or several, or that contradicts another.
    """
    head, *lines = _read(file)
    known: dict[str, set[str]] = {}
    for name in found:
        for key in {name, path_in_root(name)}:
            known.setdefault(key, set()).add(name)
    labels: dict[str, str] = {}
    for number, line in lines:
        key, label = (*(cell.strip() for cell in line), "", "")[:2]
        where = f"{file}, line {number}"
        matches = known.get(key, set())
        if not key or not label:
            raise DataError(f"{where}: no file or no group; {_FORM}")
        if len(matches) != 1:
            count = "none" if not matches else len(matches)
            raise DataError(
                f"{where}: {key} names {count} of the {len(found)} photos;"
                f" write names such as {found[0]} or {path_in_root(found[0])}"
            )
        if labels.setdefault(next(iter(matches)), label) != label:
            raise DataError(f"{where}: {key} is in another group further up")
    return Labels(head[1][1].strip(), labels, file)


def by_labels(labels: Labels, names: Sequence[str]) -> Grouping:
    """Photos by their labels; those without one are a group of their own.

    Raises:
        DataError: none of the photos has a label.
    """
    groups = _collect(labels.groups.get(name, NO_GROUP) for name in names)
    rest = groups.pop(NO_GROUP, [])
    if not groups:
        raise DataError(f"{labels.file} names none of the {len(names)} photos that are measured")
    groups = dict(sorted(groups.items()))
    return Grouping(labels.by, groups | {NO_GROUP: rest} if rest else groups)


def _read(file: Path) -> list[tuple[int, list[str]]]:
    """The lines of a CSV file of labels with their numbers, empty ones left out."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            lines = [(reader.line_num, line) for line in reader if any(map(str.strip, line))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file} cannot be read: {reason}") from None
    if len(lines) < 2:
        raise DataError(f"{file} names no photo: {_FORM}")
    head = [cell.strip() for cell in lines[0][1]]
    if len(head) < 2 or head[0] != "file" or not head[1]:
        raise DataError(f"{file}: the first line is not `file,group`: {_FORM}")
    return lines


def _collect(labels: Iterable[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        groups.setdefault(label, []).append(index)
    return groups
