"""Finding photos: folders, .tar shards, arrays and single files, listed as `FileRef`s to read.

Nothing is decoded here. A shard is indexed once. Its members are then read by offset, each with its
own file handle, so that threads read in parallel.
"""

from __future__ import annotations

import importlib.util
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pix2color.data import npy
from pix2color.data.object_store import is_url
from pix2color.errors import DataError
from pix2color.photo.formats import PHOTO_SUFFIXES
from pix2color.photo.walk import (
    NOT_REGULAR,
    Identity,
    LeftOut,
    first_met,
    identity,
    is_hidden,
    walk,
)

BUNDLED = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")
"""The color photos of scikit-image, used where no roots are given."""

_REMEDY = "name folders of photos, .tar shards or both in {data.roots}"
_CONTAINERS = frozenset((".tar", npy.SUFFIX))


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file with the suffix of a photo, on disk or inside a shard.

    `name` is unique in its list: the name of the root, then the path below it
    (`photos/cats/1.jpg`, `shard.tar/member.webp`). `size` is in bytes.
    """

    name: str
    size: int
    path: Path
    offset: int = 0

    def read(self) -> bytes:
        """The file's bytes; safe to call from several threads. Raises OSError."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) != self.size:
            raise OSError(f"{len(data)} of {self.size} bytes could be read")
        return data


@dataclass(frozen=True, slots=True)
class ArrayRef(FileRef):
    """A photo of a set of arrays; `path` is the array of L."""

    photo: npy.NpyPhoto | None = None

    def read(self) -> bytes:
        """The photo as the bytes of a PPM file. Raises OSError."""
        assert self.photo is not None
        return self.photo.read()


def list_photos(roots: Sequence[str]) -> list[FileRef]:
    """Every photo below the roots, sorted by name.

    Args:
        roots: folders (searched through all levels; links are followed, loops are not), .tar
            shards, photos, or patterns such as `photos/train-*.tar`. Shards inside folders are
            read too. NumPy arrays (.npy, see `data.npy`) of all roots together are one set; in
            a folder that contains photos or shards they are skipped. Empty: the photos bundled
            with scikit-image.

    Raises:
        DataError: a root that is missing or contains no photo, a folder without read permission,
            a shard that is broken or compressed.
    """
    photos, shards = list_files(roots)
    for label, shard in shards:
        photos += list_members(label, shard)
    return sorted(photos, key=lambda photo: photo.name)


def list_files(roots: Sequence[str]) -> tuple[list[FileRef], list[tuple[str, Path]]]:
    """The photos below the roots but for those in shards, and the shards as (label, path).

    Both are sorted; shards are not opened. Arguments and errors as for `list_photos`.
    """
    if not roots:
        return _bundled(), []
    photos: list[FileRef] = []
    shards: list[tuple[str, Path]] = []
    array_files: list[Path] = []
    seen: set[Identity] = set()
    labels: set[str] = set()
    for root in expand(roots):
        label = unique_name(_label(root), labels)
        before = len(photos) + len(shards), len(seen)
        files = list(_files(root, label, seen))
        for name, path in files:
            suffix = path.suffix.lower()
            if suffix == ".tar":
                shards.append((name, path))
            elif suffix != npy.SUFFIX:
                photos.append(FileRef(name, path.stat().st_size, path))
        if len(photos) + len(shards) > before[0]:
            continue
        array_files += npy.natural_sort([path for _, path in files])
        # A root that was listed before, as part of another, adds nothing and is no mistake.
        if not files and len(seen) > before[1]:
            raise DataError(
                f"no photos in {root} (looked for {_endings()} and .tar)", remedy=_REMEDY
            )
    if array_files:
        photos += _array_refs(array_files)
    return sorted(photos, key=lambda photo: photo.name), sorted(shards)


def _array_refs(files: Sequence[Path]) -> Iterator[FileRef]:
    for photo in npy.list_npy_photos(files):
        name = f"{photo.ab.name}/{photo.ab_row:06d}"
        yield ArrayRef(name, photo.nbytes, photo.lightness, photo=photo)


def _bundled() -> list[FileRef]:
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else Path("skimage")
    paths = [folder / name for name in sorted(BUNDLED)]
    photos = [FileRef(f"skimage/{p.name}", p.stat().st_size, p) for p in paths if p.is_file()]
    if not photos:
        raise DataError("no photos given, and scikit-image has none installed", remedy=_REMEDY)
    return photos


def expand(roots: Sequence[str]) -> Iterator[Path]:
    """The paths of the roots; patterns are replaced by their matches.

    Raises DataError for a root that is missing.
    """
    for root in roots:
        if not str(root):
            raise DataError("a root is empty", remedy=f"{_REMEDY}, or . for the current folder")
        if is_url(root):
            raise DataError(f"{root}: only a training reads URLs, with data.cache: none")
        path = Path(root).expanduser()
        matches = [path] if path.exists() else []
        if not matches and any(wildcard in str(root) for wildcard in "*?["):
            anchor = Path(path.anchor)
            matches = sorted(anchor.glob(str(path.relative_to(anchor))))
        if not matches:
            raise DataError(f"no such file or folder: {root}", remedy=_REMEDY)
        yield from matches


def _files(root: Path, label: str, seen: set[Identity]) -> Iterator[tuple[str, Path]]:
    """(name, path) of every photo, shard and array of a root that is not in `seen`."""
    if root.is_dir():
        yield from _walk(root, label, seen)
    elif not root.is_file():
        raise DataError(f"{root} is {NOT_REGULAR}", remedy=_REMEDY)
    elif root.suffix.lower() in PHOTO_SUFFIXES:
        seen.add(identity(root))
        yield label, root
    elif root.suffix.lower() in _CONTAINERS:
        if first_met(root, seen):
            yield label, root
    elif root.suffix.lower() in (".gz", ".tgz", ".xz", ".bz2", ".zst", ".zip"):
        raise DataError(f"{root} is compressed; unpack it to a folder or a plain .tar")
    else:
        raise DataError(
            f"{root} is neither a photo ({_endings()}) nor a .tar or .npy", remedy=_REMEDY
        )


def _walk(root: Path, label: str, seen: set[Identity]) -> Iterator[tuple[str, Path]]:
    if not first_met(root, seen):
        return
    for entry in walk(root, seen):
        if isinstance(entry, LeftOut):
            if entry.unreadable:
                raise DataError(f"{entry.path} {entry.reason}")
            continue
        suffix = entry.suffix.lower()
        if suffix in PHOTO_SUFFIXES or (suffix in _CONTAINERS and first_met(entry, seen)):
            yield f"{label}/{entry.relative_to(root).as_posix()}", entry


def list_members(label: str, shard: Path, *, shown: str = "") -> Iterator[FileRef]:
    """The photos of one shard in its order, named `label/member`; only headers are read.

    Args:
        label: begins the names.
        shard: the file.
        shown: what errors call it, where that is not its path.

    Raises:
        DataError: the shard is broken, compressed or contains no photo.
    """
    names: set[str] = set()
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if member.isreg() and not member.issparse() and is_photo_name(member.name):
                    name = unique_name(f"{label}/{plain_name(member.name)}", names)
                    yield FileRef(name, member.size, shard, member.offset_data)
            end = tar.offset
        check_end(shard, end)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise broken_shard(shown or shard, error) from None
    if not names:
        raise DataError(f"no photos in {shown or shard} (looked for {_endings()})", remedy=_REMEDY)


def check_end(shard: Path, end: int) -> None:
    """Raise ValueError unless only zeros, 1024 at least, follow byte `end` of a shard.

    tarfile takes a damaged header for the end and skips the photos after it without an error.
    """
    with shard.open("rb") as file:
        file.seek(end)
        trailer = file.read(1 << 20)
    if len(trailer) < 2 * tarfile.BLOCKSIZE or trailer.strip(b"\0"):
        raise ValueError("cut off or damaged")


def broken_shard(shard: Path | str, error: Exception) -> DataError:
    """The error for a shard that cannot be read to the end."""
    return DataError(
        f"{shard} is not a whole, uncompressed .tar ({error})",
        remedy="copy or pack it again, or leave it out of {data.roots}",
    )


def is_photo_name(name: str) -> bool:
    """Whether a tar member has the suffix of a photo and is not hidden."""
    path = PurePosixPath(name)
    return path.suffix.lower() in PHOTO_SUFFIXES and not any(map(is_hidden, _parts(path)))


def plain_name(member: str) -> str:
    """A member's name without `./`, `../` or a leading `/`."""
    return "/".join(_parts(PurePosixPath(member)))


def _parts(path: PurePosixPath) -> list[str]:
    return [part for part in path.parts if part not in ("/", "//", ".", "..")]


def _label(root: Path) -> str:
    return root.name if root.name not in ("", "..") else root.resolve().name or "root"


def unique_name(name: str, taken: set[str], *, mark: str = "#") -> str:
    """The name, followed by #2, #3 ... if it is in `taken`, to which the result is added."""
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}{mark}{count}"
    taken.add(unique)
    return unique


def _endings() -> str:
    return " ".join(sorted(PHOTO_SUFFIXES))
