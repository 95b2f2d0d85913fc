"""Files of stores under local names: a run works on copies that exist while it needs them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pix2color.data.object_store import Entry
from pix2color.errors import StoreError
from pix2color.jobs.store import ObjectStore, Store, digest, local_entry, open_store
from pix2color.photo.walk import LeftOut, is_hidden

if TYPE_CHECKING:
    from pix2color.jobs.planner import Job

_LONGEST_NAME = 200
"""Bytes of one part of a name; the file systems that are in use have 255."""


class Mirror:
    """Local paths that stand for objects, such as FOLDER/s3/bucket/scans/a.jpg.

    So a photo in a store is planned and colored as one in a folder. Paths outside of the folder are
    files of this machine.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Args:
        folder: of the copies; a temporary one, which the caller deletes. None: there are no URLs.
        """
        self.folder = folder
        self._stores: dict[Path, Store] = {}
        self._entries: dict[Path, Entry] = {}
        self._without_form: dict[Path, str] = {}  # URLs that no local path can stand for
        self.replaceable: dict[Path, str] = {}
        """Digests of contents that earlier runs wrote, by the path of the target."""

    def add(self, url: str) -> tuple[Path, Store]:
        """Open the store of a URL; returns the local path of its root.

        Raises StoreError: it cannot be opened, or its name has no local form.
        """
        if self.folder is None:
            raise StoreError(f"{url}: a URL where only files of this machine can be")
        protocol, _, rest = url.partition("://")
        parts = [part for part in rest.split("/") if part]
        if not parts:
            raise StoreError(f"{url}: name a bucket and a folder in it")
        if not _has_local_form("/".join(parts)):
            raise StoreError(f"{url}: not a name that files can have")
        root = self.folder.joinpath(protocol.lower(), *parts)
        if root not in self._stores:
            self._stores[root] = open_store(url)
        return root, self._stores[root]

    def part(self, jobs: Sequence[Job]) -> Mirror:
        """The same for these photos alone, to be sent to another process."""
        part = Mirror(self.folder)
        part._stores = self._stores
        part._entries = {j.source: self._entries[j.source] for j in jobs if self.holds(j.source)}
        targets = [path for job in jobs for path in job.targets if path in self.replaceable]
        part.replaceable = {path: self.replaceable[path] for path in targets}
        return part

    def find(self, url: str, out: Path) -> Iterator[tuple[Path, Path | None] | LeftOut]:
        """The objects below a URL, or the one that it names, without hidden ones.

        Args:
            out: local path of the output folder, which is not searched.

        Yields:
            The local path and the path below the URL (None for an object that is named itself), or
            an object that is skipped because of its name.

        Raises:
            StoreError: it cannot be listed.
        """
        root, store = self.add(url)
        named = store.entry("") if isinstance(store, ObjectStore) else None
        if named is not None:
            del self._stores[root]
            self.add(url.rstrip("/").rpartition("/")[0])
            self._entries[root] = named
            yield root, None
            return
        for entry in store.list():
            path = root / entry.name
            if not _has_local_form(entry.name):
                stand_in = root / quote(entry.name, safe="")
                self._without_form[stand_in] = store.shown(entry.name)
                yield LeftOut(stand_in, "not a name that files can have; rename it")
            elif any(is_hidden(part) for part in Path(entry.name).parts):
                continue
            elif root not in out.parents or not path.is_relative_to(out):
                self._entries[path] = entry
                yield path, Path(entry.name)

    def holds(self, path: Path) -> bool:
        """Whether a path stands for an object."""
        return self.folder is not None and path.is_relative_to(self.folder)

    def shown(self, path: Path) -> str:
        """What a user calls a file: its URL, or its path."""
        if self.folder is None or not self.holds(path):
            return str(path)
        if path in self._without_form:
            return self._without_form[path]
        protocol, *parts = path.relative_to(self.folder).parts
        return f"{protocol}://{'/'.join(parts)}"

    def version(self, source: Path) -> tuple[int, str]:
        """Size in bytes of a source, and what changes when it is written again.

        Raises OSError for a file of this machine that cannot be looked at.
        """
        entry = self._entries[source] if self.holds(source) else local_entry(source)
        return entry.size, entry.version

    @contextlib.contextmanager
    def copies(self, source: Path, targets: Sequence[Path]) -> Iterator[None]:
        """Copy the source from its store for the block; copies of targets are deleted after it.

        Raises StoreError: it cannot be read, or has another size than listed.
        """
        try:
            if self.holds(source):
                store, name = self._store_of(source)
                data = store.read(name, size=self._entries[source].size)
                source.parent.mkdir(parents=True, exist_ok=True)
                source.write_bytes(data)
            yield
        finally:
            for path in (source, *targets):
                if self.holds(path):
                    path.unlink(missing_ok=True)

    def publish(self, targets: Sequence[Path]) -> tuple[str, ...]:
        """Write targets into their stores, the first one last; returns the digest of each.

        Raises StoreError: an object exists that no recorded run wrote, or it cannot be written.
        """
        digests = []
        for path in reversed(targets):
            data = path.read_bytes()
            if self.holds(path):
                store, name = self._store_of(path)
                store.write(name, data, replaces=self.replaceable.get(path, ""))
            digests.append(digest(data))
        return tuple(reversed(digests))

    def _store_of(self, path: Path) -> tuple[Store, str]:
        """The store of an object, and its name there."""
        root = next(parent for parent in path.parents if parent in self._stores)
        return self._stores[root], path.relative_to(root).as_posix()


def _has_local_form(name: str) -> bool:
    """Whether an object's name is also a file's, below one folder and with the same parts."""
    parts = name.split("/")
    forbidden = '\0\\:*?"<>|' if os.name == "nt" else "\0"
    return all(
        part not in ("", ".", "..")
        and len(os.fsencode(part)) <= _LONGEST_NAME
        and not any(c in forbidden for c in part)
        for part in parts
    )
