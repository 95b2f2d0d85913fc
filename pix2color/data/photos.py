"""Photos in RAM: decoded, shortened, split by content, checked; what was left out is counted.

A photo's identity is the SHA-256 of its file's bytes: it decides the part (train, val, test) and
the order, so both are the same wherever the files lie and whatever they are called.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing.pool import ThreadPool
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageCms

from pix2color import color, config
from pix2color.data.sources import Item, list_items
from pix2color.errors import DataError, PhotoError

Part = Literal["train", "val", "test"]
Pixels = npt.NDArray[np.uint8]
Progress = Callable[[int, int], object]
Announce = Callable[[str], object]

ALL_PARTS: tuple[Part, ...] = ("train", "val", "test")
TINY = 20
"""Fewer files than this are not split: all photos serve in every part, and that is announced."""

_NAMED = 10  # broken files named in an error
_SAMPLE = 32  # photos whose headers are read for the estimate of RAM
_GRAY_SIDE = 48  # pixels of the version on which chroma is measured; averages noise and grain away
_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Counts:
    """What became of the files.

    found = used + gray + duplicates + elsewhere + len(broken), where no `data.limit` is set.
    """

    found: int
    """Files taken for photos."""
    used: int
    gray: int
    """Left out because they have next to no colour."""
    duplicates: int
    """Further files with the content of one that was seen."""
    elsewhere: int
    """In other parts than those asked for, or beyond `data.limit`."""
    broken: tuple[tuple[str, str], ...]
    """(name, reason) of the files that cannot be read or decoded."""


@dataclass(frozen=True)
class PhotoSet:
    """Decoded photos, ordered by content hash."""

    photos: list[Pixels]
    """uint8 H,W,3 sRGB; shorter side at most `data.side`."""
    names: list[str]
    digests: list[str]
    """SHA-256 (hex) of each photo's file."""
    counts: Counts
    digest: str
    """Of the list of content hashes: equal for the same photos, wherever they lie."""
    nbytes: int
    toy: bool
    """No photos were named: these are the bundled ones."""
    shared: bool
    """There were too few photos to split: these serve in every part."""

    def __len__(self) -> int:
        return len(self.photos)


@dataclass(frozen=True)
class Loaded:
    """One file's fate: `pixels`, or why there are none (`broken`, `gray`, neither: other part)."""

    name: str
    digest: str = ""
    pixels: Pixels | None = None
    broken: str = ""
    gray: bool = False


def content_hash(data: bytes) -> str:
    """SHA-256 of a file's bytes, in hex: the photo's identity."""
    return hashlib.sha256(data).hexdigest()


def part_of(content_hash: str, split: config.Split) -> Part:
    """The part a photo belongs to: its hash, read as a number in 0..1, against the shares."""
    position = int(content_hash[:13], 16) / 2**52
    if position < split.train:
        return "train"
    return "val" if position < split.train + split.val or split.test == 0 else "test"


def decode(data: bytes, side: int | None = None) -> Pixels:
    """A photo file's first picture as sRGB.

    EXIF orientation is applied, an ICC profile is converted to sRGB, any mode becomes RGB
    (transparency over white; more than 8 bits a channel become 8).

    Args:
        data: the file's bytes, in any format Pillow reads.
        side: largest shorter side in pixels; a larger photo is reduced, none is enlarged.

    Returns:
        uint8 H,W,3, contiguous and writable.

    Raises:
        PhotoError: not a photo, truncated or otherwise broken, or of far too many pixels. The
            message is the reason alone, without a name.
    """
    if not data:
        raise PhotoError("the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _to_srgb(image, side)
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        raise PhotoError("not a photo in a known format") from None
    except Exception as error:  # Pillow's readers raise anything at foreign bytes
        raise PhotoError(f"{error or type(error).__name__}") from None


def is_gray(photo: Pixels, chroma: float) -> bool:
    """Whether the 95th percentile of a photo's chroma lies below `chroma` (Lab units).

    Measured on a reduced version, so that coloured noise and grain do not count as colour.
    """
    factor = max(1, min(photo.shape[:2]) // _GRAY_SIDE)
    small = np.array(Image.fromarray(photo).reduce(factor))
    lab = color.rgb_to_lab(torch.from_numpy(small).permute(2, 0, 1))
    return bool(np.percentile(lab[1:].norm(dim=0).numpy(), 95) < chroma)


def load_photos(
    data: config.Data,
    *,
    parts: Sequence[Part],
    progress: Progress | None = None,
    announce: Announce | None = None,
    keep_gray: bool = False,
) -> PhotoSet:
    """Read, decode and check the photos of `data.root` that belong to `parts`.

    Content that was seen before is used once. Gray photos (`data.gray_chroma`) and files that
    cannot be decoded are left out and counted; nothing takes their place, but for `data.limit`,
    which takes the first usable photos by content hash. Fewer than TINY files are not split, and
    where a part comes out empty all photos serve in it; `announce` says so.

    Args:
        data: root, split, limit, side, gray_chroma, max_broken and workers (threads) count.
        parts: train, val, test, or several.
        progress: called with (files done, files in all), in the caller's thread.
        announce: called with lines for the user: RAM needed (before decoding), toy amount.
        keep_gray: leave no photo out for its lack of colour.

    Raises:
        DataError: roots that do not hold (see `list_items`), a share of broken files above
            `data.max_broken` (with their list), no photo that can be used.
    """
    say = announce or (lambda line: None)
    items = list_items(data.root)
    wanted = tuple(parts)
    toy = not data.root
    if toy:
        say(
            f"no photos named: using the {len(items)} that come with scikit-image, a toy amount;"
            " name your own folders or .tar shards with --data (data.root)"
        )
    shared = len(items) < TINY and set(wanted) != set(ALL_PARTS)
    if shared:
        say(
            f"{len(items)} photos are too few to split: all of them serve for training,"
            " validation and test, so their figures say nothing about other photos"
        )
        wanted = ALL_PARTS
    say(_estimate(data, items, wanted))
    loaded, counts = _load(data, items, wanted, progress, keep_gray)
    if not loaded and set(wanted) != set(ALL_PARTS):
        say(
            f"no photo falls into {' or '.join(wanted)} (data.split): all photos serve there, those"
            " of the other parts included"
        )
        shared = True
        loaded, counts = _load(data, items, ALL_PARTS, progress, keep_gray)
    if not loaded:
        raise DataError(_nothing(counts))
    photos = [pixels for _, pixels in loaded]
    digests = [one.digest for one, _ in loaded]
    return PhotoSet(
        photos=photos,
        names=[one.name for one, _ in loaded],
        digests=digests,
        counts=counts,
        digest=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        nbytes=sum(photo.nbytes for photo in photos),
        toy=toy,
        shared=shared,
    )


def examine(
    name: str,
    content: bytes,
    *,
    parts: Sequence[Part],
    split: config.Split,
    side: int,
    chroma: float,
) -> Loaded:
    """Decode and check one file's bytes, if they belong to one of the parts.

    `chroma` as in `is_gray`; 0 leaves no photo out.
    """
    digest = content_hash(content)
    if content and part_of(digest, split) not in parts:
        return Loaded(name, digest)
    try:
        pixels = decode(content, side)
    except PhotoError as error:
        return Loaded(name, digest, broken=str(error))
    if chroma > 0 and is_gray(pixels, chroma):
        return Loaded(name, digest, gray=True)
    return Loaded(name, digest, pixels)


def check_broken(broken: Sequence[tuple[str, str]], tried: int, most: float) -> None:
    """Raise DataError with the list if more than the share `most` of the tried files is broken."""
    if len(broken) <= most * tried:
        return
    raise DataError(
        f"{len(broken)} of {tried} files cannot be decoded, more than data.max_broken"
        f" ({most:.3g}): {_list(broken)}; mend or remove them, or raise data.max_broken"
    )


def _to_srgb(image: Image.Image, side: int | None) -> Pixels:
    if side is not None:
        # JPEG readers reduce by 2, 4 or 8 while decoding; the exact reduction follows.
        factor = 2 * side / min(image.size)
        if factor < 1:
            image.draft(None, (int(image.width * factor) + 1, int(image.height * factor) + 1))
    image.load()
    turn = _orientation(image)
    profile = image.info.get("icc_profile")
    plain = _plain(image)
    if side is not None and min(plain.size) > side:
        scale = side / min(plain.size)
        size = (max(side, round(plain.width * scale)), max(side, round(plain.height * scale)))
        plain = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    transform = _transform(profile, plain.mode) if isinstance(profile, bytes) else None
    if transform is not None:
        plain = ImageCms.applyTransform(plain, transform) or plain
    plain = plain.convert("RGB")
    if turn in _TRANSPOSE:
        plain = plain.transpose(_TRANSPOSE[turn])
    return np.array(plain)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8; 1 where there is none or EXIF is broken."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF raises anything, and spoils nothing else
        return 1


def _plain(image: Image.Image) -> Image.Image:
    """The picture in a mode that can be resized and colour-managed: L, RGB, CMYK or LAB."""
    if image.mode in ("L", "RGB", "CMYK"):
        if "transparency" not in image.info:
            return image
    elif image.mode.startswith("I") or image.mode == "F":
        return _from_deep(image)
    elif image.mode == "1":
        return image.convert("L")
    elif image.mode in ("YCbCr", "LAB", "HSV", "RGBX"):
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    flat = Image.new("RGB", rgba.size, "white")
    flat.paste(rgba, mask=rgba.getchannel("A"))
    return flat


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit (0..65535) or float (0..1) gray -> 8-bit; Pillow's own conversion would clip."""
    values = np.asarray(image, dtype=np.float64)
    full = 1.0 if image.mode == "F" else 65535.0 if values.max(initial=0) > 255 else 255.0
    return Image.fromarray((np.nan_to_num(values / full).clip(0, 1) * 255).round().astype(np.uint8))


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """To sRGB; None where the profile is sRGB, or no profile of this mode: it is ignored then."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in (source.profile.profile_description or "").lower():
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


class _Tally:
    """Sorts what the threads hand back; the same order in gives the same result."""

    def __init__(self) -> None:
        self.usable: dict[str, tuple[Loaded, Pixels]] = {}
        self.gray: set[str] = set()
        self.duplicates = 0
        self.broken: list[tuple[str, str]] = []

    def add(self, one: Loaded) -> None:
        if one.broken:
            self.broken.append((one.name, one.broken))
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
    data: config.Data,
    items: Sequence[Item],
    parts: Sequence[Part],
    progress: Progress | None,
    keep_gray: bool,
) -> tuple[list[tuple[Loaded, Pixels]], Counts]:
    """The usable photos of the parts, sorted by content hash, and what became of the others."""
    chroma = 0.0 if keep_gray else data.gray_chroma
    job = partial(_read, parts=tuple(parts), split=data.split, side=data.side, chroma=chroma)
    tally = _Tally()
    # One filter for all threads: filters are the process's, and would race inside them.
    with warnings.catch_warnings(), ThreadPool(max(1, data.workers)) as pool:
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        order = items if data.limit is None else _by_content(pool, data, items, parts)
        most = len(order) if data.limit is None else data.limit
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
    check_broken(tally.broken, tally.tried(), data.max_broken)
    usable = [tally.usable[digest] for digest in sorted(tally.usable)]
    return usable, tally.counts(len(items), len(usable))


def _read(
    item: Item, *, parts: Sequence[Part], split: config.Split, side: int, chroma: float
) -> Loaded:
    """One file: read, and if it belongs to the parts, decoded and checked."""
    try:
        content = item.read()
    except OSError as error:
        return Loaded(item.name, broken=f"cannot be read: {error.strerror or error}")
    return examine(item.name, content, parts=parts, split=split, side=side, chroma=chroma)


def _by_content(
    pool: ThreadPool, data: config.Data, items: Sequence[Item], parts: Sequence[Part]
) -> Sequence[Item]:
    """The parts' items in the order of their content hashes; unreadable ones first."""

    def digest(item: Item) -> str:
        try:
            return content_hash(item.read())
        except OSError:
            return ""

    hashed = sorted(zip(pool.map(digest, items), range(len(items)), strict=True))
    return [items[at] for d, at in hashed if not d or part_of(d, data.split) in parts]


def _estimate(data: config.Data, items: Sequence[Item], parts: Sequence[Part]) -> str:
    """The line that says how much RAM the photos need, from the headers of some."""
    sizes: list[int] = []
    for item in items[:: max(1, len(items) // _SAMPLE)][:_SAMPLE]:
        try:
            with Image.open(io.BytesIO(item.read())) as image:
                short, long = sorted(image.size)
        except Exception:  # a broken file is reported when it is decoded
            continue
        scale = min(1.0, data.side / short)
        sizes.append(round(short * scale) * round(long * scale) * 3)
    share = sum(getattr(data.split, part) for part in set(parts))
    number = round(len(items) * min(1.0, share))
    number = number if data.limit is None else min(number, data.limit)
    need = number * sum(sizes) / max(1, len(sizes))
    line = f"{len(items):,} files found; about {number:,} photos take {_bytes(need)} of RAM"
    have = _physical_memory()
    if have and need > 0.8 * have:
        line += f" of {_bytes(have)}: shorten them (data.side) or stream them (data.cache: none)"
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
    if counts.broken and not counts.gray:
        return f"none of the {counts.found} files can be decoded: {_list(counts.broken)}"
    return (
        f"no photo with colours among {counts.found} files: {counts.gray} are gray"
        f" (data.gray_chroma), {len(counts.broken)} cannot be decoded; name colour photos with"
        " --data (data.root)"
    )
