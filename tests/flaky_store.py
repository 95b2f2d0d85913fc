"""An object store in memory that fails, delays and truncates calls, as a network does."""

from __future__ import annotations

import itertools
import random
import secrets
import time
from typing import Any

from fsspec.implementations.memory import MemoryFileSystem

from pix2color.jobs.store import ObjectStore


class FlakyFileSystem:
    """The calls of `ObjectStore` on `memory://`, of which one in `every` goes wrong.

    It fails before or after it took effect, comes late, or transfers half of the bytes.
    """

    def __init__(self, *, every: int = 10, seed: int = 0) -> None:
        self._files, self._chance, self._every = MemoryFileSystem(), random.Random(seed), every
        self._calls = itertools.count(seed)
        self.went_wrong = {"fails": 0, "fails late": 0, "delays": 0, "truncates": 0}

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._files, name)
        if name not in ("find", "info", "cat_file", "pipe_file"):
            return call

        def disturbed(path: str, *arguments: Any, **options: Any) -> Any:
            if next(self._calls) % self._every:
                return call(path, *arguments, **options)
            kind = self._chance.choice(list(self.went_wrong))
            self.went_wrong[kind] += 1
            if kind == "fails":
                raise ConnectionResetError("connection reset by peer")
            if kind == "delays":
                time.sleep(0.01)
            if kind == "truncates" and name == "pipe_file":
                arguments = (arguments[0][: len(arguments[0]) // 2], *arguments[1:])
            result = call(path, *arguments, **options)
            if kind == "fails late":
                raise TimeoutError("the read operation timed out")
            return (
                result[: len(result) // 2] if kind == "truncates" and name == "cat_file" else result
            )

        return disturbed


def flaky_store(url: str, *, every: int = 10, seed: int = 0) -> tuple[ObjectStore, FlakyFileSystem]:
    """A store of a `memory://` URL, and what counts its failures."""
    files = FlakyFileSystem(every=every, seed=seed)
    root = MemoryFileSystem._strip_protocol(url)
    return ObjectStore(files, root, url, delay=0.0001), files


def new_url() -> str:
    """A `memory://` URL below which nothing is."""
    return f"memory://bucket-{secrets.token_hex(6)}"
