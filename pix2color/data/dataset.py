"""Photos in RAM: decoded, reduced, split by content and checked, with counts of those left out.

The SHA-256 of a file's bytes identifies a photo. It determines the split (train, val, test) and the
order, so both are independent of the files' names and folders.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from typing import Literal, Protocol

from pix2color import config
from pix2color.data.decode import Pixels, decode, suffix_of
from pix2color.data.discovery import FileRef, list_photos
from pix2color.errors import DataError, PhotoError
from pix2color.photo.gray import is_gray, without_color
from pix2color.photo.reading import page_sizes

Split = Literal["train", "val", "test"]
Progress = Callable[[int, int], object]
Announce = Callable[[str], object]
Digests = dict[FileRef, str]
"""Content hashes of files that were read."""

ALL_SPLITS: tuple[Split, ...] = ("train", "val", "test")
MIN_PHOTOS_TO_SPLIT = 20
"""Fewer files than this are not split: all photos are in every split, which is announced."""

TOO_FEW = (
    "{} photos are too few to split: all of them serve for training, validation and test, so their"
    " figures say nothing about other photos"
)
NONE_IN_SPLIT = (
    "no photo falls into {} (data.split): all photos serve there, those of the other splits"
    " included"
)

_NAMED = 10  # corrupt files named in an error
_SAMPLE = 32  # photos whose headers are read for the estimate of RAM


@dataclass(frozen=True)
class Counts:
    """What became of the files.

    found = used + gray + duplicates + other_splits + len(corrupt)
    """

    found: int
    """Files with the suffix of a photo."""
    used: int
    gray: int
    """Left out because they have almost no color."""
    duplicates: int
    """Further files of the same content."""
    other_splits: int
    """In other splits than those requested, or beyond `data.max_photos`."""
    corrupt: tuple[tuple[str, str], ...]
    """(name, reason) of each file that cannot be read or decoded."""


@dataclass(frozen=True)
class PhotoSet:
    """Decoded photos, ordered by content hash."""

    photos: list[Pixels]
    """uint8 H,W,3 sRGB; shorter side at most `data.cache_size`."""
    names: list[str]
    digests: list[str]
    """SHA-256 (hex) of each photo's file."""
    counts: Counts
    bundled: bool
    """No roots were given: these are the bundled photos."""
    unsplit: bool
    """There were too few photos to split: all of them are in every split."""

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def digest(self) -> str:
        """SHA-256 of the list of content hashes: equal for the same photos, wherever they are."""
        return content_hash("\n".join(self.digests).encode())

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return sum(photo.nbytes for photo in self.photos)

    def fold(self, number: int, of: int) -> PhotoSet:
        """Fold `number` (from 1) of `of` equal ones, in the order of content hashes.

        Settings can be chosen on one fold and measured on another. `counts` stays that of all.
        """
        chosen = slice(len(self) * (number - 1) // of, len(self) * number // of)
        return replace(
            self,
            photos=self.photos[chosen],
            names=self.names[chosen],
            digests=self.digests[chosen],
        )


@dataclass(frozen=True)
class ExamineOptions:
    """Which files are decoded and kept."""

    splits: frozenset[Split]
    split: config.SplitConfig
    cache_size: int
    """Largest shorter side in pixels."""
    min_chroma: float
    """As for `is_gray`; 0 keeps gray photos."""
    unlabeled: tuple[str, ...] = ()
    """Beginnings of the names of photos that are kept without their colors."""


class Readable(Protocol):
    """A named file: a `FileRef`, or bytes in RAM."""

    @property
    def name(self) -> str: ...

    def read(self) -> bytes: ...


@dataclass(frozen=True)
class DecodeResult:
    """One file: its `pixels`, or `corrupt`, or `gray`, or none of them (another split)."""

    name: str
    digest: str = ""
    pixels: Pixels | None = None
    corrupt: str = ""
    gray: bool = False


def content_hash(data: bytes) -> str:
    """SHA-256 of a file's bytes, in hex: the photo's identity."""
    return hashlib.sha256(data).hexdigest()


def split_of(content_hash: str, split: config.SplitConfig) -> Split:
    """The split of a photo: its hash, as a number in 0..1, is compared with the split fractions."""
    position = int(content_hash[:13], 16) / 2**52
    if position < split.train:
        return "train"
    return "val" if position < split.train + split.val or split.test == 0 else "test"


def load_photos(
    data: config.DataConfig,
    *,
    splits: Sequence[Split],
    progress: Progress | None = None,
    announce: Announce | None = None,
    keep_gray: bool = False,
    copies: int = 1,
    only: Callable[[str], bool] | None = None,
    digests: Digests | None = None,
) -> PhotoSet:
    """Read, decode and check the photos of `data.roots` that belong to `splits`.

    Repeated content is used once. Gray photos (`data.min_chroma`) and files that cannot be decoded
    are left out and counted. With `data.max_photos` the first usable photos by content hash are
    taken. Fewer than `MIN_PHOTOS_TO_SPLIT` files are not split, and if no photo belongs to the
    splits all photos are used; `announce` gets a line about it.

    Args:
        data: all but crops and augmentation.
        splits: train, val, test, or several.
        progress: called with (files done, files in all), in the caller's thread.
        announce: called with lines for the user, such as the RAM needed, before decoding.
        keep_gray: keep gray photos, too.
        copies: of the photos that this machine holds, for the RAM announced.
        only: whether to use the photo of a name; the others are as if they were not there, but
            they count towards MIN_PHOTOS_TO_SPLIT, so that each photo stays in its split.
        digests: of files that an earlier call read; those read now are added. A file that they put
            into another split is not read again.

    Raises:
        DataError: roots without photos (see `list_photos`), more corrupt files than
            `data.max_corrupt_fraction` (the message lists them), or no usable photo.
    """
    say: Announce = announce or (lambda line: None)
    digests = {} if digests is None else digests
    files = list_photos(data.roots)
    if not data.roots:
        say(
            f"no photos named: using the {len(files)} that come with scikit-image, a toy amount;"
            " name your own folders or .tar shards in data.roots"
        )
    requested = frozenset(splits)
    unsplit = len(files) < MIN_PHOTOS_TO_SPLIT and requested != frozenset(ALL_SPLITS)
    if unsplit:
        say(TOO_FEW.format(len(files)))
        requested = frozenset(ALL_SPLITS)
    files = [file for file in files if only is None or only(file.name)]
    if announce:  # it reads some files
        announce(_estimate(data, files, requested, copies))
    usable, counts = _load(data, files, requested, progress, keep_gray, digests)
    if not usable and counts.other_splits:
        say(NONE_IN_SPLIT.format(" or ".join(splits)))
        unsplit = True
        usable, counts = _load(data, files, frozenset(ALL_SPLITS), progress, keep_gray, digests)
    if not usable:
        raise DataError(describe_no_photos(counts))
    return PhotoSet(
        photos=[pixels for _, pixels in usable],
        names=[result.name for result, _ in usable],
        digests=[result.digest for result, _ in usable],
        counts=counts,
        bundled=not data.roots,
        unsplit=unsplit,
    )


def decode_and_filter(file: Readable, options: ExamineOptions) -> DecodeResult:
    """Read one file and, if it belongs to one of the splits, decode and check it."""
    try:
        content = file.read()
    except OSError as error:
        return DecodeResult(file.name, corrupt=f"cannot be read: {error.strerror or error}")
    digest = content_hash(content)
    if content and split_of(digest, options.split) not in options.splits:
        return DecodeResult(file.name, digest)
    try:
        pixels = decode(content, options.cache_size, name=file.name)
    except PhotoError as error:
        return DecodeResult(file.name, digest, corrupt=str(error))
    if options.unlabeled and file.name.startswith(options.unlabeled):
        return DecodeResult(file.name, digest, without_color(pixels))
    if options.min_chroma > 0 and is_gray(pixels, options.min_chroma):
        return DecodeResult(file.name, digest, gray=True)
    return DecodeResult(file.name, digest, pixels)


def check_corrupt_fraction(
    corrupt: Sequence[tuple[str, str]], decoded: int, max_fraction: float
) -> None:
    """Raise DataError if more than the fraction of the files that were decoded is corrupt."""
    if len(corrupt) <= max_fraction * decoded:
        return
    raise DataError(
        f"{len(corrupt)} of {decoded} files cannot be decoded, more than data.max_corrupt_fraction"
        f" ({max_fraction:.3g}): {_list(corrupt)}; replace or remove them, or raise it"
    )


class _Collector:
    """Sorts the results of the threads; results in the same order give the same sets."""

    def __init__(self) -> None:
        self.usable: dict[str, tuple[DecodeResult, Pixels]] = {}
        self.gray: set[str] = set()
        self.duplicates = 0
        self.corrupt: list[tuple[str, str]] = []

    def add(self, result: DecodeResult) -> None:
        if result.corrupt:
            self.corrupt.append((result.name, result.corrupt))
        elif result.digest in self.usable or result.digest in self.gray:
            self.duplicates += 1
        elif result.gray:
            self.gray.add(result.digest)
        elif result.pixels is not None:
            self.usable[result.digest] = (result, result.pixels)

    def counts(self, found: int) -> Counts:
        used, gray = len(self.usable), len(self.gray)
        others = found - used - gray - self.duplicates - len(self.corrupt)
        return Counts(found, used, gray, self.duplicates, others, tuple(self.corrupt))


def _load(
    data: config.DataConfig,
    files: Sequence[FileRef],
    splits: frozenset[Split],
    progress: Progress | None,
    keep_gray: bool,
    digests: Digests,
) -> tuple[list[tuple[DecodeResult, Pixels]], Counts]:
    """The usable photos of the splits, sorted by content hash, and what became of the others."""
    min_chroma = 0.0 if keep_gray else data.min_chroma
    options = ExamineOptions(splits, data.split, data.cache_size, min_chroma, data.unlabeled)
    collector = _Collector()

    def examine(file: FileRef) -> DecodeResult:
        known = digests.get(file)
        if known and split_of(known, data.split) not in splits:
            return DecodeResult(file.name, known)
        result = decode_and_filter(file, options)
        if result.digest and not result.corrupt:
            digests[file] = result.digest
        return result

    with ThreadPool(max(1, data.decode_threads)) as pool:
        if data.max_photos is None:
            queue, limit = files, len(files)
        else:
            queue, limit = _by_content(pool, data, files, splits, digests), data.max_photos
        total = min(limit, len(queue))
        done = 0
        while queue and (missing := limit - len(collector.usable)) > 0:
            batch, queue = queue[:missing], queue[missing:]
            for result in pool.imap(examine, batch):
                collector.add(result)
                done += 1
                if progress is not None:
                    progress(min(done, total), total)
    counts = collector.counts(len(files))
    decoded = len(files) - counts.other_splits
    check_corrupt_fraction(counts.corrupt, decoded, data.max_corrupt_fraction)
    return [collector.usable[digest] for digest in sorted(collector.usable)], counts


def _by_content(
    pool: ThreadPool,
    data: config.DataConfig,
    files: Sequence[FileRef],
    splits: frozenset[Split],
    digests: Digests,
) -> Sequence[FileRef]:
    """The files of the splits in the order of their content hashes; unreadable ones first."""

    def digest(file: FileRef) -> str:
        if file not in digests:
            try:
                digests[file] = content_hash(file.read())
            except OSError:
                return ""
        return digests[file]

    hashed = sorted(zip(pool.map(digest, files), range(len(files)), strict=True))
    return [files[i] for hash_, i in hashed if not hash_ or split_of(hash_, data.split) in splits]


def _estimate(
    data: config.DataConfig, files: Sequence[FileRef], splits: frozenset[Split], copies: int
) -> str:
    """A line about the RAM that the photos need, estimated from the headers of some."""
    sizes: list[int] = []
    for file in files[:: max(1, len(files) // _SAMPLE)][:_SAMPLE]:
        try:
            short, long = sorted(page_sizes(file.read(), suffix_of(file.name))[0])
        except (PhotoError, OSError):  # reported when it is decoded
            continue
        scale = min(1.0, data.cache_size / max(1, short))
        sizes.append(round(short * scale) * round(long * scale) * 3)
    fraction = sum(getattr(data.split, split) for split in splits)
    number = round(len(files) * min(1.0, fraction))
    number = number if data.max_photos is None else min(number, data.max_photos)
    need = copies * number * sum(sizes) / max(1, len(sizes))
    line = f"{len(files):,} files found; about {number:,} photos take {_bytes(need)} of RAM"
    if copies > 1:
        line += f" in {copies} processes"
    memory = _physical_memory()
    if memory and need > 0.8 * memory:
        line += (
            f" of {_bytes(memory)}: reduce them (data.cache_size) or stream them (data.cache: none)"
        )
    return line


def _physical_memory() -> int:
    """RAM of this machine in bytes; 0 where it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _bytes(number: float) -> str:
    unit, size = ("GB", 1e9) if number >= 1e9 else ("MB", 1e6)
    return f"{number / size:.1f} {unit}"


def _list(corrupt: Sequence[tuple[str, str]]) -> str:
    named = "; ".join(f"{name} ({reason})" for name, reason in corrupt[:_NAMED])
    more = len(corrupt) - _NAMED
    return f"{named}; and {more} more" if more > 0 else named


def describe_no_photos(counts: Counts) -> str:
    """Why no photo is left, and what to do."""
    if counts.corrupt and not counts.gray:
        return f"none of the {counts.found} files can be decoded: {_list(counts.corrupt)}"
    return (
        f"no photo with colors among {counts.found} files: {counts.gray} are gray"
        f" (data.min_chroma), {len(counts.corrupt)} cannot be decoded; data.roots needs color"
        " photos"
    )
