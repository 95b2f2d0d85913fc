"""Photos larger than RAM (`data.cache: none`): read in order from disk, shuffled in a buffer.

Shards are read from front to back by webdataset, without an index, so that slow or remote disks
see large reads only; single files come from a shuffled list. Every process gets its own share.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tarfile import BLOCKSIZE, TarError
from types import ModuleType

from pix2color import config
from pix2color.data.dataset import (
    ALL_SPLITS,
    MIN_PHOTOS_TO_SPLIT,
    DecodeResult,
    ExamineOptions,
    Split,
    check_corrupt_fraction,
    decode_and_filter,
)
from pix2color.data.decode import Pixels
from pix2color.data.discovery import (
    FileRef,
    broken_shard,
    check_end,
    is_photo_name,
    list_files,
    plain_name,
)
from pix2color.errors import DataError

_CHECK_AFTER = 200  # files after which the share of broken ones is judged for the first time
_AHEAD = 4  # photos decoded ahead per thread


@dataclass
class StreamCounts:
    """What became of this process's files so far; give a fresh one to each epoch."""

    used: int = 0
    gray: int = 0
    elsewhere: int = 0
    """In other parts than those asked for."""
    broken: list[tuple[str, str]] = field(default_factory=list)
    """(name, reason) of the files that cannot be read or decoded."""

    def tried(self) -> int:
        return self.used + self.gray + len(self.broken)


@dataclass(frozen=True)
class _Shard:
    """A process's share of a shard's photos: every `step`th from the `first`."""

    label: str
    path: Path
    first: int = 0
    step: int = 1


@dataclass(frozen=True)
class _Member:
    """A shard's member, read."""

    name: str
    content: bytes

    def read(self) -> bytes:
        return self.content


def stream_photos(
    data: config.DataConfig,
    *,
    parts: Sequence[Split],
    rank: int,
    world: int,
    seed: int,
    epoch: int,
    counts: StreamCounts | None = None,
) -> Generator[tuple[str, Pixels]]:
    """One epoch of this process's photos in random order.

    Over all ranks each photo of the parts comes exactly once an epoch. Whole shards are dealt out
    evenly; of those left over (all, where there are fewer shards than processes) every process
    reads its own share of the photos. The order depends on (seed, epoch, rank, world) alone. The
    rules for parts, gray and broken photos are those of `load_photos`; content that is there
    twice is not noticed, and shards are split however few photos they hold.

    `data.decode_threads` threads decode ahead (0: none). Inside worker processes that share a rank's
    work, give rank * workers + worker as rank, world * workers as world, and no threads.

    Args:
        data: root, split, side, gray_chroma, max_broken, shuffle_buffer and workers count.
        parts: train, val, test, or several.
        rank, world: this process's number and how many there are.
        seed, epoch: of the order.
        counts: filled while the photos are read.

    Yields:
        (SHA-256 of the file in hex, uint8 H,W,3 sRGB with a shorter side of at most `data.cache_size`).

    Raises:
        DataError: `data.max_photos` is set, roots that do not hold (see `list_items`), webdataset
            missing where there are shards, too many broken files, nothing for this process.
    """
    if data.max_photos is not None:
        raise DataError("data.max_photos needs data.cache: ram; a stream does not know its photos")
    files, shards = list_files(data.roots)
    webdataset = _webdataset() if shards else None
    if not shards and len(files) < MIN_PHOTOS_TO_SPLIT:
        parts = ALL_SPLITS
    counts = StreamCounts() if counts is None else counts
    units = _shard_for_rank(files, shards, rank, world, random.Random(f"{seed} {epoch}"))
    rules = ExamineOptions(frozenset(parts), data.split, data.cache_size, data.min_chroma)
    examined = _examined(_files(units, webdataset), rules, data.decode_threads)
    photos = _counted(examined, data.max_corrupt_fraction, counts)
    if webdataset is not None:
        size, order = data.shuffle_buffer, random.Random(f"{seed} {epoch} {rank} {world}")
        photos = webdataset.filters.shuffle(size, initial=max(1, size // 4), rng=order)(photos)
    yield from photos
    check_corrupt_fraction(counts.broken, counts.tried(), data.max_corrupt_fraction)
    if not counts.used:
        raise DataError(
            f"no photo of {' or '.join(parts)} for process {rank + 1} of {world} ({counts.gray}"
            f" gray, {len(counts.broken)} broken): use more photos, fewer processes, or"
            " data.cache: ram"
        )


def _webdataset() -> ModuleType:
    try:
        import webdataset
        import webdataset.filters
        import webdataset.tariterators
    except ImportError:
        raise DataError(
            "data.cache: none reads .tar shards with webdataset, which is not installed:"
            ' pip install "pix2color[stream]" (or: pip install webdataset)'
        ) from None
    module: ModuleType = webdataset
    return module


def _shard_for_rank(
    files: list[FileRef],
    shards: list[tuple[str, Path]],
    rank: int,
    world: int,
    order: random.Random,
) -> list[FileRef | _Shard]:
    """This process's files and shards in this epoch's order; `order` is in the same state in all
    processes."""
    order.shuffle(files)
    order.shuffle(shards)
    even = len(shards) - len(shards) % world
    units: list[FileRef | _Shard] = [*files[rank::world]]
    units += [_Shard(label, path) for label, path in shards[:even][rank::world]]
    units += [_Shard(label, path, rank, world) for label, path in shards[even:]]
    order.shuffle(units)
    return units


def _files(
    units: Sequence[FileRef | _Shard], webdataset: ModuleType | None
) -> Iterator[FileRef | _Member]:
    """The single files, to be read by the thread that decodes them, and the shards' members."""
    for unit in units:
        if isinstance(unit, FileRef):
            yield unit
        elif webdataset is not None:
            yield from _members(unit, webdataset)


def _members(shard: _Shard, webdataset: ModuleType) -> Iterator[_Member]:
    try:
        with shard.path.open("rb") as stream:
            members = webdataset.tariterators.tar_file_iterator(
                stream, skip_meta=None, select_files=is_photo_name
            )
            for member in islice(members, shard.first, None, shard.step):
                yield _Member(f"{shard.label}/{plain_name(member['fname'])}", member["data"])
            size = shard.path.stat().st_size
            check_end(shard.path, max(0, min(stream.tell(), size - 2 * BLOCKSIZE)))
    except (TarError, OSError, EOFError, ValueError) as error:
        raise broken_shard(shard.path, error) from None


def _examined(
    files: Iterator[FileRef | _Member], rules: ExamineOptions, threads: int
) -> Iterator[DecodeResult]:
    """Each file examined, in order; threads work some files ahead of the caller."""
    if threads == 0:
        yield from (decode_and_filter(file, rules) for file in files)
        return
    waiting: deque[Future[DecodeResult]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for file in files:
            waiting.append(pool.submit(decode_and_filter, file, rules))
            if len(waiting) > _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _counted(
    examined: Iterator[DecodeResult], most_broken: float, counts: StreamCounts
) -> Iterator[tuple[str, Pixels]]:
    """The usable photos; the others are counted, and too many broken ones stop the epoch."""
    for one in examined:
        if one.corrupt:
            counts.broken.append((one.name, one.corrupt))
            if counts.tried() >= _CHECK_AFTER:
                check_corrupt_fraction(counts.broken, counts.tried(), most_broken)
        elif one.gray:
            counts.gray += 1
        elif one.pixels is None:
            counts.elsewhere += 1
        else:
            counts.used += 1
            yield one.digest, one.pixels
