"""Photos in RAM: decoded, shortened, split by content, checked; what was left out is counted.

A photo's identity is the SHA-256 of its file's bytes: it decides the part (train, val, test) and
the order, so both are the same wherever the files lie and whatever they are called.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Literal, Protocol

from pix2color import config
from pix2color.data.decode import Pixels, decode, suffix_of
from pix2color.data.discovery import FileRef, list_photos
from pix2color.errors import DataError, PhotoError
from pix2color.photo.gray import is_gray
from pix2color.photo.reading import page_sizes

Split = Literal["train", "val", "test"]
Progress = Callable[[int, int], object]
Announce = Callable[[str], object]

ALL_SPLITS: tuple[Split, ...] = ("train", "val", "test")
MIN_PHOTOS_TO_SPLIT = 20
"""Fewer files than this are not split: all photos serve in every part, and that is announced."""

_NAMED = 10  # broken files named in an error
_SAMPLE = 32  # photos whose headers are read for the estimate of RAM


@dataclass(frozen=True)
class Counts:
    """What became of the files.

    found = used + gray + duplicates + elsewhere + len(broken), where no `data.max_photos` is set.
    """

    found: int
    """Files taken for photos."""
    used: int
    gray: int
    """Left out because they have next to no color."""
    duplicates: int
    """Further files with the content of one that was seen."""
    other_splits: int
    """In other parts than those asked for, or beyond `data.max_photos`."""
    corrupt: tuple[tuple[str, str], ...]
    """(name, reason) of the files that cannot be read or decoded."""


@dataclass(frozen=True)
class PhotoSet:
    """Decoded photos, ordered by content hash."""

    photos: list[Pixels]
    """uint8 H,W,3 sRGB; shorter side at most `data.cache_size`."""
    names: list[str]
    digests: list[str]
    """SHA-256 (hex) of each photo's file."""
    counts: Counts
    digest: str
    """Of the list of content hashes: equal for the same photos, wherever they lie."""
    nbytes: int
    bundled: bool
    """No photos were named: these are the bundled ones."""
    unsplit: bool
    """There were too few photos to split: these serve in every part."""

    def __len__(self) -> int:
        return len(self.photos)

    def fold(self, number: int, of: int) -> PhotoSet:
        """One of `of` equal parts in the order of content hashes, from 1: for choosing settings on
        one half and measuring on the other. Counts stay those of the whole."""
        size = len(self)
        chosen = slice(size * (number - 1) // of, size * number // of)
        digests = self.digests[chosen]
        photos = self.photos[chosen]
        return replace(
            self,
            photos=photos,
            names=self.names[chosen],
            digests=digests,
            digest=content_hash("\n".join(digests).encode()),
            nbytes=sum(photo.nbytes for photo in photos),
        )


@dataclass(frozen=True)
class ExamineOptions:
    """What is done with each file; `chroma` as in `is_gray`, 0 leaves no photo out."""

    splits: frozenset[Split]
    split: config.SplitConfig
    cache_size: int
    min_chroma: float


class Readable(Protocol):
    """A named file: an `Item`, or bytes that are in RAM already."""

    @property
    def name(self) -> str: ...

    def read(self) -> bytes: ...


@dataclass(frozen=True)
class DecodeResult:
    """One file's fate: `pixels`, or why there are none (`broken`, `gray`, neither: other part)."""

    name: str
    digest: str = ""
    pixels: Pixels | None = None
    corrupt: str = ""
    gray: bool = False


def content_hash(data: bytes) -> str:
    """SHA-256 of a file's bytes, in hex: the photo's identity."""
    return hashlib.sha256(data).hexdigest()


def split_of(content_hash: str, split: config.SplitConfig) -> Split:
    """The part a photo belongs to: its hash, read as a number in 0..1, against the shares."""
    position = int(content_hash[:13], 16) / 2**52
    if position < split.train:
        return "train"
    return "val" if position < split.train + split.val or split.test == 0 else "test"


def load_photos(
    data: config.DataConfig,
    *,
    parts: Sequence[Split],
    progress: Progress | None = None,
    announce: Announce | None = None,
    keep_gray: bool = False,
    copies: int = 1,
) -> PhotoSet:
    """Read, decode and check the photos of `data.roots` that belong to `parts`.

    Content that was seen before is used once. Gray photos (`data.min_chroma`) and files that
    cannot be decoded are left out and counted; nothing takes their place, but for `data.max_photos`,
    which takes the first usable photos by content hash. Fewer than TINY files are not split, and
    where a part comes out empty all photos serve in it; `announce` says so.

    Args:
        data: root, split, limit, side, gray_chroma, max_broken and workers (threads) count.
        parts: train, val, test, or several.
        progress: called with (files done, files in all), in the caller's thread.
        announce: called with lines for the user: RAM needed (before decoding), toy amount.
        keep_gray: leave no photo out for its lack of color.
        copies: processes of this machine that hold the photos, for the announced need of RAM.

    Raises:
        DataError: roots that do not hold (see `list_items`), a share of broken files above
            `data.max_corrupt_fraction` (with their list), no photo that can be used.
    """
    say = announce or (lambda line: None)
    items = list_photos(data.roots)
    if not data.roots:
        say(
            f"no photos named: using the {len(items)} that come with scikit-image, a toy amount;"
            " name your own folders or .tar shards in data.roots"
        )
    wanted = frozenset(parts)
    shared = len(items) < MIN_PHOTOS_TO_SPLIT and wanted != frozenset(ALL_SPLITS)
    if shared:
        say(
            f"{len(items)} photos are too few to split: all of them serve for training,"
            " validation and test, so their figures say nothing about other photos"
        )
        wanted = frozenset(ALL_SPLITS)
    say(_estimate(data, items, wanted, copies))
    loaded, counts = _load(data, items, wanted, progress, keep_gray)
    if not loaded and counts.other_splits:
        say(
            f"no photo falls into {' or '.join(parts)} (data.split): all photos serve there,"
            " those of the other parts included"
        )
        shared = True
        loaded, counts = _load(data, items, frozenset(ALL_SPLITS), progress, keep_gray)
    if not loaded:
        raise DataError(_nothing(counts))
    return _photo_set(loaded, counts, toy=not data.roots, shared=shared)


def decode_and_filter(file: Readable, rules: ExamineOptions) -> DecodeResult:
    """Read one file and, if it belongs to one of the parts, decode and check it."""
    try:
        content = file.read()
    except OSError as error:
        return DecodeResult(file.name, corrupt=f"cannot be read: {error.strerror or error}")
    digest = content_hash(content)
    if content and split_of(digest, rules.split) not in rules.splits:
        return DecodeResult(file.name, digest)
    try:
        pixels = decode(content, rules.cache_size, name=file.name)
    except PhotoError as error:
        return DecodeResult(file.name, digest, corrupt=str(error))
    if rules.min_chroma > 0 and is_gray(pixels, rules.min_chroma):
        return DecodeResult(file.name, digest, gray=True)
    return DecodeResult(file.name, digest, pixels)


def check_corrupt_fraction(broken: Sequence[tuple[str, str]], tried: int, most: float) -> None:
    """Raise DataError with the list if more than the share `most` of the tried files is broken."""
    if len(broken) <= most * tried:
        return
    raise DataError(
        f"{len(broken)} of {tried} files cannot be decoded, more than data.max_corrupt_fraction"
        f" ({most:.3g}): {_list(broken)}; mend or remove them, or raise data.max_corrupt_fraction"
    )


class _Collector:
    """Sorts what the threads hand back; the same order in gives the same result."""

    def __init__(self) -> None:
        self.usable: dict[str, tuple[DecodeResult, Pixels]] = {}
        self.gray: set[str] = set()
        self.duplicates = 0
        self.broken: list[tuple[str, str]] = []

    def add(self, one: DecodeResult) -> None:
        if one.corrupt:
            self.broken.append((one.name, one.corrupt))
        elif one.digest in self.usable or one.digest in self.gray:
            self.duplicates += 1
        elif one.gray:
            self.gray.add(one.digest)
        elif one.pixels is not None:
            self.usable[one.digest] = (one, one.pixels)

    def tried(self) -> int:
        return len(self.usable) + len(self.gray) + self.duplicates + len(self.broken)

    def counts(self, found: int, used: int) -> Counts:
        rest = found - used - len(self.gray) - self.duplicates - len(self.broken)
        gray, broken = len(self.gray), tuple(self.broken)
        return Counts(found, used, gray, self.duplicates, rest, broken)


def _load(
    data: config.DataConfig,
    items: Sequence[FileRef],
    parts: frozenset[Split],
    progress: Progress | None,
    keep_gray: bool,
) -> tuple[list[tuple[DecodeResult, Pixels]], Counts]:
    """The usable photos of the parts, sorted by content hash, and what became of the others."""
    chroma = 0.0 if keep_gray else data.min_chroma
    job = partial(
        decode_and_filter, rules=ExamineOptions(parts, data.split, data.cache_size, chroma)
    )
    tally = _Collector()
    with ThreadPool(max(1, data.decode_threads)) as pool:
        order = items if data.max_photos is None else _by_content(pool, data, items, parts)
        most = len(order) if data.max_photos is None else data.max_photos
        total = min(most, len(order))
        done = 0
        while order and len(tally.usable) < most:
            # With a limit, no more than are still missing: the first by content hash.
            batch, order = order[: most - len(tally.usable)], order[most - len(tally.usable) :]
            for one in pool.imap(job, batch):
                tally.add(one)
                done += 1
                if progress is not None:
                    progress(min(done, total), total)
    check_corrupt_fraction(tally.broken, tally.tried(), data.max_corrupt_fraction)
    usable = [tally.usable[digest] for digest in sorted(tally.usable)]
    return usable, tally.counts(len(items), len(usable))


def _photo_set(
    loaded: Sequence[tuple[DecodeResult, Pixels]], counts: Counts, *, toy: bool, shared: bool
) -> PhotoSet:
    photos = [pixels for _, pixels in loaded]
    digests = [one.digest for one, _ in loaded]
    return PhotoSet(
        photos=photos,
        names=[one.name for one, _ in loaded],
        digests=digests,
        counts=counts,
        digest=content_hash("\n".join(digests).encode()),
        nbytes=sum(photo.nbytes for photo in photos),
        bundled=toy,
        unsplit=shared,
    )


def _by_content(
    pool: ThreadPool, data: config.DataConfig, items: Sequence[FileRef], parts: frozenset[Split]
) -> Sequence[FileRef]:
    """The parts' items in the order of their content hashes; unreadable ones first."""

    def digest(item: FileRef) -> str:
        try:
            return content_hash(item.read())
        except OSError:
            return ""

    hashed = sorted(zip(pool.map(digest, items), range(len(items)), strict=True))
    return [items[at] for d, at in hashed if not d or split_of(d, data.split) in parts]


def _estimate(
    data: config.DataConfig, items: Sequence[FileRef], parts: frozenset[Split], copies: int
) -> str:
    """The line that says how much RAM the photos need, from the headers of some."""
    sizes: list[int] = []
    for item in items[:: max(1, len(items) // _SAMPLE)][:_SAMPLE]:
        try:
            short, long = sorted(page_sizes(item.read(), suffix_of(item.name))[0])
        except (PhotoError, OSError):  # a broken file is reported when it is decoded
            continue
        scale = min(1.0, data.cache_size / max(1, short))
        sizes.append(round(short * scale) * round(long * scale) * 3)
    share = sum(getattr(data.split, part) for part in parts)
    number = round(len(items) * min(1.0, share))
    number = number if data.max_photos is None else min(number, data.max_photos)
    need = copies * number * sum(sizes) / max(1, len(sizes))
    line = f"{len(items):,} files found; about {number:,} photos take {_bytes(need)} of RAM"
    if copies > 1:
        line += f" in {copies} processes"
    have = _physical_memory()
    if have and need > 0.8 * have:
        line += (
            f" of {_bytes(have)}: shorten them (data.cache_size) or stream them (data.cache: none)"
        )
    return line


def _physical_memory() -> int:
    """RAM of this machine in bytes; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _bytes(number: float) -> str:
    unit, size = ("GB", 1e9) if number >= 1e9 else ("MB", 1e6)
    return f"{number / size:.1f} {unit}"


def _list(broken: Sequence[tuple[str, str]]) -> str:
    named = "; ".join(f"{name} ({reason})" for name, reason in broken[:_NAMED])
    more = len(broken) - _NAMED
    return f"{named}; and {more} more" if more > 0 else named


def _nothing(counts: Counts) -> str:
    """Why no photo is left, and what to do."""
    if counts.corrupt and not counts.gray:
        return f"none of the {counts.found} files can be decoded: {_list(counts.corrupt)}"
    return (
        f"no photo with colors among {counts.found} files: {counts.gray} are gray"
        f" (data.min_chroma), {len(counts.corrupt)} cannot be decoded; data.roots needs color"
        " photos"
    )
