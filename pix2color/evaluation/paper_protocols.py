"""The test sets of published tables: which photos, how they are cut, and whether they are those.

Nothing is downloaded. The names are checked against the set's rule or against a list of the user,
and the contents against the hashes of that list, where it has some.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import numpy as np
from PIL import Image

from pix2color.data.dataset import Counts, PhotoSet, Pixels, content_hash
from pix2color.data.decode import decode
from pix2color.data.discovery import FileRef, list_photos
from pix2color.errors import DataError, PhotoError

_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256"}
_NAMED = 3  # photos named in an error
Result = TypeVar("Result")


@dataclass(frozen=True)
class PaperProtocol:
    """A test set of published tables."""

    name: str
    text: str
    """Which photos, for reports."""
    pattern: str
    """Regular expression that the name of each of its files matches, without folders."""
    count: int
    framing: Literal["center", "resize"]
    """center: the center square; resize: the whole photo, stretched."""
    size: int = 256
    """Side of the measured square in pixels, to which smaller photos are enlarged."""
    numbered: str = ""
    """Format of a name by its number, where the set is the photos 1 to `count`."""

    @property
    def names(self) -> list[str] | None:
        """The names of its files; None where no rule gives them."""
        if not self.numbered:
            return None
        return [self.numbered.format(number) for number in range(1, self.count + 1)]

    def square(self, photo: Pixels) -> Pixels:
        """The measured part of a photo: size,size,3 uint8.

        One bilinear resize with antialiasing, Pillow's: that of torchvision's transforms, with
        which these sets were prepared.
        """
        height, width = photo.shape[:2]
        if self.framing == "center":
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            photo = photo[top : top + side, left : left + side]
        image = Image.fromarray(np.ascontiguousarray(photo))
        return np.array(image.resize((self.size, self.size), Image.Resampling.BILINEAR))

    def describe(self) -> str:
        """Photos, part and size, for reports."""
        part = "center squares" if self.framing == "center" else "whole photos stretched"
        return f"{self.text}: {part}, resized to {self.size} x {self.size} px, colored as infer.py"


_IMAGENET = r"ILSVRC2012_val_\d{8}\.JPEG"
PROTOCOLS = {
    "val5k": PaperProtocol(
        "val5k", "the first 5,000 validation photos of ImageNet (ILSVRC 2012)", _IMAGENET, 5_000,
        "center", numbered="ILSVRC2012_val_{:08d}.JPEG",
    ),
    "ctest10k": PaperProtocol(
        "ctest10k", "10,000 validation photos of ImageNet, chosen by Larsson et al. 2016",
        _IMAGENET, 10_000, "resize",
    ),
    "coco-stuff": PaperProtocol(
        "coco-stuff", "the 5,000 validation photos of COCO 2017, which COCO-Stuff labels",
        r"\d{12}\.jpg", 5_000, "resize",
    ),
}  # fmt: skip
"""By name."""


@dataclass(frozen=True)
class FileList:
    """The names of a set's files, with the hashes of their contents where they are known."""

    hashes: dict[str, str]
    """Name without folders -> MD5, SHA-1 or SHA-256 in hex; empty where it is not known."""
    source: str
    """For reports."""


def read_list(path: Path, protocol: PaperProtocol) -> FileList:
    """Read a list of a set's files.

    Args:
        path: a text file with a line per photo: a name, also with folders before it or a label
            after it, or `HASH  NAME` as md5sum, sha1sum and sha256sum write it.
        protocol: the names and their number have to be of this set.

    Raises:
        DataError: the list cannot be read or is not of this set.
    """
    try:
        content = path.read_bytes()
        lines = content.decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise DataError(f"{path}: {reason}") from None
    hashes: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        hashed = len(words) > 1 and re.fullmatch(r"[0-9a-fA-F]+", words[0])
        known = hashed and len(words[0]) in _ALGORITHMS
        name = PurePosixPath(words[1].lstrip("*") if known else words[0]).name
        if not re.fullmatch(protocol.pattern, name, re.IGNORECASE):
            raise DataError(f"{path}, line {number}: {name} is not a name of {protocol.name}")
        if name in hashes:
            raise DataError(f"{path}, line {number}: {name} is there twice")
        hashes[name] = words[0].lower() if known else ""
    if len(hashes) != protocol.count:
        raise DataError(
            f"{path} lists {len(hashes):,} photos, {protocol.name} has {protocol.count:,}"
        )
    with_hash = sum(map(bool, hashes.values()))
    checked = f"names and {with_hash:,} contents" if with_hash else "names"
    return FileList(hashes, f"{checked} as in {path.name} (SHA-256 {_short(content)})")


def find(
    protocol: PaperProtocol, files: Sequence[FileRef], listed: FileList | None
) -> tuple[list[FileRef], str]:
    """The files of a set by their names, and how these were checked.

    Args:
        protocol: the set.
        files: to choose from, in any folders and shards.
        listed: the user's list of the set; None: the set's own rule.

    Raises:
        DataError: photos are missing or there twice, or only a list can tell which are meant.
    """
    by_name: dict[str, list[FileRef]] = {}
    for file in files:
        name = PurePosixPath(file.name).name
        if re.fullmatch(protocol.pattern, name, re.IGNORECASE):
            by_name.setdefault(name.lower(), []).append(file)
    if listed is not None:
        wanted, how = list(listed.hashes), listed.source
    elif protocol.names is not None:
        wanted, how = protocol.names, "names checked, contents not"
    else:
        wanted = [PurePosixPath(found[0].name).name for found in by_name.values()]
        how = f"{len(wanted):,} names of the right form; neither list nor contents checked"
        if len(wanted) > protocol.count:
            raise DataError(
                f"{protocol.name}: {len(wanted):,} photos have names of its form, it has"
                f" {protocol.count:,}",
                remedy="name the file that lists them in {protocol_list}",
            )
    missing = [name for name in wanted if name.lower() not in by_name]
    absent = max(len(missing), protocol.count - len(wanted))
    if absent:
        example = f", such as {missing[0]}" if missing else ""
        raise DataError(
            f"{protocol.name}: {absent:,} of its {protocol.count:,} photos are missing{example}",
            remedy="name the folder with all of them, under their own names, in {data.roots}",
        )
    twice = [name for name in wanted if len(by_name[name.lower()]) > 1]
    if twice:
        names = " and ".join(file.name for file in by_name[twice[0].lower()][:2])
        raise DataError(f"{protocol.name}: {len(twice):,} photos are there twice, such as {names}")
    return [by_name[name.lower()][0] for name in sorted(wanted)], how


@dataclass(frozen=True)
class Selection:
    """The files of a set, checked."""

    protocol: PaperProtocol
    files: list[FileRef]
    """In the order of their names."""
    how: str
    """How names and contents were checked."""
    num_found: int
    """Files to choose from."""


def select(
    protocol: PaperProtocol,
    roots: Sequence[str],
    *,
    listed: FileList | None = None,
    threads: int = 2,
    progress: Callable[[int, int], object] | None = None,
) -> Selection:
    """Find the photos of a set and check names, and contents where their hashes are listed.

    Args:
        protocol: the set.
        roots: folders and .tar shards, see `list_photos`.
        listed: of `read_list`.
        threads: that compute hashes.
        progress: called with (files hashed, files in all).

    Raises:
        DataError: as `find`; or contents are not as listed.
    """
    every = list_photos(roots)
    files, how = find(protocol, every, listed)
    hashes = {name.lower(): digest for name, digest in (listed.hashes if listed else {}).items()}

    def check(file: FileRef) -> None:
        expected = hashes[PurePosixPath(file.name).name.lower()]
        algorithm = _ALGORITHMS.get(len(expected))
        if algorithm and hashlib.new(algorithm, _read(file)).hexdigest() != expected:
            raise PhotoError("has other contents than listed")

    if any(hashes.values()):
        _for_each(protocol, files, check, threads, progress)
    return Selection(protocol, files, how, len(every))


def load(
    selection: Selection,
    *,
    threads: int = 2,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[PhotoSet, str]:
    """Decode and cut the photos of a set; repeated and gray photos are kept.

    Args:
        selection: of `select`.
        threads: that decode.
        progress: called with (photos done, photos in all).

    Returns:
        The squares in the order of their names, and how names and contents were checked.

    Raises:
        DataError: a photo cannot be read or decoded.
    """
    protocol, files = selection.protocol, selection.files

    def examine(file: FileRef) -> tuple[str, Pixels]:
        data = _read(file)
        try:
            return content_hash(data), protocol.square(decode(data, name=file.name))
        except PhotoError as error:
            raise PhotoError(f"cannot be decoded: {error}") from None

    examined = _for_each(protocol, files, examine, threads, progress)
    digests, squares = [one[0] for one in examined], [one[1] for one in examined]
    names = [file.name for file in files]
    others = selection.num_found - len(files)
    counts = Counts(selection.num_found, len(files), 0, 0, others, ())
    photos = PhotoSet(squares, names, digests, counts, bundled=False, unsplit=False)
    repeated = sum(number - 1 for number in Counter(digests).values())
    return photos, f"{selection.how}; {repeated} repeated contents kept"


def _read(file: FileRef) -> bytes:
    try:
        return file.read()
    except OSError as error:
        raise PhotoError(f"cannot be read: {error.strerror or error}") from None


def _for_each(
    protocol: PaperProtocol,
    files: Sequence[FileRef],
    function: Callable[[FileRef], Result],
    threads: int,
    progress: Callable[[int, int], object] | None,
) -> list[Result]:
    """What a function returns of each file; DataError counts those where it raises PhotoError."""

    def attempt(file: FileRef) -> Result | PhotoError:
        try:
            return function(file)
        except PhotoError as error:
            return PhotoError(f"{file.name} {error}")

    results: list[Result] = []
    wrong: list[PhotoError] = []
    with ThreadPool(threads) as pool:
        for done, result in enumerate(pool.imap(attempt, files), start=1):
            if isinstance(result, PhotoError):
                wrong.append(result)
            else:
                results.append(result)
            if progress is not None:
                progress(done, len(files))
    if wrong:
        named = "; ".join(map(str, wrong[:_NAMED]))
        raise DataError(
            f"{protocol.name}: {len(wrong):,} of {protocol.count:,} photos are not the published"
            f" ones: {named}",
            remedy="copy them again from the published archive",
        )
    return results


def hash_lines(photos: PhotoSet) -> str:
    """`SHA-256  NAME` of each photo, as sha256sum writes it: a list for `read_list`."""
    pairs = zip(photos.digests, photos.names, strict=True)
    return "".join(f"{digest}  {PurePosixPath(name).name}\n" for digest, name in pairs)


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
