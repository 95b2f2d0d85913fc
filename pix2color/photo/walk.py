"""Walking through folders: regular files, and why other entries are skipped."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Identity = tuple[int, int]
"""Device and inode: what two names of one file have in common."""

NOT_REGULAR = "not a regular file: pipes, devices and sockets are not read"


@dataclass(frozen=True, order=True)
class LeftOut:
    """A skipped entry of a folder."""

    path: Path
    reason: str
    """One line."""
    unreadable: bool = False
    """It is a folder without read permission."""


def walk(root: Path, seen: set[Identity] | None = None) -> Iterator[Path | LeftOut]:
    """Every regular file below a folder, through all levels, in order of names.

    Links are followed. Each folder is walked once. Links to folders come last, so that files are
    yielded by their own path rather than a link's, and loops end. A link to a folder that contains
    the root, such as `..` or `/`, is not followed. Entries whose name begins with a dot and the
    `__MACOSX` of zip files are skipped silently.

    Args:
        root: a folder, walked even if it is in `seen`.
        seen: folders to skip; those that are walked are added.

    Yields:
        Files, and skipped entries: links to nothing, to themselves, to a folder that was walked or
        contains the root, pipes, devices, sockets, and folders without read permission.
    """
    seen = set() if seen is None else seen
    seen.add(identity(root))
    above: set[Identity] = set()
    folders = deque([root])
    while folders:
        folder = folders.popleft()
        if folder is root or (identity(folder) not in above and first_met(folder, seen)):
            above |= {identity(parent) for parent in folder.resolve().parents}
            yield from _below(folder, seen, folders)
        else:
            yield LeftOut(folder, "a link to a folder that is walked already or contains this one")


def is_regular(path: Path) -> bool:
    """Whether a path is a regular file; links are followed. Raises OSError."""
    return stat.S_ISREG(path.stat().st_mode)


def identity(path: Path) -> Identity:
    """The identity of a file or folder; links are followed. Raises OSError."""
    status = path.stat()
    return status.st_dev, status.st_ino


def first_met(path: Path, seen: set[Identity]) -> bool:
    """Whether a file or folder was not in `seen`; it is added."""
    known = identity(path) in seen
    seen.add(identity(path))
    return not known


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is skipped."""
    return name.startswith(".") or name == "__MACOSX"


def _below(root: Path, seen: set[Identity], links: deque[Path]) -> Iterator[Path | LeftOut]:
    """The files below a folder; links to folders are appended to `links`."""
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            yield LeftOut(folder, f"cannot be read: {error.strerror}", unreadable=True)
            continue
        inner = []
        for entry in entries:
            path = folder / entry.name
            if is_hidden(entry.name):
                continue
            try:
                if not entry.is_dir():
                    yield path if entry.is_file() else LeftOut(path, _not_a_file(entry))
                elif entry.is_symlink():
                    links.append(path)
                elif first_met(path, seen):
                    inner.append(path)
            except OSError as error:
                looped = error.errno == errno.ELOOP
                yield LeftOut(path, "a link to itself" if looped else f"{error.strerror}")
        folders += reversed(inner)


def _not_a_file(entry: os.DirEntry[str]) -> str:
    broken = entry.is_symlink() and not Path(entry.path).exists()
    return "a link to nothing" if broken else NOT_REGULAR
