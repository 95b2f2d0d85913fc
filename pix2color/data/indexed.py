"""Photos in indexed shards (`data.cache: none`): chosen before they are read, read by number.

Which photos serve is known from the indexes (`data.shard_index`), their order is computed
(`data.shard_order`). A sample thus depends on its number, the seed and the data only, and every
process may read any of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
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
from pix2color.data.loader import stack_and_sample
from pix2color.data.shard_cache import ShardCache
from pix2color.data.shard_index import ShardIndex, read_index
from pix2color.data.shard_order import Draw, ShardOrder
from pix2color.data.shards import RemoteShard, Shard, list_shards
from pix2color.data.source_weights import SourceWeights, check_prefixes
from pix2color.errors import DataError, PhotoError

_CHANGED = "copy or pack it again and run python -m pix2color index on it"
_REQUESTS = 16  # at a time, to an object store
_MOST_BYTES = 256 << 20  # of files that are read ahead, beside those of the next batch


@dataclass(frozen=True)
class IndexedPhotos:
    """Photos in shards, ordered by shard and place; nothing is read."""

    files: list[Shard]
    """The shards."""
    shards: npt.NDArray[np.int64]
    """Number of each photo's shard, ascending."""
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    """Of each photo's file, in bytes."""
    names: list[str]
    digests: list[str]
    """SHA-256 (hex) of each photo's file."""
    counts: Counts
    unsplit: bool
    """There were too few photos to split: all of them are in every split."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """As `PhotoSet.digest`."""
        return content_hash("\n".join(sorted(self.digests)).encode())

    def shard_of(self, photo: int) -> Shard:
        """The shard that holds a photo."""
        return self.files[self.shards[photo]]

    def read(self, photo: int, cache: ShardCache | None = None) -> bytes:
        """The file of one photo.

        Args:
            photo: its number.
            cache: copies of shards, which are read where there are some.

        Raises:
            DataError: the shard is gone, cut off or changed since it was indexed.
        """
        shard, place = self.shard_of(photo), (int(self.offsets[photo]), int(self.sizes[photo]))
        if cache is not None and isinstance(shard, RemoteShard):
            content = cache.read(shard, *place)
            if content is not None and content_hash(content) == self.digests[photo]:
                return content
            if content is not None:
                cache.discard(shard)
        try:
            content = shard.read(*place)
        except OSError as error:
            reason = error.strerror or error
            name = self.names[photo]
            raise DataError(f"{name} in {shard.place}: {reason}", remedy=_CHANGED) from None
        if content_hash(content) != self.digests[photo]:
            raise DataError(f"{shard.place} is not the shard that was indexed", remedy=_CHANGED)
        return content

    def decode(self, photo: int, content: bytes, cache_size: int) -> Pixels:
        """One photo of its file, reduced to `cache_size`. Raises DataError."""
        name = self.names[photo]
        try:
            return decode(content, cache_size, name=name)
        except PhotoError as error:  # a decoder that the machine of the index had
            raise DataError(f"{name} in {self.shard_of(photo).place}: {error}") from None

    def read_first(self, count: int, data: DataConfig) -> list[Pixels]:
        """The first photos by content hash, as `load_photos` orders them."""
        chosen = sorted(range(len(self)), key=self.digests.__getitem__)[:count]
        with ThreadPoolExecutor(max(1, data.decode_threads)) as pool:
            return list(pool.map(lambda i: self.decode(i, self.read(i), data.cache_size), chosen))


def has_indexes(roots: Sequence[str]) -> bool:
    """Whether the photos can be read by number: all of them are in indexed shards.

    Raises:
        DataError: only some shards are indexed, or none in an object store; or as `list_shards`.
    """
    files, shards = list_shards(roots)
    with ThreadPoolExecutor(_REQUESTS) as pool:
        indexed = list(pool.map(lambda shard: shard.has_index(), shards))
    missing = [shard for shard, has in zip(shards, indexed, strict=True) if not has]
    remote = any(isinstance(shard, RemoteShard) for shard in shards)
    if files and remote:
        raise DataError(
            f"{len(files)} photos are not in shards, such as {files[0].name}: together with URLs,"
            " all photos must be in indexed shards"
        )
    if files or (len(missing) == len(shards) and not remote):
        return False
    if missing:
        named = ", ".join(shard.place for shard in missing[:3])
        named += ", ..." if len(missing) > 3 else ""
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
    _, shards = list_shards(data.roots)
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
    name: str
    offset: int
    size: int
    chroma: float | None
    corrupt: str


def _select(data: DataConfig, shards: list[Shard], splits: frozenset[Split]) -> IndexedPhotos:
    """The usable photos of the splits, and what became of the others; as `dataset` does it."""
    found = 0

    def read() -> Iterator[_Row]:
        nonlocal found
        with ThreadPoolExecutor(_REQUESTS) as pool:
            for first in range(0, len(shards), _REQUESTS):  # not all indexes in RAM at once
                indexes = pool.map(read_index, shards[first : first + _REQUESTS])
                for number, index in enumerate(indexes, first):
                    found += len(index)
                    yield from _rows(number, shards[number].label, index, splits, data.split)

    rows = read() if data.max_photos is None else sorted(read(), key=lambda row: row.digest)
    usable: set[str] = set()
    gray: set[str] = set()
    duplicates = 0
    corrupt: list[tuple[str, str]] = []
    names, digests, places = [], [], array("q")  # shard, offset and size of each photo
    for row in rows:
        if len(usable) == data.max_photos:
            break
        if row.chroma is None:
            corrupt.append((row.name, row.corrupt))
        elif row.digest in usable or row.digest in gray:
            duplicates += 1
        elif row.chroma < data.min_chroma:
            gray.add(row.digest)
        else:
            usable.add(row.digest)
            names.append(row.name)
            digests.append(row.digest)
            places.extend((row.shard, row.offset, row.size))
    others = found - len(usable) - len(gray) - duplicates - len(corrupt)
    columns = np.array(places, np.int64).reshape(-1, 3).T
    order = np.lexsort(columns[1::-1])  # by shard, then by offset
    return IndexedPhotos(
        files=shards,
        shards=columns[0, order],
        offsets=columns[1, order],
        sizes=columns[2, order],
        names=[names[i] for i in order],
        digests=[digests[i] for i in order],
        counts=Counts(found, len(usable), len(gray), duplicates, others, tuple(corrupt)),
        unsplit=False,
    )


def _rows(
    number: int, label: str, index: ShardIndex, splits: frozenset[Split], split: SplitConfig
) -> Iterator[_Row]:
    """The photos of one shard that belong to the splits."""
    columns = zip(index.digests, index.names, index.offsets, index.sizes, index.chroma, strict=True)
    for i, (digest, name, offset, size, chroma) in enumerate(columns):
        if split_of(digest, split) in splits:
            reason = index.corrupt.get(i, "")
            yield _Row(digest, number, f"{label}/{name}", offset, size, chroma, reason)


@dataclass
class _Ahead:
    """A sample that is being read."""

    draw: Draw
    content: Future[bytes]
    pixels: Future[Pixels] | None = None


class IndexedSource:
    """Crops of photos in indexed shards.

    The files of the next `data.read_ahead` samples are read, and those of the next batch decoded,
    by threads.

    Args:
        photos: as `select_photos` returns them.
        data: crop scale and aspect, flip, source weights, `cache_size`, `shuffle_shards`,
            `read_ahead`, `decode_threads` (0: no threads, and nothing is read ahead).
        seed: of order and crops.
        world: processes that share the samples: this one's next batch lies so many batches on.
        cache: of the shards in object stores; None: their photos are read one by one.

    Raises:
        DataError: a prefix of `data.source_weights` that no name begins with.
    """

    def __init__(
        self,
        photos: IndexedPhotos,
        data: DataConfig,
        *,
        seed: int,
        world: int = 1,
        cache: ShardCache | None = None,
    ) -> None:
        check_prefixes(data.source_weights, photos.names)
        self.photos = photos
        self.data = data
        self.seed = seed
        self.world = world
        weights = SourceWeights(data.source_weights, photos.names)
        window = data.shuffle_shards
        self._order = ShardOrder(photos.shards, weights, seed=seed, window=window)
        self._remote = any(isinstance(shard, RemoteShard) for shard in photos.files)
        self._cache = cache if self._remote else None
        self._upcoming = ShardOrder(photos.shards, weights, seed=seed, window=window)
        self._requested = range(0)  # samples of the window that was requested last
        threads = data.decode_threads
        self._decoders = ThreadPoolExecutor(threads, "decode") if threads else None
        self._readers = ThreadPoolExecutor(_REQUESTS if self._remote else max(1, threads), "read")
        self._ahead: dict[int, _Ahead] = {}  # by sample

    def load(self, first: int, size: int) -> tuple[Tensor, CropParams]:
        """The photos of the samples first, ..., first + size - 1, stacked, and their crops."""
        self._request_shards(first)
        samples = range(first, first + size)
        if self._decoders is None:
            draws = [self._order[sample] for sample in samples]
            photos = [self._decode(draw.photo, self._read(draw.photo)) for draw in draws]
        else:
            self._read_ahead(first, size)
            for sample in list(self._ahead)[: 2 * size]:
                self._start_decoding(self._decoders, self._ahead[sample])
            draws = [self._ahead[sample].draw for sample in samples]
            photos = [_pixels(self._ahead[sample]) for sample in samples]
        return stack_and_sample(photos, [self._rng(draw) for draw in draws], self.data)

    def close(self) -> None:
        """Discard what was read ahead."""
        self._discard(self._ahead)
        self._ahead = {}

    def _request_shards(self, sample: int) -> None:
        """Let the cache copy the shards of the sample's window, then those of the next one."""
        if self._cache is None or sample in self._requested:
            return
        now, stop = self._upcoming.window_at(sample)
        self._requested = range(sample, stop)
        then, _ = self._upcoming.window_at(stop)
        shards = [self.photos.files[shard] for shard in (*now, *then)]
        self._cache.request([shard for shard in shards if isinstance(shard, RemoteShard)])

    def _read_ahead(self, first: int, size: int) -> None:
        """Start reading this batch, the next one, and so much more as shall be read ahead.

        What was read for other samples is discarded.
        """
        before, self._ahead = self._ahead, {}
        nbytes = 0
        for batch in range(2 + self.data.read_ahead // size):
            start = first + batch * size * self.world
            for sample in range(start, start + size):
                ahead = before.pop(sample, None)
                if ahead is None:
                    draw = self._order[sample]
                    ahead = _Ahead(draw, self._readers.submit(self._read, draw.photo))
                self._ahead[sample] = ahead
                nbytes += int(self.photos.sizes[ahead.draw.photo])
            if batch > 0 and nbytes > _MOST_BYTES:
                break
        self._discard(before)

    @staticmethod
    def _discard(samples: Mapping[int, _Ahead]) -> None:
        for ahead in samples.values():
            ahead.content.cancel()
            if ahead.pixels is not None:
                ahead.pixels.cancel()

    def _start_decoding(self, pool: ThreadPoolExecutor, ahead: _Ahead) -> None:
        if ahead.pixels is None:
            photo, content = ahead.draw.photo, ahead.content
            ahead.pixels = pool.submit(lambda: self._decode(photo, content.result()))

    def _rng(self, draw: Draw) -> np.random.Generator:
        index = int(self.photos.digests[draw.photo][:7], 16)
        return rng_for(self.seed, draw.epoch, index, draw.repeat)

    def _read(self, photo: int) -> bytes:
        return self.photos.read(photo, self._cache)

    def _decode(self, photo: int, content: bytes) -> Pixels:
        return self.photos.decode(photo, content, self.data.cache_size)


def _pixels(ahead: _Ahead) -> Pixels:
    """The result; decoding was started."""
    assert ahead.pixels is not None
    return ahead.pixels.result()
