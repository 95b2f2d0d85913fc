"""Photos and .tar shards as files for tests."""

from __future__ import annotations

import functools
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pix2color.data.shard_index import build_index, write_index
from pix2color.data.shards import LocalShard


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def colors(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return encoded(Image.fromarray(coarse).resize((24, 18), Image.Resampling.BICUBIC))


def indexed_shards(folder: Path, shards: int = 4, photos: int = 12) -> Path:
    """A folder of indexed shards with so many photos each."""
    return made_once(folder, _index_shards, shards, photos)


def _index_shards(folder: Path, shards: int, photos: int) -> None:
    for shard in range(shards):
        path = folder / f"train-{shard}.tar"
        pack(path, [(f"{n}.png", colors(1000 * shard + n)) for n in range(photos)])
        add_index(path)


def made_once(folder: Path, make: Callable[..., None], *arguments: int) -> Path:
    """A new folder with the files of `make(folder, *arguments)`, which is called the first time."""
    folder.mkdir()
    for name, (content, changed) in _files(make, *arguments).items():
        (folder / name).write_bytes(content)
        os.utime(folder / name, ns=(changed, changed))  # an index names the time of its shard
    return folder


@functools.cache
def _files(make: Callable[..., None], *arguments: int) -> dict[str, tuple[bytes, int]]:
    """The content and the time of change (ns) of each file, by name."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), *arguments)
        paths = sorted(Path(folder).iterdir())
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def local(path: Path) -> LocalShard:
    """The shard in a file."""
    return LocalShard(path.name, path)


def add_index(*paths: Path) -> None:
    """Index shards."""
    for path in paths:
        write_index(local(path), build_index(local(path), threads=0))


def index_path(path: Path) -> Path:
    """Where the index of a shard lies."""
    return local(path).index_path


def pack(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
