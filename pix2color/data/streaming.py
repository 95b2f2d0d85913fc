"""Photos larger than RAM (`data.cache: none`): read in order from disk, shuffled in a buffer.

Shards are read from front to back by webdataset, without an index, so that slow or remote disks
see large reads only; single files come from a shuffled list. Every process gets its own share.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tarfile import BLOCKSIZE, TarError
from types import ModuleType
from typing import NamedTuple

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
from pix2color.data.source_weights import SourceWeights
from pix2color.errors import DataError

_CHECK_AFTER = 200  # files after which the share of broken ones is judged for the first time
_AHEAD = 4  # photos decoded ahead per thread


@dataclass
class StreamCounts:
    """Counts of this process's files in one epoch, per draw."""

    used: int = 0
    gray: int = 0
    other_splits: int = 0
    """Not in the splits asked for."""
    corrupt: list[tuple[str, str]] = field(default_factory=list)
    """(name, reason) of the files that cannot be read or decoded."""

    def tried(self) -> int:
        """Files decoded, with or without success."""
        return self.used + self.gray + len(self.corrupt)


class StreamedPhoto(NamedTuple):
    """A photo of a stream."""

    digest: str
    """SHA-256 of the file, in hex."""
    pixels: Pixels
    """uint8 H,W,3 sRGB, the shorter side at most `data.cache_size`."""
    repeat: int = 0
    """Number of this draw among the photo's draws in the epoch, from 0."""


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
        """The member's bytes."""
        return self.content


@dataclass(frozen=True)
class _Draw:
    """A file, and the number of this draw among its draws in the epoch."""

    file: FileRef | _Member
    repeat: int


def stream_photos(
    data: config.DataConfig,
    *,
    splits: Sequence[Split],
    rank: int,
    world: int,
    seed: int,
    epoch: int,
    counts: StreamCounts | None = None,
) -> Generator[StreamedPhoto]:
    """One epoch of this process's photos in random order.

    Over all ranks each photo of the splits comes exactly once per epoch, or as often as
    `data.source_weights` says. Whole shards are dealt out evenly; of the remaining ones (all, where
    there are fewer shards than processes) every process reads its own share of the photos. The
    order depends on (seed, epoch, rank, world) alone. The
    rules for splits, gray and corrupt photos are those of `load_photos`; content that is there
    twice is not noticed, and shards are split however few photos they hold.

    `data.decode_threads` threads decode ahead (0: none). Inside worker processes that share the
    work of one rank, give rank * workers + worker as rank, world * workers as world, and no
    threads.

    Args:
        data: all but crops and augmentation.
        splits: train, val, test, or several.
        rank, world: this process's number and how many there are.
        seed, epoch: of the order.
        counts: filled while the photos are read.

    Raises:
        DataError: `data.max_photos` is set, roots without photos (see `list_photos`), webdataset
            missing where there are shards, too many corrupt files, nothing for this process.
    """
    if data.max_photos is not None:
        raise DataError("data.max_photos needs data.cache: ram; a stream does not know its photos")
    files, shards = list_files(data.roots)
    webdataset = _webdataset() if shards else None
    if not shards and len(files) < MIN_PHOTOS_TO_SPLIT:
        splits = ALL_SPLITS
    counts = StreamCounts() if counts is None else counts
    weights = data.source_weights
    draws = [d for file in files for d in _draws(file, weights, epoch)]
    units = _shard_for_rank(draws, shards, rank, world, random.Random(f"{seed} {epoch}"))
    rules = ExamineOptions(frozenset(splits), data.split, data.cache_size, data.min_chroma)
    examined = _examined(_files(units, weights, epoch, webdataset), rules, data.decode_threads)
    photos = _counted(examined, data.max_corrupt_fraction, counts)
    if webdataset is not None:
        size, rng = data.shuffle_buffer, random.Random(f"{seed} {epoch} {rank} {world}")
        photos = webdataset.filters.shuffle(size, initial=max(1, size // 4), rng=rng)(photos)
    yield from photos
    check_corrupt_fraction(counts.corrupt, counts.tried(), data.max_corrupt_fraction)
    if not counts.used:
        raise DataError(
            f"no photo of {' or '.join(splits)} for process {rank + 1} of {world} ({counts.gray}"
            f" gray, {len(counts.corrupt)} corrupt): use more photos, fewer processes, or"
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
    files: list[_Draw],
    shards: list[tuple[str, Path]],
    rank: int,
    world: int,
    rng: random.Random,
) -> list[_Draw | _Shard]:
    """This process's files and shards in this epoch's order; `rng` is in the same state in all
    processes."""
    rng.shuffle(files)
    rng.shuffle(shards)
    even = len(shards) - len(shards) % world
    units: list[_Draw | _Shard] = [*files[rank::world]]
    units += [_Shard(label, path) for label, path in shards[:even][rank::world]]
    units += [_Shard(label, path, rank, world) for label, path in shards[even:]]
    rng.shuffle(units)
    return units


def _draws(file: FileRef | _Member, weights: Mapping[str, float], epoch: int) -> list[_Draw]:
    """The draws of a file in an epoch: one, where no weights are set."""
    count = SourceWeights(weights, [file.name]).draws(epoch)[0] if weights else 1
    return [_Draw(file, repeat) for repeat in range(count)]


def _files(
    units: Sequence[_Draw | _Shard],
    weights: Mapping[str, float],
    epoch: int,
    webdataset: ModuleType | None,
) -> Iterator[_Draw]:
    """The single files, to be read by the thread that decodes them, and the shards' members."""
    for unit in units:
        if isinstance(unit, _Draw):
            yield unit
        elif webdataset is not None:
            for member in _members(unit, webdataset):
                yield from _draws(member, weights, epoch)


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
    draws: Iterator[_Draw], rules: ExamineOptions, threads: int
) -> Iterator[tuple[DecodeResult, int]]:
    """Each draw's file examined, and the draw's number, in order; threads work some files ahead of
    the caller."""
    if threads == 0:
        yield from (_examine(draw, rules) for draw in draws)
        return
    waiting: deque[Future[tuple[DecodeResult, int]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for draw in draws:
            waiting.append(pool.submit(_examine, draw, rules))
            if len(waiting) > _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _examine(draw: _Draw, rules: ExamineOptions) -> tuple[DecodeResult, int]:
    return decode_and_filter(draw.file, rules), draw.repeat


def _counted(
    examined: Iterator[tuple[DecodeResult, int]], max_corrupt: float, counts: StreamCounts
) -> Iterator[StreamedPhoto]:
    """The usable photos; the others are counted, and too many corrupt ones stop the epoch."""
    for result, repeat in examined:
        if result.corrupt:
            counts.corrupt.append((result.name, result.corrupt))
            if counts.tried() >= _CHECK_AFTER:
                check_corrupt_fraction(counts.corrupt, counts.tried(), max_corrupt)
        elif result.gray:
            counts.gray += 1
        elif result.pixels is None:
            counts.other_splits += 1
        else:
            counts.used += 1
            yield StreamedPhoto(result.digest, result.pixels, repeat)
