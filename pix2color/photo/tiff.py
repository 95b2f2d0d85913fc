"""TIFF: pages, 16 bits, and the tags that must survive.

tifffile reads and writes what it can by itself; compressions it lacks (LZW, JPEG, CCITT, PackBits)
are decoded by Pillow and come back as deflate.
"""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

from pix2color.errors import PhotoError
from pix2color.photo import exif, reading
from pix2color.photo.photo import Limits, Photo, Pixels

_ICC, _XMP, _EXIF_IFD, _GPS_IFD = 34675, 700, 34665, 34853
_KEPT_TAGS = (269, 270, 271, 272, 285, 306, 315, 316, 33432)
"""Text of the first directory: document, description, make, model, page, date, artist, host,
copyright."""
_OPAQUE_TAGS = (33723, 34377)  # IPTC and Photoshop's blocks, copied as they are
_PLACEHOLDER = {_EXIF_IFD: 65_101, _GPS_IFD: 65_102}
_LARGEST_CLASSIC = 3.8e9  # bytes of pixels
_OWN = (1, 8, 32946)  # compressions tifffile decodes without help
_TRANSPARENT = (0, 1, 2)


def decode(data: bytes, limits: Limits) -> Photo:
    """All full-size pages of a TIFF as one Photo with `pages`."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        every: list[Any] = list(file.pages)
        pages = [(i, p) for i, p in enumerate(every) if not _is_extra(p)]
        if not pages:
            raise PhotoError("broken: no page in it")
        total = sum(p.imagewidth * p.imagelength for _, p in pages)
        largest = max((p for _, p in pages), key=lambda p: p.imagewidth * p.imagelength)
        size = (largest.imagewidth, largest.imagelength)
        reading.check_size(size, -(-total // max(1, size[0] * size[1])), limits)
        photos = [_page(page, index, data) for index, page in pages]
    return replace(photos[0], pages=tuple(photos[1:]))


def _is_extra(page: Any) -> bool:
    """Thumbnails and masks, marked by NewSubfileType."""
    kind = page.tags.get(254)
    return kind is not None and bool(int(kind.value) & 0b101)


def _page(page: Any, index: int, data: bytes) -> Photo:
    tags = page.tags
    try:
        image = _pillow(data, index)
        block = _exif_block(image)
    except (OSError, SyntaxError):  # a layout that Pillow does not know; tifffile may
        image, block = Image.new("L", (1, 1)), None
    image.info.pop("transparency", None)
    pixels, alpha = _pixels(page, image, data, index)
    info = image.info
    info["exif"] = block
    info["icc_profile"] = _bytes_of(tags, _ICC)
    info["xmp"] = _bytes_of(tags, _XMP)
    compression = "zlib" if int(page.compression) != 1 else None
    settings: dict[str, Any] = {"compression": compression}
    opaque = {code: blob for code in _OPAQUE_TAGS if (blob := _bytes_of(tags, code))}
    if opaque:
        settings["tags"] = opaque
    return reading.finished(image, pixels, alpha, "TIFF", settings)


def _pillow(data: bytes, index: int) -> Any:
    image = reading.opened(data, "TIFF")
    image.seek(index)
    return image


def _bytes_of(tags: Any, code: int) -> bytes | None:
    tag = tags.get(code)
    if tag is None:
        return None
    value = tag.value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, tuple | np.ndarray):
        return np.asarray(value).astype(np.uint8).tobytes()
    return bytes(value) or None


def _pixels(page: Any, image: Any, data: bytes, index: int) -> tuple[Pixels, Pixels | None]:
    if page.sampleformat not in (1, None) and page.dtype not in (np.uint8, np.uint16):
        raise PhotoError(f"{page.dtype} pixels; save it with 8 or 16 bits a channel first")
    plain = page.dtype in (np.uint8, np.uint16) and page.bitspersample in (8, 16)
    if plain and int(page.compression) in _OWN and int(page.photometric) in _TRANSPARENT:
        return _arranged(page, page.asarray())
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        raise PhotoError(f"a TIFF layout that cannot be read ({page.photometric.name})")
    arguments: Any = image.tile[0].args if image.tile else ("",)
    rawmode = str(arguments[0])
    if page.dtype == np.uint16 and ";16" in rawmode and not rawmode.startswith("I"):
        if image.mode == "CMYK":  # Pillow's colour management has 8 bits for CMYK
            return np.array(image), None
        return _arranged(page, _both_bytes(data, index, image, rawmode))
    return reading.pixels_of(image, "TIFF")


def _both_bytes(data: bytes, index: int, image: Any, rawmode: str) -> Pixels:
    """16 bits a channel that Pillow reads as 8: once each for the high and the low bytes."""
    other = {"L": "B", "B": "L", "N": "B"}[rawmode[-1]]
    high = np.array(image).astype(np.uint16)
    again = _pillow(data, index)
    again.tile = [t._replace(args=(rawmode[:-1] + other, *t.args[1:])) for t in again.tile]
    return high << 8 | np.array(again)


def _arranged(page: Any, array: Pixels) -> tuple[Pixels, Pixels | None]:
    """tifffile's axes -> H,W | H,W,3 and alpha, black at 0."""
    if array.ndim == 3 and page.planarconfig == 2 and array.shape[0] == page.samplesperpixel:
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3):
        raise PhotoError(f"{array.ndim} dimensions; only pages of plain pictures are coloured")
    array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if int(page.photometric) == 0:
        array = np.iinfo(array.dtype).max - array
    if array.ndim == 2:
        return array, None
    colours = 3 if int(page.photometric) == 2 or array.shape[2] in (3, 4) else 1
    colour = array[..., 0] if colours == 1 else array[..., :3]
    alpha = array[..., colours] if array.shape[2] > colours and _has_alpha(page) else None
    if alpha is not None and int(page.extrasamples[0]) == 1:
        colour = _unassociated(colour, alpha)
    colour = np.ascontiguousarray(colour)
    return colour, None if alpha is None else np.ascontiguousarray(alpha)


def _has_alpha(page: Any) -> bool:
    extra: Any = getattr(page, "extrasamples", ())
    return bool(extra) and int(extra[0]) in (1, 2)


def _unassociated(colour: Pixels, alpha: Pixels) -> Pixels:
    """Colour that was multiplied by alpha, as it was before."""
    top = float(np.iinfo(colour.dtype).max)
    factor = top / np.maximum(alpha, 1).astype(np.float64)
    if colour.ndim == 3:
        factor = factor[..., None]
    return np.minimum(np.rint(colour * factor), top).astype(colour.dtype)


def _exif_block(image: Any) -> bytes | None:
    """The descriptive tags of a page as an EXIF block."""
    source = image.getexif()
    block = Image.Exif()
    for code in (*_KEPT_TAGS, 274, 305):
        if code in source:
            block[code] = exif.as_bytes(source[code])
    for code in (_EXIF_IFD, _GPS_IFD):
        directory = {tag: exif.as_bytes(value) for tag, value in source.get_ifd(code).items()}
        if directory:
            block.get_ifd(code).update(directory)
            block[code] = directory
    return block.tobytes().removeprefix(b"Exif\0\0") if len(block) else None


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
        _append_directories(file, directories)


def _write_page(writer: Any, page: Photo, tags: list[tuple[Any, ...]]) -> None:
    samples = [page.pixels if page.pixels.ndim == 3 else page.pixels[..., None]]
    if page.alpha is not None:
        samples.append(page.alpha[..., None])
    array = np.concatenate(samples, axis=2) if len(samples) > 1 else samples[0]
    if array.shape[2] == 1:
        array = array[..., 0]
    compression = page.settings.get("compression")
    writer.write(
        array,
        photometric="minisblack" if page.gray else "rgb",
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
    """tifffile's extra tags of a page, and the EXIF and GPS directories still to be appended."""
    tags: list[tuple[Any, ...]] = []
    appended: dict[int, Any] = {}
    if page.exif:
        block = Image.Exif()
        block.load(b"Exif\0\0" + page.exif)
        for code, value in sorted(block.items()):
            if code in (*_KEPT_TAGS, 305) and isinstance(value, str):
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
    for code, blob in page.settings.get("tags", {}).items():
        tags.append((code, 7, len(blob), blob, False))
    return tags, appended


def _append_directories(file: BinaryIO, directories: list[dict[int, Any]]) -> None:
    """Write EXIF and GPS directories at the end and point the pages' tags at them.

    tifffile writes neither tag, so the pages hold placeholders, renamed and put in order here.
    """
    file.seek(0)
    with tifffile.TiffFile(file) as reader:
        starts = [page.offset for page in reader.pages]
    for start, wanted in zip(starts, directories, strict=True):
        places = {}
        for code, directory in wanted.items():
            places[_PLACEHOLDER[code]] = (code, _appended(file, directory))
        file.seek(start)
        (count,) = struct.unpack("<H", file.read(2))
        entries = [file.read(12) for _ in range(count)]
        for i, entry in enumerate(entries):
            placeholder = struct.unpack("<H", entry[:2])[0]
            if placeholder in places:
                entries[i] = struct.pack(
                    "<HHII", places[placeholder][0], 4, 1, places[placeholder][1]
                )
        file.seek(start + 2)
        entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
        file.write(b"".join(entries))


def _appended(file: BinaryIO, directory: Any) -> int:
    """Write a directory at the end of the file; returns where."""
    start = file.seek(0, io.SEEK_END)
    if start % 2:
        file.write(b"\0")
        start += 1
    ifd = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    for tag, value in directory.items():
        ifd[tag] = exif.as_bytes(value)
    file.write(ifd.tobytes(start))
    return start
