"""The photos of `evaluate` and `calibrate`: their arguments, which are chosen, and their groups."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pix2color.cli import common
from pix2color.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pix2color.config import SplitConfig
    from pix2color.data.dataset import PhotoSet
    from pix2color.evaluation.groups import Grouping, Labels
    from pix2color.evaluation.paper_protocols import Selection

_UNLIMITED_SIDE = 1 << 20  # pixels; no photo is larger
PAPER_PROTOCOLS = ("val5k", "ctest10k", "coco-stuff")
"""Names in `paper_protocols.PROTOCOLS`, whose module takes long to import."""
_CROP = 256  # pixels
_OWN_CHOICE = ("limit", "fold", "split", "sources")


@dataclass(frozen=True)
class MeasuredPhotos:
    """The photos that the arguments choose."""

    photos: PhotoSet
    groupings: list[Grouping]
    """By source and by file, as asked for."""
    facts: dict[str, Any]
    """Roots, counts and the digest, for the report; `text` says them."""
    hashes: str = ""
    """`SHA-256  NAME` of each photo of a published test set."""


# fmt: off
def add_protocol_arguments(group: argparse._ArgumentGroup) -> None:
    """Which part of each photo is measured."""
    add = group.add_argument
    add("--protocol", choices=("center", "resize", "full", *PAPER_PROTOCOLS), default="center",
        help="center: the center square, at most --crop a side; resize: the whole photo stretched"
        " to --crop; full: as it is. Each is then colored as infer.py does. Or the test set of"
        " published tables, whose photos are in --data: val5k, ctest10k, coco-stuff"
        " (docs/protocols.md)")
    add("--protocol-list", type=Path, metavar="FILE",
        help="the names of that set's photos, or their hashes as sha256sum writes them, to be"
        " checked")
    add("--crop", type=int, default=_CROP, metavar="PX",
        help="side of the measured image (%(default)s)")


def add_photo_arguments(group: argparse._ArgumentGroup) -> None:
    """Which photos are taken."""
    add = group.add_argument
    add("--data", nargs="+", metavar="PATH", default=[],
        help="folders or .tar shards of color photos; left out: those bundled with scikit-image")
    add("--limit", type=int, metavar="N", help="a fixed sample: the first N by content hash")
    add("--fold", metavar="K/N",
        help="only the Kth of N equal parts by content hash: choose settings on 1/2, measure them"
        " on 2/2")
    add("--split", choices=("train", "val", "test"),
        help="only the photos that data.split of a training puts there: that training on the same"
        " --data has not seen those of val and test")
    add("--split-shares", metavar="TRAIN,VAL,TEST",
        help="data.split of that training, such as 0.97,0.03,0; left out: as the measured weights"
        " record it")
    add("--sources", nargs="+", metavar="NAME",
        help="only photos of these sources: the first folder below a folder or in a shard")


def add_group_arguments(group: argparse._ArgumentGroup) -> None:
    """Groups of photos with tables of their own."""
    add = group.add_argument
    add("--by-source", action="store_true",
        help="figures of each source; those of fewer than 20 photos are one group")
    add("--groups", type=Path, metavar="FILE.csv",
        help="figures of each group of this file: a line `file,group`, then a line per photo")
    add("--skin", action="store_true",
        help="for portraits and face crops: how the colors of skin differ from the true ones, by"
        " the lightness and tone of the true skin")
# fmt: on


def check(arguments: argparse.Namespace) -> None:
    """Refuse impossible arguments before any long work."""
    check_choice(arguments)
    if "crop" in arguments:
        common.check_ranges(arguments, crop=(1, _UNLIMITED_SIDE))
    if is_paper_protocol(arguments):
        chosen = [name for name in _OWN_CHOICE if getattr(arguments, name)]
        if chosen:
            raise ConfigError(
                f"--{chosen[0]} leaves photos out, and --protocol {arguments.protocol} is of all"
                " of its set: leave one of them out"
            )
        if arguments.crop != _CROP:
            raise ConfigError(
                f"--protocol {arguments.protocol} has a size of its own: leave --crop out"
            )
    elif getattr(arguments, "protocol_list", None):
        raise ConfigError(
            f"--protocol-list needs --protocol {', '.join(PAPER_PROTOCOLS[:-1])} or"
            f" {PAPER_PROTOCOLS[-1]}"
        )


def check_choice(arguments: argparse.Namespace) -> None:
    """Of `check`, the arguments that choose photos."""
    from pix2color.data.discovery import expand

    common.check_ranges(arguments, limit=(1, common.MOST))
    _fold(arguments.fold)
    _given_split(arguments)
    list(expand(arguments.data))  # a missing folder is said before weights are loaded


def is_paper_protocol(arguments: argparse.Namespace) -> bool:
    """Whether --protocol names the test set of published tables."""
    return getattr(arguments, "protocol", None) in PAPER_PROTOCOLS


def select_published(arguments: argparse.Namespace) -> Selection | None:
    """The files of the published test set that --protocol names, checked; None for others."""
    if not is_paper_protocol(arguments):
        return None
    from pix2color.evaluation import paper_protocols

    protocol = paper_protocols.PROTOCOLS[arguments.protocol]
    path = arguments.protocol_list
    listed = paper_protocols.read_list(path, protocol) if path else None
    quiet = arguments.quiet or listed is None  # only listed hashes take time
    with common.ProgressBar(None, unit="photos checked", quiet=quiet) as progress:
        return paper_protocols.select(
            protocol,
            arguments.data,
            listed=listed,
            progress=lambda done, total: progress.advance_to(done),
        )


def load(
    arguments: argparse.Namespace,
    weights: Sequence[str],
    notes: list[str],
    *,
    published: Selection | None,
) -> MeasuredPhotos:
    """Decode the photos, nearly gray ones included; broken files are left out and named.

    Args:
        arguments: of both groups above.
        weights: sources of the measured weights, which record what was held out of them.
        notes: gets a line for each of them that may have seen the photos of --split.
        published: of `select_published`.
    """
    from pix2color.data.discovery import list_photos
    from pix2color.evaluation import groups, paper_protocols

    split = find_split(arguments, weights, notes)
    found = [photo.name for photo in list_photos(arguments.data)] if arguments.groups else []
    labels = groups.read_labels(arguments.groups, found) if arguments.groups else None
    if published is not None:
        photos, checked = _decode_published(published, quiet=arguments.quiet)
        facts = _facts(arguments, photos, split) | {"checked": checked}
        facts["text"] += f"; {checked}"
        hashes = paper_protocols.hash_lines(photos)
        return MeasuredPhotos(photos, _groupings(arguments, labels, photos), facts, hashes)
    side = _UNLIMITED_SIDE if arguments.protocol == "full" else max(8, arguments.crop)
    photos = decode(arguments, split, side=side, keep_gray=True)
    facts = _facts(arguments, photos, split)
    return MeasuredPhotos(photos, _groupings(arguments, labels, photos), facts)


def _decode_published(published: Selection, *, quiet: bool) -> tuple[PhotoSet, str]:
    """The squares of a published test set, and how its names and contents were checked."""
    from pix2color.evaluation import paper_protocols

    with common.ProgressBar(None, unit="photos decoded", quiet=quiet) as progress:
        return paper_protocols.load(
            published, progress=lambda done, total: progress.advance_to(done)
        )


def _groupings(
    arguments: argparse.Namespace, labels: Labels | None, photos: PhotoSet
) -> list[Grouping]:
    from pix2color.evaluation import groups

    groupings = [groups.by_source(photos.names)] if arguments.by_source else []
    return groupings + ([groups.by_labels(labels, photos.names)] if labels else [])


def decode(
    arguments: argparse.Namespace, split: SplitConfig | None, *, side: int, keep_gray: bool
) -> PhotoSet:
    """The photos that the arguments choose; broken files are left out and named.

    Args:
        arguments: of `add_photo_arguments`, and quiet.
        split: shares that --split refers to (`find_split`).
        side: largest shorter side in pixels.
        keep_gray: keep photos that have almost no color.

    Raises:
        DataError: no photo is left, or --sources names one that there is not.
    """
    from pix2color.config import DataConfig, SplitConfig
    from pix2color.data.dataset import ALL_SPLITS, load_photos
    from pix2color.data.discovery import list_photos
    from pix2color.evaluation.groups import source_of

    if arguments.sources:
        found = {source_of(photo.name) for photo in list_photos(arguments.data)}
        _check_sources(arguments.sources, found)
    data = DataConfig(
        roots=tuple(arguments.data),
        split=split or SplitConfig(),
        cache_size=side,
        max_photos=arguments.limit,
        max_corrupt_fraction=1.0,
    )
    with common.ProgressBar(None, unit="photos decoded", quiet=arguments.quiet) as progress:
        photos = load_photos(
            data,
            splits=(arguments.split,) if split else ALL_SPLITS,
            keep_gray=keep_gray,
            only=(lambda name: source_of(name) in arguments.sources) if arguments.sources else None,
            announce=progress.write,
            progress=lambda done, total: progress.advance_to(done),
        )
        for name, reason in photos.counts.corrupt:
            progress.write(f"left out: {name} ({reason})")
    if photos.unsplit:
        raise DataError(
            f"--split {arguments.split}: none of the photos is in it, or they are too few to split"
        )
    photos = photos.fold(*_fold(arguments.fold))
    if not photos.photos:
        raise DataError("no photo can be decoded")
    return photos


def _fold(text: str | None) -> tuple[int, int]:
    """`2/3` -> (2, 3); None, all photos -> (1, 1)."""
    number, sign, of = (text or "1/1").partition("/")
    if not (sign and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise ConfigError(f"--fold {text}: write it as K/N with 1 <= K <= N, such as 1/2")
    return int(number), int(of)


def _given_split(arguments: argparse.Namespace) -> SplitConfig | None:
    """--split-shares; None where it is left out."""
    from pix2color.config import SplitConfig

    text = arguments.split_shares
    if text is None:
        return None
    if arguments.split is None:
        raise ConfigError("--split-shares needs --split: whether to measure train, val or test")
    try:
        train, val, test = map(float, text.split(","))
        return SplitConfig(train=train, val=val, test=test)
    except ValueError:  # pydantic's error is one
        raise ConfigError(
            f"--split-shares {text}: write it as TRAIN,VAL,TEST, three shares that sum to 1, such"
            " as 0.97,0.03,0"
        ) from None


def find_split(
    arguments: argparse.Namespace, weights: Sequence[str], notes: list[str]
) -> SplitConfig | None:
    """The shares that --split refers to; None without it. Arguments as for `load`."""
    from pix2color.evaluation.checkpoint_methods import recorded_splits

    if arguments.split is None:
        return None
    recorded = recorded_splits(weights)
    shares = _given_split(arguments)
    if shares is None:
        known = [split for split in recorded.values() if split is not None]
        if not known or any(split != known[0] for split in known):
            found = "different ones" if known else "none"
            raise ConfigError(
                f"--split {arguments.split} needs --split-shares TRAIN,VAL,TEST of the training:"
                f" the measured weights record {found}"
            )
        shares = known[0]
    for source, split in recorded.items():
        if split != shares:
            records = f"data.split {_text(split)}" if split else "no data.split"
            notes.append(
                f"{source}: records {records}; if its training was given these photos, it may have"
                " seen them."
            )
    return shares


def _check_sources(sources: Sequence[str], found: set[str]) -> None:
    for source in sources:
        if source not in found:
            nearest = difflib.get_close_matches(source, sorted(found), 1, 0.0)[0]
            raise DataError(f"--sources {source}: no photo is of it; did you mean {nearest}?")


def _text(split: SplitConfig) -> str:
    return f"{split.train:g}, {split.val:g}, {split.test:g}"


def _facts(
    arguments: argparse.Namespace, photos: PhotoSet, split: SplitConfig | None
) -> dict[str, Any]:
    from pix2color.config import DataConfig
    from pix2color.photo.gray import is_gray

    counts = photos.counts
    gray = sum(is_gray(photo, DataConfig().min_chroma) for photo in photos.photos)
    roots = list(arguments.data) or ["scikit-image"]
    parts = {
        "sources": ", ".join(arguments.sources or ()),
        "split": f"{arguments.split} of {_text(split)}" if split else "",
        "fold": arguments.fold,
    }
    part = "".join(f" ({name} {value})" for name, value in parts.items() if value)
    text = (
        f"{len(photos)} of {counts.found} files in {', '.join(roots)}{part}; {gray} of them nearly"
        f" gray (kept), {len(counts.corrupt)} broken and {counts.duplicates} duplicates (left out)"
    )
    return {
        "text": text,
        "roots": roots,
        "digest": photos.digest[:12],
        "found": counts.found,
        "used": len(photos),
        "nearly_gray": gray,
        "duplicates": counts.duplicates,
        "broken": [list(one) for one in counts.corrupt],
        "toy": photos.bundled,
    }
