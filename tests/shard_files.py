"""Photos and .tar shards as files for tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
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
    folder.mkdir()
    for shard in range(shards):
        path = folder / f"train-{shard}.tar"
        pack(path, [(f"{n}.png", colors(1000 * shard + n)) for n in range(photos)])
        add_index(path)
    return folder


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
