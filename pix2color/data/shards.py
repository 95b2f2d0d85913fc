"""The .tar shards of a data set: files of this machine or of an object store, read by offset."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field

from pix2color.data.discovery import FileRef, list_files, unique_name
from pix2color.data.object_store import (
    Entry,
    ObjectFiles,
    has_wildcard,
    is_url,
    open_url,
)
from pix2color.errors import DataError
from pix2color.io import atomic_write

INDEX_SUFFIX = ".index.json"
"""Follows the shard's whole name: train-0.tar.index.json."""

_PIECE = 16 << 20  # bytes per request when a whole shard is read


class Stamp(BaseModel):
    """What tells that a shard is not the one that was indexed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=0)
    """In bytes."""
    mtime_ns: int | None = None
    """Time of change of a file."""
    version: str | None = None
    """Of an object in a store: its etag, or what changes when it is written again."""

    def difference(self, indexed: Stamp) -> str:
        """How the shard differs from the one that was indexed; empty where it does not.

        A copy between a disk and a store is told by its size alone: they have no more in common.
        """
        if self.size != indexed.size:
            return "size"
        found, before = self.mtime_ns, indexed.mtime_ns
        if found is not None and before is not None and not _is_copied_time(found, before):
            return "time of change"
        if self.version and indexed.version and self.version != indexed.version:
            return "version"
        return ""


class Shard(ABC):
    """A .tar file of photos. Every error is a DataError that names it, unless stated."""

    label: str
    """Begins the names of its photos: the name of its root, then the path below it."""
    place: str
    """Path or URL."""

    @property
    def name(self) -> str:
        """The last part of path or URL."""
        return PurePosixPath(self.label).name

    @abstractmethod
    def stamp(self) -> Stamp:
        """The state it is in."""

    @abstractmethod
    def read(self, offset: int, size: int) -> bytes:
        """Some of its bytes. Raises OSError or DataError."""

    @abstractmethod
    def has_index(self) -> bool:
        """Whether a file lies where its index belongs."""

    @abstractmethod
    def read_index(self) -> bytes | None:
        """The content of that file; None where there is none."""

    @abstractmethod
    def write_index(self, content: str) -> None:
        """Write that file, whole or not at all."""

    @abstractmethod
    def as_file(self) -> contextlib.AbstractContextManager[Path]:
        """The shard as a file of this machine, for as long as the context is open."""


class LocalShard(Shard):
    """A shard on a disk of this machine."""

    def __init__(self, label: str, path: Path) -> None:
        self.label, self.path, self.place = label, path, str(path)
        self.index_path = path.with_name(path.name + INDEX_SUFFIX)

    def stamp(self) -> Stamp:
        """As `Shard.stamp`."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}") from None
        return Stamp(size=status.st_size, mtime_ns=status.st_mtime_ns)

    def read(self, offset: int, size: int) -> bytes:
        """As `Shard.read`."""
        return read_part(self.path, offset, size)

    def has_index(self) -> bool:
        """As `Shard.has_index`."""
        return self.index_path.is_file()

    def read_index(self) -> bytes | None:
        """As `Shard.read_index`."""
        try:
            return self.index_path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{self.index_path} cannot be read: {reason}") from None

    def write_index(self, content: str) -> None:
        """As `Shard.write_index`."""
        try:
            atomic_write(self.index_path, content)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{self.index_path} cannot be written: {reason}") from None

    @contextlib.contextmanager
    def as_file(self) -> Iterator[Path]:
        """As `Shard.as_file`."""
        yield self.path


class RemoteShard(Shard):
    """A shard in an object store.

    Args:
        label: as `Shard.label`.
        files: the store.
        found: the shard, as the store listed it.
    """

    def __init__(self, label: str, files: ObjectFiles, found: Entry) -> None:
        self.label, self.place = label, files.url(found.name)
        self._files, self._found = files, found

    def stamp(self) -> Stamp:
        """As it was when the shards were listed."""
        return Stamp(size=self._found.size, version=self._found.version or None)

    @functools.cached_property
    def copy_name(self) -> str:
        """The name of a copy: another one for another place or version."""
        key = f"{self.place}\n{self._found.size}\n{self._found.version}"
        return f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.tar"

    def check_unchanged(self) -> None:
        """Raise DataError where the store has it in another state than when it was listed."""
        if self._files.look_up(self._found.name) != self._found:
            raise DataError(f"{self.place} changed while it was read", remedy="start again")

    def read(self, offset: int, size: int) -> bytes:
        """As `Shard.read`."""
        return self._files.read(self._found.name, offset, size)

    def has_index(self) -> bool:
        """As `Shard.has_index`."""
        return self._files.look_up(self._found.name + INDEX_SUFFIX) is not None

    def read_index(self) -> bytes | None:
        """As `Shard.read_index`."""
        found = self._files.look_up(self._found.name + INDEX_SUFFIX)
        return None if found is None else self._files.read(found.name, 0, found.size)

    def write_index(self, content: str) -> None:
        """As `Shard.write_index`."""
        self._files.write(self._found.name + INDEX_SUFFIX, content.encode())

    def copy_to(self, file: BinaryIO) -> None:
        """Write the whole shard to a file. Raises OSError, too."""
        for start in range(0, self._found.size, _PIECE):
            file.write(self.read(start, min(_PIECE, self._found.size - start)))
        self.check_unchanged()

    @contextlib.contextmanager
    def as_file(self) -> Iterator[Path]:
        """As `Shard.as_file`: a copy in the folder of temporary files."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "shard.tar"
            try:
                with path.open("xb") as file:
                    self.copy_to(file)
            except OSError as error:
                reason = error.strerror or error
                raise DataError(f"{self.place} cannot be copied to {path}: {reason}") from None
            yield path


def read_part(path: Path, offset: int, size: int) -> bytes:
    """Some bytes of a file. Raises OSError, also where there are too few."""
    return FileRef("", size, path, offset).read()


def list_shards(roots: Sequence[str]) -> tuple[list[FileRef], list[Shard]]:
    """The photos below the roots but for those in shards, and the shards; both sorted.

    Args:
        roots: as `list_photos` takes them, and URLs of shards, of folders (prefixes) that contain
            some, or patterns. In object stores all but shards is ignored.

    Raises:
        DataError: as `list_files`; a URL without shards, or one that cannot be listed.
    """
    local, urls = ([root for root in roots if is_url(root) == remote] for remote in (False, True))
    files, paths = list_files(local) if local or not urls else ([], [])
    shards: list[Shard] = [LocalShard(label, path) for label, path in paths]
    labels = {name.partition("/")[0] for name in [*(f.name for f in files), *dict(paths)]}
    seen: set[str] = set()
    for url in urls:
        shards += _list_url(url, labels, seen)
    return files, sorted(shards, key=lambda shard: shard.label)


def _list_url(url: str, labels: set[str], seen: set[str]) -> Iterator[RemoteShard]:
    """The shards of a URL that are not in `seen`; `labels` are taken."""
    files, root = open_url(url.rstrip("/"))
    found = [file for file in files.find(root) if file.name.lower().endswith(".tar")]
    if not found:
        raise DataError(f"no .tar shards in {url}", remedy="pack the photos into .tar shards")
    is_folder = not has_wildcard(root) and found[0].name != root
    folder_label = unique_name(PurePosixPath(root).name, labels) if is_folder else ""
    for file in found:
        if files.url(file.name) in seen:
            continue
        seen.add(files.url(file.name))
        label = f"{folder_label}/{file.name.removeprefix(root).strip('/')}"
        if not is_folder:
            label = unique_name(PurePosixPath(file.name).name, labels)
        yield RemoteShard(label, files, file)


def _is_copied_time(found: int, indexed: int) -> bool:
    """Whether a time in ns is the other one, exactly or as coarser file systems keep it."""
    return any(found == indexed // step * step for step in (1, 100, 10**3, 10**6, 10**9))
