"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import platform
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PART_SUFFIX = ".pix2color-part"
"""Ending of files still being written; one left by a killed run may be deleted."""

_open_parts: set[str] = set()  # names of the parts that this process is writing


class _PythonFile(io.BufferedRandom):
    """A file that offers no descriptor, so that all that is written goes through `write`.

    Given a descriptor, Pillow's encoders and `ndarray.tofile` write to it themselves, and take a
    last piece that the full disk cut short for written.
    """

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


@contextlib.contextmanager
def atomic_open(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for writing that takes its name only when all of it is on the disk.

    It is written under another name in the target's folder, which is made where it is missing;
    then flushed to the disk and renamed over what was there. After an error or an interrupt
    nothing is left of it and the old file is untouched.

    Raises:
        OSError: the target is a folder or a device, or the folder or the disk does not take it.
    """
    with _part_of(path) as part:
        raw = io.FileIO(part, "x+")
        with _PythonFile(raw) as file:
            yield file
            file.flush()
            os.fsync(raw.fileno())
        part.replace(path)


def check_writable(path: Path) -> None:
    """Raise the OSError of `atomic_open` before the work whose result goes to `path`.

    What is there already stays; missing folders are made.
    """
    with _part_of(path) as part:
        part.touch(exist_ok=False)


@contextlib.contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """The name under which a file is written, in its folder; deleted afterwards if still there."""
    if path.exists() and not path.is_file():  # renaming would replace a device or a pipe
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the target's own name: two targets may share most of it, and it may be as long as the
    # file system allows.
    part = path.with_name(f".{secrets.token_hex(8)}.{_owner(os.getpid())}{PART_SUFFIX}")
    _open_parts.add(part.name)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
        _open_parts.discard(part.name)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all; text as UTF-8. Raises as `atomic_open`."""
    with atomic_open(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_stale_parts(folder: Path) -> None:
    """Delete what killed processes on this machine left half-written in a folder."""
    for part in folder.glob(f".*{PART_SUFFIX}"):
        found = re.search(r"-(\d{1,10})$", part.name.removesuffix(PART_SUFFIX), re.ASCII)
        if found is None or part.name in _open_parts:
            continue
        process = int(found[1])
        ours = part.name.endswith(f".{_owner(process)}{PART_SUFFIX}")
        if ours and not _is_running(process):
            with contextlib.suppress(PermissionError):  # Windows: a process has it open
                part.unlink(missing_ok=True)


def _owner(process: int) -> str:
    name = "".join(c for c in platform.node() if c.isascii() and c.isalnum())
    return f"{name[:32] or 'machine'}-{process}"


def _is_running(process: int) -> bool:
    """Whether another process has this number.

    This process's own number on a part that it is not writing is an earlier process's: in a
    container every run may have the same one.
    """
    # On Windows os.kill(process, 0) sends Ctrl-C; there an open file cannot be deleted anyway.
    if process == os.getpid() or sys.platform == "win32":
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
