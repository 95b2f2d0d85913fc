"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pix2color.errors import PhotoError

PART_SUFFIX = ".pix2color-part"
"""Ending of files still being written; one left by a killed run may be deleted."""


def remove_stale(folder: Path) -> None:
    """Delete what killed runs on this machine left half-written in a folder."""
    for part in folder.glob(f".*{PART_SUFFIX}"):
        owner = part.name.removesuffix(PART_SUFFIX).rpartition(".")[2]
        number = owner.rpartition("-")[2]
        if owner == _owner(int(number) if number.isdigit() else -1) and not _alive(int(number)):
            part.unlink(missing_ok=True)


def _owner(process: int) -> str:
    machine = "".join(c for c in platform.node() if c.isalnum()) or "machine"
    return f"{machine}-{process}"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return process != os.getpid()


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes its name only when all of it is on the disk.

    Written beside its place, flushed, renamed over what was there. After an error nothing is left.

    Raises:
        PhotoError: the folder or the disk does not take it.
    """
    part = path.with_name(f".{path.stem[:60]}.{_owner(os.getpid())}{PART_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb+") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise PhotoError(f"cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(NotADirectoryError):  # a file where the folder should be
            part.unlink(missing_ok=True)
