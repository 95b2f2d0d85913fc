"""Whole shards of object stores on a disk of this machine, up to a total size.

One request per photo is slow. So the shards that a training reads now and next are copied in the
background, in pieces of some megabytes; until a copy is complete, photos are read from the store.
Processes and runs may share a folder: copies appear whole, and one that another process removes is
read from the store again.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pix2color.data.shards import RemoteShard, read_part
from pix2color.errors import DataError
from pix2color.io import atomic_open, remove_stale_parts

_THREADS = 4  # shards that are copied at a time


def default_folder() -> Path:
    """XDG_CACHE_HOME/pix2color/shards, or the same in .cache of the user's home."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "pix2color" / "shards"


class ShardCache:
    """Copies of shards.

    Args:
        folder: made if missing.
        max_bytes: of all copies in it together; older ones are removed for new ones.
        announce: called once, with a line, if nothing can be written.
        rank, world: this process's number among those that share the folder and request the same
            shards, and how many there are; each copies its part.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        *,
        announce: Callable[[str], object] = lambda line: None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._rank, self._world = rank, world
        self._announce = announce
        self._lock = threading.Lock()
        self._waiting: list[RemoteShard] = []
        self._copying: dict[Path, int] = {}  # target -> bytes
        self._threads = 0
        self._failed = False
        remove_stale_parts(folder)

    def read(self, shard: RemoteShard, offset: int, size: int) -> bytes | None:
        """Some bytes of a shard; None where there is no copy of it."""
        try:
            return read_part(self._path(shard), offset, size)
        except OSError:
            return None

    def discard(self, shard: RemoteShard) -> None:
        """Remove the copy of a shard, such as a damaged one."""
        with contextlib.suppress(OSError):
            self._path(shard).unlink()

    def request(self, shards: Sequence[RemoteShard]) -> None:
        """Copy shards in this order, in the background, in place of what was requested before.

        Those that do not fit into `max_bytes` together with the earlier ones are left out.
        """
        fitting, total = [], 0
        for shard in dict.fromkeys(shards):
            if total + shard.stamp().size > self.max_bytes:
                break
            total += shard.stamp().size
            fitting.append(shard)
        with self._lock:
            self._make_room({self._path(shard) for shard in fitting}, total)
            self._waiting = fitting[self._rank :: self._world]
            new = min(_THREADS, len(self._waiting)) - self._threads
            for _ in range(new if not self._failed else 0):
                self._threads += 1
                threading.Thread(target=self._work, name="shards", daemon=True).start()

    def _make_room(self, kept: set[Path], size: int) -> None:
        """Remove the copies used longest ago until those that are kept, `size` bytes, fit."""
        others = sum(bytes_ for path, bytes_ in self._copying.items() if path not in kept)
        copies = []
        for path in self.folder.glob("*.tar"):
            with contextlib.suppress(OSError):  # removed by another process
                if path in kept:
                    os.utime(path)
                else:
                    copies.append((path.stat().st_mtime_ns, path.stat().st_size, path))
        others += sum(bytes_ for _, bytes_, _ in copies)
        for _, bytes_, path in sorted(copies):
            if others + size <= self.max_bytes:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            others -= bytes_

    def _work(self) -> None:
        """Copy what is requested until nothing is left."""
        while (job := self._next()) is not None:
            shard, path = job
            try:
                with atomic_open(path) as file:
                    shard.copy_to(file)
            except DataError:  # reading a photo of it states the reason
                pass
            except OSError as error:
                self._fail(error)
            finally:
                with self._lock:
                    del self._copying[path]

    def _next(self) -> tuple[RemoteShard, Path] | None:
        """A shard to copy; None ends the thread."""
        with self._lock:
            while self._waiting and not self._failed:
                shard = self._waiting.pop(0)
                path = self._path(shard)
                if path not in self._copying and not path.exists():
                    self._copying[path] = shard.stamp().size
                    return shard, path
            self._threads -= 1
            return None

    def _fail(self, error: OSError) -> None:
        with self._lock:
            first, self._failed = not self._failed, True
        if first:
            reason = error.strerror or error
            self._announce(
                f"{self.folder}: {reason}: no shards are copied there (data.shard_cache); their"
                " photos are read one by one from the store"
            )

    def _path(self, shard: RemoteShard) -> Path:
        return self.folder / shard.copy_name
