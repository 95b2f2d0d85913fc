"""Where the files of a run lie: a folder, or an object store behind an fsspec URL."""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pix2color.data.object_store import (
    CHECK_NETWORK,
    DELAY,
    Entry,
    entry_of,
    explain,
    open_file_system,
    with_retries,
)
from pix2color.errors import DataError, StoreError
from pix2color.io import PART_SUFFIX, atomic_create, atomic_write

_Result = TypeVar("_Result")


def digest(data: bytes) -> str:
    """Identifies the content of a file: 128 bits of its SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()[:32]


class Store(ABC):
    """Files below a root. Names are relative to it; every error is a StoreError."""

    url: str
    """Of the root, without a slash at its end; the path of a folder."""

    @abstractmethod
    def list(self, under: str = "") -> list[Entry]:
        """Every file whose name begins with the folder `under`, in order of names."""

    @abstractmethod
    def read(self, name: str, *, size: int | None = None) -> bytes:
        """The whole file; `size` is what its listing said, and another one is an error."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    def write(self, name: str, data: bytes, *, replaces: str = "") -> None:
        """Write a file, which appears whole or not at all.

        A file that is there already is left alone where it has this content.

        Args:
            replaces: the digest of the content that may be replaced, which an earlier run wrote.

        Raises:
            StoreError: it exists with another content, or it cannot be written.
        """
        if self._create(name, data):
            return
        found = self.read(name)
        if found == data:
            return
        if digest(found) != replaces:
            raise StoreError(
                f"{self.shown(name)} exists and no recorded run wrote it",
                remedy="choose another {out}, or remove the file",
            )
        self._replace(name, data)

    def shown(self, name: str) -> str:
        """The whole name of a file, for messages."""
        return f"{self.url}/{name}" if name else self.url

    @abstractmethod
    def _create(self, name: str, data: bytes) -> bool:
        """Write a file that is not there yet; False where it is."""

    @abstractmethod
    def _replace(self, name: str, data: bytes) -> None:
        """Write a file in place of the one that is there."""


class FolderStore(Store):
    """A folder of this machine, which need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, str(folder)

    def list(self, under: str = "") -> list[Entry]:
        """As `Store.list`; links to folders are not followed."""
        entries = []
        with self._errors(under):
            for path in (self.folder / under).rglob("*"):
                if path.is_file() and not path.name.endswith(PART_SUFFIX):
                    name = path.relative_to(self.folder).as_posix()
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        entries.append(_local_entry(name, path))
        return sorted(entries)

    def read(self, name: str, *, size: int | None = None) -> bytes:
        """As `Store.read`."""
        with self._errors(name):
            data = (self.folder / name).read_bytes()
        _check_size(self.shown(name), len(data), size)
        return data

    def exists(self, name: str) -> bool:
        """As `Store.exists`."""
        with self._errors(name):
            return (self.folder / name).is_file()

    def _create(self, name: str, data: bytes) -> bool:
        with self._errors(name):
            try:
                atomic_create(self.folder / name, data)
            except FileExistsError:
                return False
        return True

    def _replace(self, name: str, data: bytes) -> None:
        with self._errors(name):
            atomic_write(self.folder / name, data)

    @contextlib.contextmanager
    def _errors(self, name: str) -> Any:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.shown(name)}: {error.strerror or error}") from None


class ObjectStore(Store):
    """Objects below a prefix of an fsspec file system.

    A call that fails, or that transfers too few bytes, is repeated up to four times. A write is
    complete when the store states the size that was sent.
    """

    def __init__(self, file_system: Any, root: str, url: str, *, delay: float = DELAY) -> None:
        """Args:
        file_system: an `fsspec.AbstractFileSystem`.
        root: the prefix, as the file system names it.
        delay: seconds before the second try; doubled before each further one.
        """
        self._files, self._root, self._delay = file_system, root.rstrip("/"), delay
        self.url = url.rstrip("/")

    def list(self, under: str = "") -> list[Entry]:
        """As `Store.list`: objects whose keys begin with the prefix and a slash."""
        found = self._try(under, lambda: self._files.find(self._path(under), detail=True))
        start = f"{self._root}/"
        return sorted(
            entry_of(path.removeprefix(start), info)
            for path, info in found.items()
            if path.startswith(start) and info["type"] == "file" and not path.endswith("/")
        )

    def read(self, name: str, *, size: int | None = None) -> bytes:
        """As `Store.read`."""

        def whole() -> bytes:
            expected = self._info(name).size if size is None else size
            data = self._files.cat_file(self._path(name))
            _check_size(self.shown(name), len(data), expected)
            return data

        return self._try(name, whole)

    def exists(self, name: str) -> bool:
        """As `Store.exists`; unlike fsspec's, an error is not the answer no."""
        return self.entry(name) is not None

    def entry(self, name: str) -> Entry | None:
        """The object of this name; None where there is none."""

        def asked() -> Entry | None:
            try:
                return self._info(name)
            except (FileNotFoundError, IsADirectoryError):
                return None

        return self._try(name, asked)

    def _info(self, name: str) -> Entry:
        info = self._files.info(self._path(name))
        if info["type"] != "file":
            raise IsADirectoryError(self.shown(name))
        return entry_of(name, info)

    def _create(self, name: str, data: bytes) -> bool:
        return self._put(name, data, exclusive=True)

    def _replace(self, name: str, data: bytes) -> None:
        self._put(name, data, exclusive=False)

    def _put(self, name: str, data: bytes, *, exclusive: bool) -> bool:
        """Write an object; False where it was there and `exclusive` forbids to replace it."""
        path, ours = self._path(name), not exclusive

        def put() -> bool:
            nonlocal ours
            if ours:
                self._files.pipe_file(path, data)
            else:
                try:
                    self._create_object(path, data)
                except FileExistsError:
                    return False
                ours = True  # an incomplete one is replaced by the next try
            _check_size(self.shown(name), self._info(name).size, len(data))
            return True

        try:
            return self._try(name, put)
        except StoreError:
            if ours and exclusive:
                with contextlib.suppress(Exception):  # the error above is the one to state
                    self._files.rm_file(path)
            raise

    def _create_object(self, path: str, data: bytes) -> None:
        try:
            self._files.pipe_file(path, data, mode="create")
        except (NotImplementedError, TypeError):  # a file system without exclusive writes
            if self._files.exists(path):
                raise FileExistsError(path) from None
            self._files.pipe_file(path, data)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _try(self, name: str, call: Callable[[], _Result]) -> _Result:
        """The result of a call, repeated where it fails; raises StoreError."""
        try:
            return with_retries(call, self._delay)
        except StoreError:
            raise
        except Exception as error:  # each file system raises its own
            reason, remedy = explain(error)
            if remedy == CHECK_NETWORK:
                remedy += "; {resume} goes on from here"
            raise StoreError(f"{self.shown(name)}: {reason}", remedy=remedy) from error


def open_store(url: str) -> Store:
    """The store of an fsspec URL.

    Raises:
        StoreError: no such protocol, the package for it is not installed, or it cannot be opened.
    """
    if url.startswith(("file:", "local:")):  # would be written without a temporary name
        raise StoreError(f"{url}: name a folder of this machine by its path, without file://")
    try:
        files, root = open_file_system(url)
    except DataError as error:
        raise StoreError(error.message, remedy=error.remedy) from error
    return ObjectStore(files, root, url)


def _local_entry(name: str, path: Path) -> Entry:
    status = path.stat()
    return Entry(name, status.st_size, str(status.st_mtime_ns))


def local_entry(path: Path) -> Entry:
    """A file of this machine, by its whole path. Raises OSError."""
    return _local_entry(str(path), path)


def _check_size(shown: str, size: int, expected: int | None) -> None:
    if expected is not None and size != expected:
        raise StoreError(f"{shown}: {size} bytes where {expected} were expected")
