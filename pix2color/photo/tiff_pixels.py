"""TIFF pages -> samples: segments are decompressed, unpacked and joined for every layout.

tifffile parses the tags. For LZW, PackBits, zstd, JPEG and CCITT it needs imagecodecs, which adds
26 MB of download and 79 MB on disk, saves some 70 lines here, and decodes damaged CCITT strips
without an error (200 of 200 tried). Instead Pillow's libtiff decompresses each segment as a row of
bytes (JPEG and WebP segments go to the plugins of these formats), so that Pillow's modes, alpha,
orientation and depths do not matter. TIFF 6.0; TIFF Technical Notes 1 and 2.
"""

from __future__ import annotations

import contextlib
import functools
import io
import lzma
import os
import re
import struct
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, TiffImagePlugin, WebPImagePlugin

from pix2color.errors import PhotoError

NONE, CCITT, LZW, OLD_JPEG, JPEG, DEFLATE = 1, (2, 3, 4), 5, 6, 7, 8
PACKBITS, OLD_DEFLATE, LZMA, ZSTD, WEBP = 32773, 32946, 34925, 50000, 50001
GROUP4 = 4
YCBCR = 6
_BY_LIBTIFF = (*CCITT, LZW, PACKBITS, ZSTD)
_JPEGS = (OLD_JPEG, JPEG)
IMAGES = (*_JPEGS, WEBP)
_KNOWN = (NONE, DEFLATE, OLD_DEFLATE, LZMA, *_BY_LIBTIFF, *IMAGES)
_MESSAGE = re.compile(rb"((Fax|LZW|PackBits|ZSTD|_?TIFF)\w*|tempfile\.tif): ")
_stderr = threading.Lock()

Samples = NDArray[Any]


class Layout:
    """The layout of a page's samples in its file, read from the tags and checked."""

    def __init__(self, page: Any, data: bytes) -> None:
        self.page = page
        self.width, self.height = int(page.imagewidth), int(page.imagelength)
        self.samples = int(page.samplesperpixel)
        self.compression = int(page.compression)
        self.photometric = int(page.photometric)
        self.bits = _bits(page)
        self.separate = int(page.planarconfig) == 2 and self.samples > 1
        self.channels = 1 if self.separate else self.samples
        """Samples of one pixel in one segment."""
        self.columns = int(page.tilewidth) if page.is_tiled else self.width
        self.rows = int(page.tilelength) if page.is_tiled else min(page.rowsperstrip, self.height)
        self.offsets, self.counts = page.dataoffsets, page.databytecounts
        if self.compression == OLD_JPEG:  # the variant that is a JPEG file, by Kofax and Wang
            start = _number(page, 513)
            self.rows, self.offsets = self.height, (start,)
            self.counts = (_number(page, 514) or len(data) - start,)
            if self.photometric == YCBCR:
                self.samples = self.channels = 3
        subsampled = self.photometric == YCBCR and self.compression not in IMAGES
        self.subsampling: tuple[int, int] = (1, 1)
        if subsampled:
            across, down = page.tags.valueof(530, (2, 2))
            self.subsampling = int(across), int(down)
        _check_layout(self)
        self.across = -(-self.width // self.columns)
        self.down = -(-self.height // self.rows)

    @property
    def segment_bytes(self) -> int:
        """Bytes of one full decompressed segment."""
        return self.bytes_of(self.rows)

    @property
    def total_bytes(self) -> int:
        """Bytes of all decompressed segments."""
        planes = self.samples // self.channels
        return self.segment_bytes * self.across * self.down * planes

    def bytes_of(self, rows: int) -> int:
        """Bytes of a decompressed segment of `rows` rows."""
        across, down = self.subsampling
        if (across, down) != (1, 1):
            return -(-rows // down) * -(-self.columns // across) * (across * down + 2)
        return rows * -(-self.columns * self.channels * self.bits // 8)


def _number(page: Any, code: int) -> int:
    """A tag's first value; 0 where it is missing."""
    value = page.tags.valueof(code, 0)
    return int(value[0] if isinstance(value, tuple) else value)


def _bits(page: Any) -> int:
    bits = page.bitspersample
    if isinstance(bits, tuple):
        if len(set(bits)) > 1:
            raise PhotoError(f"{bits} bits per sample; save it with 8 or 16 bits per channel first")
        bits = bits[0]
    kind = page.sampleformat or 1
    if int(kind) not in (1, 2, 4) or not 1 <= int(bits) <= 16:
        kinds = {3: "floating-point", 5: "complex", 6: "complex"}
        words = kinds.get(int(kind), f"{bits}-bit")
        raise PhotoError(f"{words} pixels; save it with 8 or 16 bits per channel first")
    return int(bits)


def _check_layout(layout: Layout) -> None:
    page = layout.page
    if layout.compression not in _KNOWN:
        name = getattr(page.compression, "name", layout.compression)
        raise PhotoError(f"TIFF compression {name} cannot be read; save it with LZW or deflate")
    if int(page.imagedepth) != 1 or int(page.tags.valueof(32998, 1)) != 1:
        raise PhotoError("a volume of several layers; only pages with one image are colored")
    if min(layout.width, layout.height, layout.columns, layout.rows, layout.samples) < 1:
        raise PhotoError("broken: its header gives no size")
    if layout.compression in CCITT and (layout.bits, layout.channels) != (1, 1):
        raise PhotoError("broken: CCITT compression of more than one bit")
    if layout.subsampling != (1, 1) and (
        layout.separate
        or (layout.bits, layout.samples) != (8, 3)
        or not {*layout.subsampling} <= {1, 2, 4}
    ):
        raise PhotoError("broken: chroma subsampling of pixels that cannot have it")
    if int(page.predictor) not in (1, 2):
        raise PhotoError(f"TIFF predictor {int(page.predictor)} cannot be read")


def decode(layout: Layout, data: bytes) -> Samples:
    """All samples of a page: H,W,S, uint8 up to 8 bits and uint16 above, values as stored.

    The colors of JPEG and WebP segments come back as RGB, YCbCr otherwise with its chroma at full
    size.

    Raises:
        PhotoError: a segment is missing, too short or damaged, or libtiff complains about it.
    """
    page = layout.page
    kind = np.uint8 if layout.bits <= 8 else np.uint16
    out = np.empty((layout.height, layout.width, layout.samples), kind)
    planes = layout.samples // layout.channels
    count = planes * layout.down * layout.across
    if min(len(layout.offsets), len(layout.counts)) < count:
        raise PhotoError("broken or truncated: strips or tiles are missing")
    with _libtiff_errors(layout.compression in _BY_LIBTIFF):
        for index in range(count):
            plane, tile = divmod(index, layout.down * layout.across)
            top = tile // layout.across * layout.rows
            left = tile % layout.across * layout.columns
            start, size = int(layout.offsets[index]), int(layout.counts[index])
            rows = layout.rows if page.is_tiled else min(layout.rows, layout.height - top)
            if layout.compression == NONE:  # some writers store a wrong count
                size = layout.bytes_of(rows)
            if size < 1 or start < 1 or start + size > len(data):
                raise PhotoError("broken or truncated: it ends before its pixels do")
            segment = _segment(layout, data[start : start + size], rows)
            target = out[top : top + layout.rows, left : left + layout.columns]
            target = target[..., plane : plane + layout.channels]
            target[...] = segment[: target.shape[0], : target.shape[1]]
    return out


def _segment(layout: Layout, data: bytes, rows: int) -> Samples:
    """One strip or tile -> rows,columns,channels."""
    page = layout.page
    if layout.compression in IMAGES:
        return _image_segment(layout, data, rows)
    if int(page.fillorder) == 2:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        data = np.packbits(bits).tobytes()
    size = layout.bytes_of(rows)
    raw = _decompressed(layout, data, rows, size)
    if len(raw) < size:
        raise PhotoError("broken or truncated: a strip or tile ends before its pixels do")
    if layout.subsampling != (1, 1):
        return _full_chroma(raw[:size], rows, layout)
    samples = _unpacked(raw[:size], rows, layout)
    if int(page.predictor) == 2:
        np.add.accumulate(samples, axis=1, dtype=samples.dtype, out=samples)
    return samples


def _decompressed(layout: Layout, data: bytes, rows: int, size: int) -> bytes:
    match layout.compression:
        case 1:
            return data
        case 8 | 32946:
            return zlib.decompressobj().decompress(data, size)
        case 34925:
            return lzma.LZMADecompressor().decompress(data, size)
        case 4:
            return _group4(data, layout.columns, rows)
        case 2 | 3:
            options = _number(layout.page, 292)
            return _by_libtiff([data], layout.columns, rows, layout.compression, options)
        case _:
            return _by_libtiff([data], size, 1, layout.compression)


def _unpacked(raw: bytes, rows: int, layout: Layout) -> Samples:
    """Bytes of complete rows -> rows,columns,channels, writable."""
    shape = (rows, layout.columns, layout.channels)
    if layout.bits == 8:
        return np.frombuffer(bytearray(raw), np.uint8).reshape(shape)
    if layout.bits == 16:
        order = layout.page.parent.byteorder
        return np.frombuffer(raw, order + "u2").astype(np.uint16).reshape(shape)
    bits = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(rows, -1), axis=1)
    bits = bits[:, : layout.columns * layout.channels * layout.bits].reshape(*shape, layout.bits)
    kind: Any = np.uint8 if layout.bits <= 8 else np.uint16
    out = np.zeros(shape, kind)
    for bit in range(layout.bits):
        out = out << 1 | bits[..., bit]
    return out


def _full_chroma(raw: bytes, rows: int, layout: Layout) -> Samples:
    """Blocks of across*down lumas, Cb and Cr -> rows,columns,3 with each chroma value repeated."""
    across, down = layout.subsampling
    wide, high = -(-layout.columns // across), -(-rows // down)
    blocks = np.frombuffer(raw, np.uint8).reshape(high, wide, across * down + 2)
    luma = blocks[..., :-2].reshape(high, wide, down, across).swapaxes(1, 2)
    chroma = blocks[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    pixels = np.dstack((luma.reshape(high * down, wide * across), chroma))
    return np.ascontiguousarray(pixels[:rows, : layout.columns])


def _image_segment(layout: Layout, data: bytes, rows: int) -> Samples:
    """A segment that is a JPEG or WebP file itself -> rows,columns,channels."""
    if layout.bits != 8:
        raise PhotoError(f"JPEG with {layout.bits} bits per sample cannot be read")
    plugin: Callable[..., Any]
    if layout.compression == WEBP:
        plugin = WebPImagePlugin.WebPImageFile
    else:
        plugin = JpegImagePlugin.JpegImageFile
        data = data if layout.compression == OLD_JPEG else _complete_jpeg(data, layout)
    image = plugin(io.BytesIO(data))
    width, height = image.size
    if width < layout.columns or height < rows:
        raise PhotoError("broken: a strip or tile smaller than its page says")
    if width * height > 4 * layout.columns * rows + 2**16:
        raise PhotoError("broken: a strip or tile larger than its page says")
    samples = np.asarray(image)
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.shape[2] == 4 and layout.compression in _JPEGS:
        samples = 255 - samples  # Pillow inverts the CMYK of every JPEG
    if samples.shape[2] < layout.channels:
        raise PhotoError("broken: a strip or tile with fewer channels than its page")
    return samples[:rows, : layout.columns, : layout.channels]


def _complete_jpeg(data: bytes, layout: Layout) -> bytes:
    """A JPEG file of a segment, the tables of its page and an Adobe marker for the color space."""
    tables = layout.page.tags.valueof(347, b"") or b""
    if not isinstance(tables, bytes):
        tables = bytes(tables)
    transform = int(layout.photometric == YCBCR and not layout.separate)
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])
    return b"\xff\xd8" + adobe + tables[2:-2] + data[2:]


# --- Pillow's libtiff ----------------------------------------------------------------------------


def _by_libtiff(
    segments: list[bytes], columns: int, rows: int, compression: int, options: int = 0
) -> bytes:
    """Decompress strips of `rows` rows of `columns` bytes (CCITT: pixels); returns the last one."""
    bilevel = compression in CCITT
    n = len(segments)
    entries = [
        (256, 4, 1, columns), (257, 4, 1, rows * n), (258, 3, 1, 1 if bilevel else 8),
        (259, 3, 1, compression), (262, 3, 1, 1), (277, 3, 1, 1), (278, 4, 1, rows),
    ]  # fmt: skip
    if options:
        entries.append((292, 4, 1, options))
    start = 8 + 2 + 12 * (len(entries) + 2) + 4
    sizes = [len(s) for s in segments]
    offsets = [start + 8 * n + sum(sizes[:i]) for i in range(n)]
    if n == 1:
        starts, counts = offsets[0], sizes[0]
    else:
        starts, counts = start, start + 4 * n
    tail = struct.pack(f"<{2 * n}I", *offsets, *sizes) + b"".join(segments)
    entries += [(273, 4, n, starts), (279, 4, n, counts)]
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4)
    raw: bytes = TiffImagePlugin.TiffImageFile(io.BytesIO(head + tail)).tobytes()
    return raw[len(raw) // n * (n - 1) :]


def _group4(data: bytes, columns: int, rows: int) -> bytes:
    """A Group 4 strip decompressed, with every one of its rows.

    After an invalid code or an early end libtiff returns success and does not write the remaining
    rows. So the strip is decoded twice, after a white and after a black one in the same memory:
    rows that differ were not written.
    """
    decoded = [
        _by_libtiff([_plain_group4(columns, rows, value), data], columns, rows, GROUP4)
        for value in (0, 1)
    ]
    if decoded[0] != decoded[1]:
        raise PhotoError("broken or truncated: its CCITT data end before its pixels do")
    return decoded[0]


@functools.lru_cache(maxsize=8)
def _plain_group4(columns: int, rows: int, value: int) -> bytes:
    """A Group 4 strip of one value."""
    file = io.BytesIO()
    image = Image.new("1", (columns, rows), value)
    image.save(file, "TIFF", compression="group4", strip_size=2**31 - 1)
    tags = TiffImagePlugin.TiffImageFile(io.BytesIO(file.getvalue())).tag_v2
    (start,), (size,) = tags[273], tags[279]
    return file.getvalue()[start : start + size]


@contextlib.contextmanager
def _libtiff_errors(used: bool) -> Iterator[None]:
    """Turn the messages of libtiff, which it can only write to stderr, into a PhotoError.

    Meanwhile the process's stderr is a file. Other output in it is written to stderr afterwards.
    """
    if not used:
        yield
        return
    with _stderr, tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        try:
            stderr: int | None = os.dup(2)
        except OSError:  # a process without stderr
            stderr = None
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            if stderr is None:
                os.close(2)
            else:
                os.dup2(stderr, 2)
                os.close(stderr)
            file.seek(0)
            lines = file.read().splitlines(keepends=True)
            messages = [line for line in lines if _MESSAGE.match(line)]
            others = b"".join(line for line in lines if not _MESSAGE.match(line))
            if others and stderr is not None:
                os.write(2, others)
        errors = [line for line in messages if b": Warning, " not in line]
        if errors:
            text = errors[0].decode("ascii", "replace").strip()
            raise PhotoError(f"broken or truncated: {text}")
