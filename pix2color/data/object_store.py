"""Files of object stores, named by fsspec URLs such as `s3://bucket/shards/train-0.tar`.

`jobs.store` has its retries, listings and explanations of errors from here.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pix2color.errors import DataError

_Result = TypeVar("_Result")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_VERSION_KEYS = ("ETag", "etag", "blob_id", "LastModified", "mtime", "last_modified", "created")
_TRIES = 5
DELAY = 0.5
"""Seconds before the second try; doubled before each further one."""
CHECK_NETWORK = "check the network"
_INSTALL = 'pip install "pix2color[cloud]" has s3:// and gs://'
_FINAL = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError)
"""Answers that another try does not change."""


@dataclass(frozen=True, order=True)
class Entry:
    """A file of a store, as it was listed."""

    name: str
    """Of `ObjectFiles` as the file system names it, without the protocol; of a `jobs.store.Store`
    below the store's root. With forward slashes."""
    size: int
    """In bytes."""
    version: str
    """Another one where the content was written again: an etag, or else a time."""


def is_url(text: object) -> bool:
    """Whether an input, an output or a root is a URL rather than a path."""
    return _URL.match(str(text)) is not None


def has_wildcard(path: str) -> bool:
    """Whether it is a pattern."""
    return any(sign in path for sign in "*?[")


class ObjectFiles:
    """Calls of an fsspec file system; one that fails is repeated up to four times.

    May be used by several threads. Every error is a DataError that names the URL.
    """

    def __init__(self, file_system: Any) -> None:
        self._files = file_system

    def url(self, path: str) -> str:
        """The whole name of a file."""
        return str(self._files.unstrip_protocol(path))

    def find(self, pattern: str) -> list[Entry]:
        """Every file below a folder, or that a pattern with * ? [ matches; a file finds itself."""
        call = self._files.glob if has_wildcard(pattern) else self._files.find
        found = self._try(pattern, lambda: call(pattern, detail=True))
        return [entry_of(path, info) for path, info in found.items() if info["type"] == "file"]

    def look_up(self, path: str) -> Entry | None:
        """The file of this name; None where there is none."""

        def ask() -> Entry | None:
            try:
                return entry_of(path, self._files.info(path))
            except FileNotFoundError:
                return None

        return self._try(path, ask)

    def read(self, path: str, start: int, size: int) -> bytes:
        """`size` bytes from byte `start` on; fewer are an error."""

        def ask() -> bytes:
            data: bytes = self._files.cat_file(path, start=start, end=start + size)
            if len(data) != size:
                raise OSError(f"{len(data)} of {size} bytes could be read")
            return data

        return self._try(path, ask) if size else b""

    def write(self, path: str, data: bytes) -> None:
        """Write a file, in place of the one that is there; it appears whole or not at all."""
        self._try(path, lambda: self._files.pipe_file(path, data))

    def _try(self, path: str, call: Callable[[], _Result]) -> _Result:
        try:
            return with_retries(call, DELAY)
        except Exception as error:  # each file system raises its own
            raise _data_error(self.url(path), error) from error


def open_url(url: str) -> tuple[ObjectFiles, str]:
    """The object store of a URL, and the path there.

    Raises:
        DataError: as `open_file_system`.
    """
    files, path = open_file_system(url)
    return ObjectFiles(files), path


def open_file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path there.

    Raises:
        DataError: no such protocol, the package for it is not installed, or it cannot be opened.
    """
    try:
        import fsspec

        # Listings must show what other processes wrote meanwhile.
        files, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise DataError(f"{url}: {error}", remedy=_INSTALL) from None
    except Exception as error:  # such as missing credentials
        raise _data_error(url, error) from error
    return files, path


def with_retries(call: Callable[[], _Result], delay: float) -> _Result:
    """The result of a call, repeated up to four times where it fails; raises its last error.

    Args:
        call: of a file system.
        delay: seconds before the second try; doubled before each further one.
    """
    for number in range(_TRIES - 1):
        try:
            return call()
        except Exception as error:  # each file system raises its own
            if _is_final(error):
                raise
        time.sleep(delay * 2**number)
    return call()


def entry_of(name: str, info: dict[str, Any]) -> Entry:
    """A file by what fsspec says of it."""
    found = next((info[key] for key in _VERSION_KEYS if info.get(key)), "")
    # Some file systems state a time as a number in listings only.
    version = str(found.timestamp() if isinstance(found, datetime) else found)
    return Entry(name, int(info["size"] or 0), version.strip('"'))


def explain(error: Exception) -> tuple[str, str]:
    """What a file system said, in one line, and what to do; the latter may be empty."""
    if isinstance(error, FileNotFoundError):
        return "no such object, prefix or bucket", "check the name; buckets are not created"
    text = f"{type(error).__name__}: {' '.join(str(error).split()):.200}".rstrip(": ")
    lower = text.lower()
    if "skew" in lower or "request time" in lower:
        return text, "set the clock of this machine"
    if isinstance(error, PermissionError):
        return f"access denied ({text})", "check the credentials and what they may do"
    if _lacks_credentials(error):
        return text, "sign in with the cloud's own tool, or set its environment variables"
    if isinstance(error, ConnectionError | TimeoutError) or "connect" in lower:
        return text, CHECK_NETWORK
    if "validation" in lower or getattr(error, "errno", None) == errno.ENAMETOOLONG:
        return text, "check the name"
    return text, ""


def _is_final(error: Exception) -> bool:
    invalid_name = type(error).__name__ == "ParamValidationError"  # of botocore
    return isinstance(error, _FINAL) or invalid_name or _lacks_credentials(error)


def _lacks_credentials(error: Exception) -> bool:
    """By the text: each cloud's package has an exception of its own for this."""
    return "credential" in str(error).lower()


def _data_error(url: str, error: Exception) -> DataError:
    reason, remedy = explain(error)
    return DataError(f"{url}: {reason}", remedy=remedy)
