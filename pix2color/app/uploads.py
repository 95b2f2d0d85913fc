"""Copies uploaded photos into a session's folder; names, paths and sizes are not trusted.

Names serve for showing and for the name of the download: they are cut down to plain ones before
they become part of a path. Zip files are read member by member within fixed bounds and never
unpacked by their own paths.
"""

from __future__ import annotations

import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pix2color.errors import PhotoError
from pix2color.io import atomic_open
from pix2color.photo.formats import PHOTO_SUFFIXES, UNSUPPORTED_SUFFIXES
from pix2color.video import pyav as video

_MAX_DIRECTORY_BYTES = 2_000_000  # bytes of a zip's list of members: some twenty thousand names
_END_RECORD_BYTES = 22 + 65_535  # bytes at a zip's end that hold its end record
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may take gigabytes per byte
_TOO_LARGE = "too large: the photos of one session are above the limit"
_MAX_NAME = 100  # characters of one part of a name
_MAX_NAME_PARTS = 6  # nested folders of a zip that are kept in a photo's name


@dataclass
class IngestResult:
    """Photos and refusals of an upload."""

    photos: list[tuple[str, Path]] = field(default_factory=list)
    """Name as the client knows it (a/b.jpg from a zip), and the file."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Name and why."""
    size: int = 0
    """Bytes of the photos."""


def ingest(uploads: Sequence[Path], folder: Path, *, files: int, size: int) -> IngestResult:
    """Copy photos, also those inside zip files, into numbered folders below `folder`.

    Args:
        uploads: files on this machine; the caller has checked where they came from.
        folder: the session's; each photo gets a numbered folder and keeps its plain name.
        files: how many photos may be added.
        size: how many bytes they may have together.

    Returns:
        All photos and refusals; no photo raises.
    """
    ingestion = _Ingestion(folder, files, size)
    for upload in uploads:
        ingestion.add(upload)
    return ingestion.result


def plain_name(name: str) -> str:
    """A relative path of plain parts: no root, no drive, no dots, nothing that cannot be shown."""
    parts = []
    for part in name.replace("\\", "/").split("/"):
        shown = "".join(c if c.isprintable() and c not in '<>:"|?*' else "_" for c in part)
        shown = shown.strip(" .")
        stem, dot, suffix = shown.rpartition(".")
        if len(shown) > _MAX_NAME:
            shown = f"{stem[: _MAX_NAME - 12]}{dot}{suffix[:11]}"
        while len(shown.encode("utf-8", "replace")) > 2 * _MAX_NAME:
            shown = shown[1:]
        if shown:
            parts.append(shown.encode("utf-8", "replace").decode())
    return "/".join(parts[-_MAX_NAME_PARTS:]) or "photo"


@dataclass
class _Ingestion:
    """Photos copied so far, within limits."""

    folder: Path
    files: int
    size: int
    result: IngestResult = field(default_factory=IngestResult)

    def add(self, upload: Path) -> None:
        """A photo or a zip file."""
        name = plain_name(upload.name)
        try:
            with upload.open("rb") as file:
                is_zip = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
                file.seek(0)
                (self._add_zip if is_zip else self._add_photo)(file, name)
        except PhotoError as error:
            self.result.refused.append((name, str(error)))
        except OSError as error:
            self.result.refused.append((name, error.strerror or "cannot be read"))

    def _add_photo(self, file: IO[bytes], name: str) -> None:
        if Path(name).suffix.lower() in video.SUFFIXES:
            raise PhotoError("this server colors photos only, not videos")
        if Path(name).suffix.lower() in UNSUPPORTED_SUFFIXES:
            raise PhotoError("this format cannot be read; export it as TIFF, PNG or JPEG")
        if len(self.result.photos) >= self.files:
            raise PhotoError("too many photos at a time; start over for more")
        number = sum(1 for _ in self.folder.iterdir()) if self.folder.is_dir() else 0
        path = self.folder / str(number) / Path(name).name
        path.parent.mkdir(parents=True)
        try:
            with path.open("wb") as out:
                self.result.size += _copy(file, out, self.size - self.result.size)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self.result.photos.append((name, path))

    def _add_zip(self, file: IO[bytes], name: str) -> None:
        _check_directory(file)
        is_empty = True
        try:
            with zipfile.ZipFile(file) as archive:
                for member in _photos_in(archive):
                    is_empty = False
                    member_name = plain_name(member.filename)
                    try:
                        self._add_member(archive, member, member_name)
                    except PhotoError as error:
                        self.result.refused.append((member_name, str(error)))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError):
            raise PhotoError("a broken zip file") from None
        if is_empty:
            raise PhotoError("no photo in this zip file")

    def _add_member(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> None:
        if member.flag_bits & 0x1:
            raise PhotoError("encrypted; zip it without a password")
        if member.compress_type not in _COMPRESSIONS:
            raise PhotoError("compressed in a way that is not taken; zip it the usual way")
        if member.file_size > self.size - self.result.size:
            raise PhotoError(_TOO_LARGE)
        try:
            with archive.open(member) as file:
                self._add_photo(file, name)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError):
            raise PhotoError("broken inside the zip file") from None


def _copy(file: IO[bytes], out: IO[bytes], limit: int) -> int:
    """Copy at most `limit` bytes; PhotoError if there are more, whatever a header announced."""
    copied = 0
    while block := file.read(1 << 20):
        copied += len(block)
        if copied > limit:
            raise PhotoError(_TOO_LARGE)
        out.write(block)
    return copied


def _photos_in(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    for member in archive.infolist():
        last = member.filename.replace("\\", "/").rpartition("/")[2]
        hidden = last.startswith(".") or member.filename.startswith("__MACOSX/")
        suffix = Path(last).suffix.lower()
        if not hidden and suffix in PHOTO_SUFFIXES | UNSUPPORTED_SUFFIXES:
            yield member


def _check_directory(file: IO[bytes]) -> None:
    """Refuse a list of members so long that reading it is the attack; leaves the file at 0."""
    end = file.seek(0, 2)
    file.seek(max(0, end - _END_RECORD_BYTES))
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < 22:
        raise PhotoError("a broken zip file")
    entries, length = struct.unpack_from("<HL", tail, place + 10)
    if b"PK\x06\x07" in tail[max(0, place - 20) : place]:
        raise PhotoError("a zip64 file; write an ordinary zip file of less than 4 GB")
    if length > _MAX_DIRECTORY_BYTES or entries > _MAX_DIRECTORY_BYTES // 46:
        raise PhotoError("too many files in this zip file")
    file.seek(0)


def zip_results(files: Sequence[tuple[str, Path]], target: Path) -> None:
    """A zip of files by name; photos of one name get a number. Stored: photos are compressed."""
    names: set[str] = set()
    with atomic_open(target) as zipped, zipfile.ZipFile(zipped, "w") as archive:
        for name, path in files:
            stem, suffix = name.removesuffix(path.suffix), path.suffix
            unique, number = name, 2
            while unique.casefold() in names:
                unique, number = f"{stem}-{number}{suffix}", number + 1
            names.add(unique.casefold())
            with path.open("rb") as file, archive.open(unique, "w", force_zip64=True) as out:
                shutil.copyfileobj(file, out, 1 << 20)
