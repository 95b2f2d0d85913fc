"""Atomic writing of files."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import platform
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

PART_SUFFIX = ".pix2color-part"
"""Suffix of files that are being written; one left by a killed run may be deleted."""

_open_parts: set[str] = set()  # names of the parts that this process is writing


class _PythonFile(io.BufferedRandom):
    """A file without a descriptor, so that everything is written through `write`.

    Pillow's encoders and `ndarray.tofile` write to a descriptor themselves and miss a short write
    at the end, when the disk is full.
    """

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


@contextlib.contextmanager
def atomic_open(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` only when it is complete and on the disk.

    It is written under another name in the target's folder, which is created if missing, then
    flushed to the disk and renamed. After an error or an interrupt it is deleted and the old file
    is unchanged.

    Raises:
        OSError: the target is a folder or a device, or the file cannot be written.
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

    An existing file is not changed; missing folders are created.
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
    """Write a file through `atomic_open`; text as UTF-8. Raises OSError."""
    with atomic_open(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def atomic_create(path: Path, content: bytes) -> None:
    """As `atomic_write`, where no file is yet.

    Raises:
        FileExistsError: something has this name, which is not changed.
        OSError: as `atomic_write`.
    """
    with _part_of(path) as part:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)  # unlike renaming, it replaces nothing
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            part.rename(path)


def atomic_write_all(contents: Mapping[Path, bytes]) -> None:
    """Write files of one work: none is replaced before all are complete. Raises OSError."""
    with contextlib.ExitStack() as stack:
        files = [(stack.enter_context(atomic_open(path)), data) for path, data in contents.items()]
        for file, data in files:
            file.write(data)


def remove_stale_parts(folder: Path) -> None:
    """Delete the incomplete files that killed processes of this machine left in a folder."""
    for part in folder.glob(f".*{PART_SUFFIX}"):
        match = re.search(r"-(\d{1,10})$", part.name.removesuffix(PART_SUFFIX), re.ASCII)
        if match is None or part.name in _open_parts:
            continue
        process = int(match[1])
        ours = part.name.endswith(f".{_owner(process)}{PART_SUFFIX}")
        if ours and not _is_running(process):
            with contextlib.suppress(PermissionError):  # Windows: a process has it open
                part.unlink(missing_ok=True)


def _owner(process: int) -> str:
    name = "".join(c for c in platform.node() if c.isascii() and c.isalnum())
    return f"{name[:32] or 'machine'}-{process}"


def _is_running(process: int) -> bool:
    """Whether another process has this number.

    An incomplete file with the number of this process, which is not writing it, is of an earlier
    one: in a container every run may have the same number.
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
