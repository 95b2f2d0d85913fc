"""EXIF blocks edited in place.

A parser that writes the block again moves its values and breaks maker notes, which hold absolute
offsets. Here all values keep their offsets. The first directory is overwritten if its number of
entries stays the same; otherwise a new one is appended and the header points to it.
TIFF 6.0, section 2; EXIF 2.32.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

ORIENTATION = 0x0112
SOFTWARE = 0x0131
EXIF_POINTER = 0x8769
_ASCII = 2
_SHORT = 3


@dataclass(frozen=True)
class _Directory:
    order: str
    """struct's byte order: < or >."""
    entries: dict[int, bytes]
    """Tag -> its 12 bytes."""
    start: int = 0
    """Offset in the block."""
    count: int = -1
    """Entries in the block, of which several may have one tag."""


def orientation(block: bytes | None, default: int = 1) -> int:
    """The orientation, 1 to 8; `default` where there is none, 1 where it cannot be read."""
    directory = _parse(block) if block else None
    if directory is None or ORIENTATION not in directory.entries:
        return default
    _, kind, count, value = struct.unpack(
        directory.order + "HHIH", directory.entries[ORIENTATION][:10]
    )
    return value if kind == _SHORT and count == 1 and 1 <= value <= 8 else 1


def update(block: bytes | None, *, upright: bool = False, software: str | None = None) -> bytes:
    """A block with the orientation reset and the Software tag set, all else kept.

    The link to the thumbnail is dropped, because the thumbnail would show the photo sideways and
    gray. A block that cannot be read is replaced by a new one.

    Args:
        block: an EXIF block (a TIFF header and directories), None for a new one.
        upright: write orientation 1 where the block has one.
        software: text, written as UTF-8; surrogates from `software` are written as their bytes.
    """
    directory = _parse(block) if block else None
    if block is None or directory is None:
        block, directory = b"II*\0\x08\0\0\0", _Directory("<", {})
    order, entries = directory.order, dict(directory.entries)
    if software is not None:
        entries[SOFTWARE] = b""
    length = 2 + 12 * len(entries) + 4
    end = len(block) + len(block) % 2
    in_place = len(entries) == directory.count and directory.start + length <= len(block)
    start = directory.start if in_place else end
    if upright and ORIENTATION in entries:
        entries[ORIENTATION] = struct.pack(order + "HHIHH", ORIENTATION, _SHORT, 1, 1, 0)
    text = b""
    if software is not None:
        text = software.encode("utf-8", "surrogateescape") + b"\0"
        after = end if in_place else end + length
        value = text.ljust(4, b"\0") if len(text) <= 4 else struct.pack(order + "I", after)
        entries[SOFTWARE] = struct.pack(order + "HHI", SOFTWARE, _ASCII, len(text)) + value
    body = b"".join(entries[tag] for tag in sorted(entries))
    directory_bytes = struct.pack(order + "H", len(entries)) + body + b"\0\0\0\0"
    edited = bytearray(block[:4] + struct.pack(order + "I", start) + block[8:])
    if text or not in_place:
        edited = edited.ljust(end, b"\0")
    edited[start : start + length] = directory_bytes
    return bytes(edited) + text


def software(block: bytes | None) -> str | None:
    """The Software tag's text, if there is one; bytes that are not UTF-8 become surrogates."""
    directory = _parse(block) if block else None
    if block is None or directory is None or SOFTWARE not in directory.entries:
        return None
    entry = directory.entries[SOFTWARE]
    count, offset = struct.unpack(directory.order + "II", entry[4:12])
    text = entry[8 : 8 + count] if count <= 4 else block[offset : offset + count]
    return text.rstrip(b"\0").decode("utf-8", "surrogateescape")


def as_bytes(value: Any) -> Any:
    """Text as Pillow reads it (Latin-1) -> its bytes, where Pillow would write question marks."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value


def _parse(block: bytes) -> _Directory | None:
    """The first directory, or None where the block is not one."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return None
    start = struct.unpack(order + "I", block[4:8])[0]
    if not 8 <= start <= len(block) - 2:
        return _Directory(order, {}) if start == 0 else None
    count = struct.unpack_from(order + "H", block, start)[0]
    entries = {}
    for i in range(count):
        entry = block[start + 2 + 12 * i : start + 14 + 12 * i]
        if len(entry) < 12:
            return None
        entries[struct.unpack(order + "H", entry[:2])[0]] = entry
    return _Directory(order, entries, start, count)
