"""Where photos come from: folders, .tar shards, arrays and single files, listed as items to read.

Nothing is decoded here. A shard is indexed once; its members are then read by offset, each read
with a handle of its own, so that threads read in parallel.
"""

from __future__ import annotations

import importlib.util
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pix2color.data import npy
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
"""The color photos that come with scikit-image: what empty roots stand for."""

_REMEDY = "name folders of photos, .tar shards or both in {data.roots}"
_CONTAINERS = frozenset((".tar", npy.SUFFIX))


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that should hold a photo, on its own or inside a shard.

    `name` is unique in its list and readable: the root's own name, then the path below it
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
    """A photo of a set of arrays; `path` is that of L."""

    place: npy.NpyPhoto | None = None

    def read(self) -> bytes:
        """The photo as a file's bytes, as Item's."""
        assert self.place is not None
        return self.place.read()


def list_photos(roots: Sequence[str]) -> list[FileRef]:
    """Every photo below the roots, sorted by name.

    Args:
        roots: folders (searched through all levels; links are followed, loops are not), .tar
            shards, photos, or patterns such as `photos/train-*.tar`. Shards inside folders are
            read too. NumPy arrays (.npy, see `data.arrays`) of all roots together are one set; in
            a folder that holds photos or shards they are passed over. Empty: the photos bundled
            with scikit-image.

    Raises:
        DataError: a root that is missing or holds no photo, a folder that may not be read, a
            shard that is broken or compressed. The message says what to do.
    """
    items, shards = list_files(roots)
    for label, shard in shards:
        items += _members(label, shard)
    return sorted(items, key=lambda item: item.name)


def list_files(roots: Sequence[str]) -> tuple[list[FileRef], list[tuple[str, Path]]]:
    """The photo files, photos of arrays included, and, unopened, the shards (label, path) below
    the roots; both sorted.

    Arguments and errors as `list_items`, but for the shards' own.
    """
    if not roots:
        return _bundled(), []
    items: list[FileRef] = []
    shards: list[tuple[str, Path]] = []
    array_files: list[Path] = []
    seen: set[Identity] = set()
    labels: set[str] = set()
    for root in _expand(roots):
        label = unique_name(_own_name(root), labels)
        found = len(items) + len(shards)
        known = len(seen)
        files = list(_files(root, label, seen))
        for name, path in files:
            suffix = path.suffix.lower()
            if suffix == ".tar":
                shards.append((name, path))
            elif suffix != npy.SUFFIX:
                items.append(FileRef(name, path.stat().st_size, path))
        if found < len(items) + len(shards):
            continue
        array_files += npy.natural_sort([path for _, path in files])
        # A root that was listed before, as part of another, adds nothing and is no mistake.
        if not files and len(seen) > known:
            raise DataError(
                f"no photos in {root} (looked for {_endings()} and .tar)", remedy=_REMEDY
            )
    if array_files:
        items += _array_items(array_files)
    return sorted(items, key=lambda item: item.name), sorted(shards)


def _array_items(files: Sequence[Path]) -> Iterator[FileRef]:
    for place in npy.list_npy_photos(files):
        name = f"{place.ab.name}/{place.ab_row:06d}"
        yield ArrayRef(name, place.nbytes, place.lightness, place=place)


def _bundled() -> list[FileRef]:
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else Path("skimage")
    paths = [folder / name for name in sorted(BUNDLED)]
    items = [FileRef(f"skimage/{p.name}", p.stat().st_size, p) for p in paths if p.is_file()]
    if not items:
        raise DataError("no photos given, and scikit-image has none installed", remedy=_REMEDY)
    return items


def _expand(roots: Sequence[str]) -> Iterator[Path]:
    """The roots that exist, patterns replaced by what they match."""
    for root in roots:
        if not str(root):
            raise DataError("a root is empty", remedy=f"{_REMEDY}, or . for the current folder")
        path = Path(root).expanduser()
        matches = [path] if path.exists() else []
        if not matches and any(sign in str(root) for sign in "*?["):
            anchor = Path(path.anchor)
            matches = sorted(anchor.glob(str(path.relative_to(anchor))))
        if not matches:
            raise DataError(f"no such file or folder: {root}", remedy=_REMEDY)
        yield from matches


def _files(root: Path, label: str, seen: set[Identity]) -> Iterator[tuple[str, Path]]:
    """(name, path) of every photo and shard of a root that was not `seen` yet."""
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
    for found in walk(root, seen):
        if isinstance(found, LeftOut):
            if found.unreadable:
                raise DataError(f"{found.path} {found.reason}")
            continue
        suffix = found.suffix.lower()
        if suffix in PHOTO_SUFFIXES or (suffix in _CONTAINERS and first_met(found, seen)):
            yield f"{label}/{found.relative_to(root).as_posix()}", found


def _members(label: str, shard: Path) -> Iterator[FileRef]:
    """The photos of one shard; only headers are read."""
    names: set[str] = set()
    found = False
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if member.isreg() and not member.issparse() and is_photo_name(member.name):
                    found = True
                    name = unique_name(f"{label}/{plain_name(member.name)}", names)
                    yield FileRef(name, member.size, shard, member.offset_data)
            end = tar.offset
        check_end(shard, end)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise broken_shard(shard, error) from None
    if not found:
        raise DataError(f"no photos in {shard} (looked for {_endings()})", remedy=_REMEDY)


def check_end(shard: Path, end: int) -> None:
    """Raise ValueError unless the shard is over at byte `end`: from there on zeros, 1024 at least.

    tarfile takes a damaged header for the end, and would lose the photos behind it in silence.
    """
    with shard.open("rb") as file:
        file.seek(end)
        rest = file.read(1 << 20)
    if len(rest) < 2 * tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise ValueError("cut off or damaged")


def broken_shard(shard: Path | str, error: Exception) -> DataError:
    """The error for a shard that cannot be read to its end."""
    return DataError(
        f"{shard} is not a whole, uncompressed .tar ({error})",
        remedy="copy or pack it again, or leave it out of {data.roots}",
    )


def is_photo_name(name: str) -> bool:
    """Whether a tar's member is taken for a photo by its name; hidden ones are not."""
    path = PurePosixPath(name)
    return path.suffix.lower() in PHOTO_SUFFIXES and not any(map(is_hidden, _parts(path)))


def plain_name(member: str) -> str:
    """A member's name without `./`, `../` or a leading `/`."""
    return "/".join(_parts(PurePosixPath(member)))


def _parts(path: PurePosixPath) -> list[str]:
    return [part for part in path.parts if part not in ("/", "//", ".", "..")]


def _own_name(root: Path) -> str:
    return root.name if root.name not in ("", "..") else root.resolve().name or "root"


def unique_name(name: str, taken: set[str], *, mark: str = "#") -> str:
    """The name, with #2, #3 ... behind it where it is taken; it is taken afterwards."""
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}{mark}{count}"
    taken.add(unique)
    return unique


def _endings() -> str:
    return " ".join(sorted(PHOTO_SUFFIXES))
