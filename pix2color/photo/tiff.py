"""TIFF: pages, 16 bits per channel, and the tags that must survive.

`tiff_pixels` and `tiff_color` read the pages. tifffile writes them, compressed ones with deflate.
"""

from __future__ import annotations

import contextlib
import io
import logging
import lzma
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

from pix2color.errors import PhotoError
from pix2color.photo import exif, reading, tiff_color, tiff_pixels
from pix2color.photo.photo import Limits, Photo
from pix2color.photo.tiff_pixels import Layout

_ICC, _XMP, _EXIF_IFD, _GPS_IFD = 34675, 700, 34665, 34853
_TEXT_TAGS = (269, 270, 271, 272, 285, 306, 315, 316, 33432)
"""Text of the first directory: document, description, make, model, page, date, artist, host,
copyright."""
_COPIED_TAGS = (33723, 34377)  # IPTC and Photoshop's blocks
_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113)
"""GeoTIFF (OGC 19-008r4) and GDAL's metadata."""
_PLACEHOLDER = {_EXIF_IFD: 65_101, _GPS_IFD: 65_102}
_LARGEST_CLASSIC = 3.8e9  # bytes of pixels
_LARGEST_PIXEL = 8  # bytes of RGBA with 16 bits
_LARGE_TILE = 2**26  # bytes allowed for the tile of a small page
_MOST_PAGES = 1000
_INTEROPERABILITY_IFD = 40965
_BROKEN_TAG = (OSError, SyntaxError, struct.error, ValueError, TypeError, KeyError)
_EXTRA = 0b101  # NewSubfileType: thumbnails and masks

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else it writes to stderr


def decode(data: bytes, limits: Limits) -> Photo:
    """All full-size pages of a TIFF as one Photo with `pages`.

    With `limits.on_truncated` "keep" the pages before a damaged one are kept, with a note.

    Raises:
        PhotoError: above the limits, or a page (with "keep": the first) cannot be read.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages: list[Any] = []
        photos: list[Photo] = []
        notes: tuple[str, ...] = ()
        try:
            for page in _directories(file):
                if not int(page.subfiletype) & _EXTRA:
                    pages.append(page)
        except PhotoError as error:
            notes = _pages_lost(error, pages, limits)
        if not pages:
            raise PhotoError("broken: no page in it")
        _check_pages(pages, limits)
        for number, page in enumerate(pages, 1):
            try:
                photos.append(_page(page, data, limits))
            except (PhotoError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
                if len(pages) == 1:
                    raise
                broken = PhotoError(f"page {number}: {error}")
                notes = _pages_lost(broken, photos, limits)
                break
    first = photos[0]
    return replace(first, pages=tuple(photos[1:]), notes=(*first.notes, *notes))


def _pages_lost(error: PhotoError, before: Sequence[Any], limits: Limits) -> tuple[str, ...]:
    """The note on pages that are left out; raises the error unless this is allowed."""
    if limits.on_truncated != "keep" or not before:
        raise error
    return (f"truncated: only {len(before)} of its pages could be read ({error})",)


def _directories(file: Any) -> Iterator[Any]:
    """The pages in the order of the file's chain of directories.

    Raises:
        PhotoError: the chain is broken, or has too many pages.
    """
    form, handle = file.tiff, file.filehandle
    offset, seen = file.pages[0].offset, set[int]()
    while offset:
        if offset in seen:  # a cycle: all its pages have been yielded
            return
        if len(seen) == _MOST_PAGES:
            raise PhotoError(f"more than {_MOST_PAGES} pages; split the file")
        seen.add(offset)
        try:
            handle.seek(offset)
            page = tifffile.TiffPage(file, len(seen) - 1)
            handle.seek(offset)
            (count,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
            handle.seek(offset + form.tagnosize + count * form.tagsize)
            (offset,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
        except (struct.error, OSError, ValueError) as error:  # tifffile's own is a ValueError
            raise PhotoError(f"broken or truncated: page {len(seen)}: {error}") from None
        yield page


def _check_pages(pages: list[Any], limits: Limits) -> None:
    """Raise PhotoError for pages above the size limit, from their headers."""
    total = sum(p.imagewidth * p.imagelength for p in pages)
    largest = max(pages, key=lambda p: p.imagewidth * p.imagelength)
    size = (largest.imagewidth, largest.imagelength)
    reading.check_size(size, -(-total // max(1, size[0] * size[1])), limits)


def _check_bytes(layout: Layout, limits: Limits) -> None:
    """Raise PhotoError for samples, or a tile, of more bytes than 16-bit RGBA at the size limit."""
    most = limits.megapixels * 1e6 * _LARGEST_PIXEL
    samples = layout.width * layout.height * layout.samples * (1 if layout.bits <= 8 else 2)
    if max(samples, layout.segment_bytes - _LARGE_TILE) > most:
        raise PhotoError(
            f"{layout.samples} samples per pixel ({samples / 1e6:.0f} MB) are above the limit of "
            f"{most / 1e6:.0f} MB; save it as gray or RGB first"
        )


def _page(page: Any, data: bytes, limits: Limits) -> Photo:
    layout = Layout(page, data)
    _check_bytes(layout, limits)
    samples = tiff_pixels.decode(layout, data)
    pixels, alpha, mode, notes = tiff_color.interpret(layout, samples)
    tags = page.tags
    resolution = [_ratio(tags.valueof(code)) for code in (282, 283)]
    scale = {2: 1.0, 3: 2.54}.get(int(tags.valueof(296, 2)), 0.0)  # dots per inch or centimeter
    info: dict[str, Any] = {
        "exif": _exif_block(data, page),
        "icc_profile": _raw(data, tags.get(_ICC)),
        "xmp": _raw(data, tags.get(_XMP)),
        "dpi": tuple(r * scale for r in resolution),
    }
    settings: dict[str, Any] = {"compression": "zlib" if layout.compression != 1 else None}
    # GeoTIFF's coordinates count rows and columns as stored.
    codes = _COPIED_TAGS + (_GEO_TAGS if exif.orientation(info["exif"]) == 1 else ())
    copied = {code: _copied(data, tag) for code in codes if (tag := tags.get(code)) is not None}
    if copied:
        settings["tags"] = copied
    return reading.build_photo(pixels, alpha, "TIFF", settings, info, mode=mode, notes=notes)


def _ratio(value: Any) -> float:
    try:
        return float(value[0]) / float(value[1])
    except (TypeError, IndexError, ZeroDivisionError):
        return 0.0


def _raw(data: bytes, tag: Any) -> bytes | None:
    """A tag's value as its bytes in the file; None where it is missing or empty."""
    if tag is None:
        return None
    return data[tag.valueoffset : tag.valueoffset + tag.valuebytecount] or None


def _copied(data: bytes, tag: Any) -> tuple[int, int, Any]:
    """A tag as (type, count, value) for writing; texts and blocks as bytes."""
    kind = int(tag.dtype)
    if kind in (1, 2, 6, 7):
        return kind, int(tag.count), _raw(data, tag) or b""
    return kind, int(tag.count), tag.value


def _exif_block(data: bytes, page: Any) -> bytes | None:
    """The readable descriptive tags of a page as an EXIF block."""
    block = Image.Exif()
    for code in (*_TEXT_TAGS, 305):  # tifffile writes some twice: the first counts
        text = (_raw(data, page.tags.get(code)) or b"").split(b"\0")[0]
        if text:
            block[code] = exif.as_bytes(text.decode("latin-1"))
    main = _directory(data, page.offset, None, (274, _EXIF_IFD, _GPS_IFD))
    for code, value in main.items():
        if code not in (_EXIF_IFD, _GPS_IFD):
            block[code] = value
        elif isinstance(value, int) and (directory := _directory(data, value, code)):
            block.get_ifd(code).update(directory)
            block[code] = directory
    return block.tobytes().removeprefix(b"Exif\0\0") if len(block) else None


def _directory(
    data: bytes, offset: int, group: int | None, codes: tuple[int, ...] = ()
) -> dict[int, Any]:
    """The tags of a directory (of `codes`, if given) that can be read and written again."""
    file = io.BytesIO(data)
    values: dict[int, Any] = {}
    with contextlib.suppress(*_BROKEN_TAG):
        head = data[: 16 if 43 in data[2:4] else 8]  # BigTIFF
        ifd = TiffImagePlugin.ImageFileDirectory_v2(head, group=group)
        file.seek(offset)
        ifd.load(file)
        for code in codes or set(ifd) - {_INTEROPERABILITY_IFD}:  # its pointer would be wrong
            with contextlib.suppress(*_BROKEN_TAG):
                single = TiffImagePlugin.ImageFileDirectory_v2(group=group)
                single[code] = value = exif.as_bytes(ifd[code])
                single.tobytes()
                values[code] = value
    return values


# --- writing -------------------------------------------------------------------------------------


def encode(photo: Photo, file: BinaryIO) -> None:
    """Write all pages into an open file (which must seek and read)."""
    pages = (photo, *photo.pages)
    size = sum(p.pixels.nbytes + (0 if p.alpha is None else p.alpha.nbytes) for p in pages)
    big = size > _LARGEST_CLASSIC
    directories = []
    with tifffile.TiffWriter(file, bigtiff=big, byteorder="<") as writer:
        for page in pages:
            # EXIF's directory is a classic one; a BigTIFF keeps the text tags alone.
            tags, subdirectories = _tags_of(page, directories=not big)
            directories.append(subdirectories)
            _write_page(writer, page, tags)
    if any(directories):
        _append_ifds(file, directories)


def _write_page(writer: Any, page: Photo, tags: list[tuple[Any, ...]]) -> None:
    samples = [page.pixels if page.pixels.ndim == 3 else page.pixels[..., None]]
    if page.alpha is not None:
        samples.append(page.alpha[..., None])
    array = np.concatenate(samples, axis=2) if len(samples) > 1 else samples[0]
    if array.shape[2] == 1:
        array = array[..., 0]
    compression = page.encoder_settings.get("compression")
    writer.write(
        array,
        photometric="minisblack" if page.is_gray else "rgb",
        planarconfig=None if array.ndim == 2 else "contig",
        extrasamples=None if page.alpha is None else ["unassalpha"],
        compression=compression,
        predictor=True if compression else None,
        rowsperstrip=max(1, 2**18 // (array.shape[1] * array.itemsize * 3)),
        resolution=page.dpi,
        resolutionunit="inch" if page.dpi else None,
        software=False,
        metadata=None,
        extratags=tags,
    )


def _tags_of(page: Photo, *, directories: bool) -> tuple[list[tuple[Any, ...]], dict[int, Any]]:
    """tifffile's extra tags of a page, and the EXIF and GPS directories to append."""
    copied = page.encoder_settings.get("tags", {})
    tags = [(code, kind, count, value, False) for code, (kind, count, value) in copied.items()]
    appended: dict[int, Any] = {}
    if page.exif:
        block = Image.Exif()
        block.load(b"Exif\0\0" + page.exif)
        for code, value in sorted(block.items()):
            if code in (*_TEXT_TAGS, 305) and isinstance(value, str):
                text = value.encode("latin-1") + b"\0"  # its bytes, as Pillow reads them
                tags.append((code, 2, len(text), text, False))
        for code in (_EXIF_IFD, _GPS_IFD):
            directory = block.get_ifd(code)
            if directory and directories:
                appended[code] = directory
                tags.append((_PLACEHOLDER[code], 4, 1, 0, False))
    for code, blob in ((_ICC, page.icc), (_XMP, page.xmp)):
        if blob:
            tags.append((code, 7 if code == _ICC else 1, len(blob), blob, False))
    return tags, appended


def _append_ifds(file: BinaryIO, directories: list[dict[int, Any]]) -> None:
    """Write EXIF and GPS directories at the end and point the pages' tags at them.

    tifffile writes neither tag: the pages have placeholders, which are renamed and sorted here.
    """
    file.seek(0)
    with tifffile.TiffFile(file) as reader:
        starts = [page.offset for page in reader.pages]
    for start, appended in zip(starts, directories, strict=True):
        pointers = {
            _PLACEHOLDER[code]: (code, 4, 1, _append_ifd(file, directory))
            for code, directory in appended.items()
        }
        file.seek(start)
        (count,) = struct.unpack("<H", file.read(2))
        entries = [file.read(12) for _ in range(count)]
        for i, entry in enumerate(entries):
            (tag,) = struct.unpack("<H", entry[:2])
            if tag in pointers:
                entries[i] = struct.pack("<HHII", *pointers[tag])
        file.seek(start + 2)
        entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
        file.write(b"".join(entries))


def _append_ifd(file: BinaryIO, directory: Any) -> int:
    """Write a directory at the end of the file; returns its offset."""
    start = file.seek(0, io.SEEK_END)
    if start % 2:
        file.write(b"\0")
        start += 1
    ifd = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    for tag, value in directory.items():
        ifd[tag] = exif.as_bytes(value)
    file.write(ifd.tobytes(start))
    return start
