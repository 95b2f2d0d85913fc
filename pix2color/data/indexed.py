"""Photos in indexed shards (`data.cache: none`): chosen before they are read, read by number.

Which photos serve is known from the indexes (`data.shard_index`), their order is computed
(`data.shard_order`). A sample thus depends on its number, the seed and the data only, and every
process may read any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pix2color.config import DataConfig, SplitConfig
from pix2color.data.crops import CropParams, rng_for
from pix2color.data.dataset import (
    ALL_SPLITS,
    MIN_PHOTOS_TO_SPLIT,
    NONE_IN_SPLIT,
    TOO_FEW,
    Announce,
    Counts,
    Split,
    check_corrupt_fraction,
    content_hash,
    describe_no_photos,
    split_of,
)
from pix2color.data.decode import Pixels, decode
from pix2color.data.discovery import FileRef, list_files
from pix2color.data.loader import stack_and_sample
from pix2color.data.shard_index import ShardIndex, index_path, read_index
from pix2color.data.shard_order import Draw, ShardOrder
from pix2color.data.source_weights import SourceWeights, check_prefixes
from pix2color.errors import DataError, PhotoError

_CHANGED = "copy or pack it again and run python -m pix2color index on it"


@dataclass(frozen=True)
class IndexedPhotos:
    """Photos in shards, ordered by shard and place; nothing is decoded."""

    files: list[FileRef]
    digests: list[str]
    """SHA-256 (hex) of each photo's file."""
    shards: npt.NDArray[np.int64]
    """Number of each photo's shard, ascending."""
    counts: Counts
    unsplit: bool
    """There were too few photos to split: all of them are in every split."""

    def __len__(self) -> int:
        return len(self.files)

    @property
    def digest(self) -> str:
        """As `PhotoSet.digest`."""
        return content_hash("\n".join(sorted(self.digests)).encode())

    def read(self, photo: int, cache_size: int) -> Pixels:
        """One photo, reduced to `cache_size`.

        Raises:
            DataError: the shard is gone, cut off or changed since it was indexed.
        """
        file = self.files[photo]
        try:
            content = file.read()
            if content_hash(content) != self.digests[photo]:
                raise DataError(f"{file.path} is not the shard that was indexed", remedy=_CHANGED)
            return decode(content, cache_size, name=file.name)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{file.name} in {file.path}: {reason}", remedy=_CHANGED) from None
        except PhotoError as error:  # a decoder that the machine of the index had
            raise DataError(f"{file.name} in {file.path}: {error}") from None

    def read_first(self, count: int, data: DataConfig) -> list[Pixels]:
        """The first photos by content hash, as `load_photos` orders them."""
        chosen = sorted(range(len(self)), key=self.digests.__getitem__)[:count]
        with ThreadPoolExecutor(max(1, data.decode_threads)) as pool:
            return list(pool.map(lambda photo: self.read(photo, data.cache_size), chosen))


def has_indexes(roots: Sequence[str]) -> bool:
    """Whether the photos can be read by number: all of them are in indexed shards.

    Raises:
        DataError: only some shards are indexed, or roots without photos (see `list_photos`).
    """
    files, shards = list_files(roots)
    missing = [shard for _, shard in shards if not index_path(shard).is_file()]
    if files or len(missing) == len(shards):
        return False
    if missing:
        named = ", ".join(map(str, missing[:3])) + (", ..." if len(missing) > 3 else "")
        raise DataError(
            f"{len(missing)} of {len(shards)} shards have no index: {named}",
            remedy="run python -m pix2color index on them",
        )
    return True


def select_photos(
    data: DataConfig, *, splits: Sequence[Split], announce: Announce | None = None
) -> IndexedPhotos:
    """The photos of indexed shards that belong to `splits`, by the rules of `load_photos`.

    Raises:
        DataError: as `load_photos` and `read_index`.
    """
    announce = announce or (lambda line: None)
    _, shards = list_files(data.roots)
    requested = frozenset(splits)
    photos = _select(data, shards, requested)
    few = photos.counts.found < MIN_PHOTOS_TO_SPLIT and requested != frozenset(ALL_SPLITS)
    if few or (not len(photos) and photos.counts.other_splits):
        names = " or ".join(splits)
        announce(TOO_FEW.format(photos.counts.found) if few else NONE_IN_SPLIT.format(names))
        photos = replace(_select(data, shards, frozenset(ALL_SPLITS)), unsplit=True)
    counts = photos.counts
    decoded = counts.found - counts.other_splits
    check_corrupt_fraction(counts.corrupt, decoded, data.max_corrupt_fraction)
    if not len(photos):
        raise DataError(describe_no_photos(counts))
    return photos


class _Row(NamedTuple):
    """A photo of the indexes."""

    digest: str
    shard: int
    file: FileRef
    chroma: float | None
    corrupt: str


def _select(
    data: DataConfig, shards: Sequence[tuple[str, Path]], splits: frozenset[Split]
) -> IndexedPhotos:
    """The usable photos of the splits, and what became of the others; as `dataset` does it."""
    found = 0
    rows: list[_Row] = []
    for number, (label, path) in enumerate(shards):
        index = read_index(path)
        found += len(index)
        rows += _rows(number, label, path, index, splits, data.split)
    if data.max_photos is not None:
        rows.sort(key=lambda row: row.digest)
    usable: dict[str, _Row] = {}
    gray: set[str] = set()
    duplicates = 0
    corrupt: list[tuple[str, str]] = []
    for row in rows:
        if len(usable) == data.max_photos:
            break
        if row.chroma is None:
            corrupt.append((row.file.name, row.corrupt))
        elif row.digest in usable or row.digest in gray:
            duplicates += 1
        elif row.chroma < data.min_chroma:
            gray.add(row.digest)
        else:
            usable[row.digest] = row
    others = found - len(usable) - len(gray) - duplicates - len(corrupt)
    chosen = sorted(usable.values(), key=lambda row: (row.shard, row.file.offset))
    return IndexedPhotos(
        files=[row.file for row in chosen],
        digests=[row.digest for row in chosen],
        shards=np.array([row.shard for row in chosen], np.int64),
        counts=Counts(found, len(usable), len(gray), duplicates, others, tuple(corrupt)),
        unsplit=False,
    )


def _rows(
    number: int,
    label: str,
    path: Path,
    index: ShardIndex,
    splits: frozenset[Split],
    split: SplitConfig,
) -> Iterator[_Row]:
    """The photos of one shard that belong to the splits."""
    for i, digest in enumerate(index.digests):
        if split_of(digest, split) in splits:
            file = FileRef(f"{label}/{index.names[i]}", index.sizes[i], path, index.offsets[i])
            yield _Row(digest, number, file, index.chroma[i], index.corrupt.get(i, ""))


class IndexedSource:
    """Crops of photos in indexed shards; `data.decode_threads` threads read ahead.

    Args:
        photos: as `select_photos` returns them.
        data: crop scale and aspect, flip, source weights, `cache_size`, `shuffle_shards`.
        seed: of order and crops.
        world: processes that share the samples: this one's next batch lies so many batches on.

    Raises:
        DataError: a prefix of `data.source_weights` that no name begins with.
    """

    def __init__(
        self, photos: IndexedPhotos, data: DataConfig, *, seed: int, world: int = 1
    ) -> None:
        names = [file.name for file in photos.files]
        check_prefixes(data.source_weights, names)
        self.photos = photos
        self.data = data
        self.seed = seed
        self.world = world
        weights = SourceWeights(data.source_weights, names)
        self._order = ShardOrder(photos.shards, weights, seed=seed, window=data.shuffle_shards)
        threads = data.decode_threads
        self._pool = ThreadPoolExecutor(threads, "photos") if threads else None
        self._ahead: dict[int, tuple[Draw, Future[Pixels]]] = {}  # by sample

    def load(self, first: int, size: int) -> tuple[Tensor, CropParams]:
        """The photos of the samples first, ..., first + size - 1, stacked, and their crops."""
        samples = range(first, first + size)
        if self._pool is None:
            draws = [self._order[sample] for sample in samples]
            photos = [self._read(draw) for draw in draws]
        else:
            step = size * self.world
            self._read_ahead(self._pool, [*samples, *(sample + step for sample in samples)])
            draws = [self._ahead[sample][0] for sample in samples]
            photos = [self._ahead[sample][1].result() for sample in samples]
        return stack_and_sample(photos, [self._rng(draw) for draw in draws], self.data)

    def _read_ahead(self, pool: ThreadPoolExecutor, samples: Sequence[int]) -> None:
        """Start reading those samples that are not read yet, and discard all others."""
        before, self._ahead = self._ahead, {}
        for sample in samples:
            if sample in before:
                self._ahead[sample] = before.pop(sample)
            elif sample not in self._ahead:
                draw = self._order[sample]
                self._ahead[sample] = draw, pool.submit(self._read, draw)
        for _, photo in before.values():
            photo.cancel()

    def _rng(self, draw: Draw) -> np.random.Generator:
        index = int(self.photos.digests[draw.photo][:7], 16)
        return rng_for(self.seed, draw.epoch, index, draw.repeat)

    def _read(self, draw: Draw) -> Pixels:
        return self.photos.read(draw.photo, self.data.cache_size)
