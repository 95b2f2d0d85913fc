"""TIFF layouts, each read back to the code value that was written.

What is expected comes from the written array by the arithmetic of this file. tifffile and Pillow's
libtiff say beside it, for the layouts that they can read, that the files are what they should be.
"""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import tifffile
from PIL import Image
from tiff_files import COMPRESSIONS, tiff

from pix2color.photo import read

HEIGHT, WIDTH = 11, 13
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
ALPHAS = {"none": (), "associated": (1,), "unassociated": (2,), "unknown": (0,)}
BYTE_CODECS = ("none", "lzw", "deflate", "old_deflate", "packbits", "zstd", "lzma")


def samples(bits: int, colors: int, alpha: str) -> np.ndarray:
    """H,W,S stored values; with associated alpha no color is above it."""
    random = np.random.default_rng(bits * 10 + colors)
    top = 2**bits - 1
    kind = np.uint8 if bits <= 8 else np.uint16
    values = random.integers(0, top + 1, (HEIGHT, WIDTH, colors + bool(ALPHAS[alpha])))
    if alpha == "associated":
        values[..., :-1] = values[..., :-1] * values[..., -1:] // top
    return values.astype(kind)


def expected(stored: np.ndarray, bits: int, photometric: int, alpha: str) -> tuple:
    """Color and alpha as they are to be read, at 8 or 16 bits."""
    top = 2**bits - 1
    full = 255 if bits <= 8 else 65535
    colors = 3 if photometric == RGB else 1
    color = stored[..., :colors].astype(np.float64) / top
    opacity = None
    if alpha in ("associated", "unassociated"):
        opacity = stored[..., colors].astype(np.float64) / top
    if alpha == "associated":
        color = np.minimum(color / np.maximum(opacity, 1 / full)[..., None], 1)
    color = np.rint(color * full)
    if photometric == WHITE_IS_ZERO:
        color = full - color
    return color.squeeze(), None if opacity is None else np.rint(opacity * full)


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """As EXIF's orientation says it is to be seen: rows and columns named by their edges."""
    rows, columns = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }[orientation]  # fmt: skip
    if columns in ("top", "bottom"):  # the first stored column is the top or bottom of the picture
        array = np.swapaxes(array, 0, 1)
        rows, columns = columns, rows
    array = array[::-1] if rows == "bottom" else array
    return array[:, ::-1] if columns == "right" else array


def check(data: bytes, color: np.ndarray, alpha: np.ndarray | None) -> None:
    photo = read(data)
    assert photo.pixels.shape == color.shape
    # Rounding of the division by alpha may fall either way at an exact half.
    assert np.abs(photo.pixels.astype(int) - color).max() <= (alpha is not None)
    assert (photo.alpha is None) == (alpha is None)
    if alpha is not None:
        assert (photo.alpha == alpha).all()
        assert (photo.pixels == color).mean() > 0.97


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("separate", [False, True], ids=["chunky", "planes"])
@pytest.mark.parametrize("bits", [1, 8, 16])
@pytest.mark.parametrize("compression", BYTE_CODECS)
def test_every_layout_is_read_exactly(
    compression: str, bits: int, separate: bool, order: str
) -> None:
    predictors = (False, True) if bits in (8, 16) else (False,)
    for photometric, alpha, predictor in itertools.product(
        (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB), ALPHAS, predictors
    ):
        stored = samples(bits, 3 if photometric == RGB else 1, alpha)
        data = tiff(
            stored, photometric=photometric, bits=bits, compression=compression,
            separate=separate, extra=ALPHAS[alpha], order=order, predictor=predictor,
        )  # fmt: skip
        check(data, *expected(stored, bits, photometric, alpha))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [*COMPRESSIONS, "jpeg"])
def test_orientation_is_applied_once_for_every_compression(
    compression: str, orientation: int
) -> None:
    bilevel = compression in ("rle", "group3", "group4")
    stored = samples(1 if bilevel else 8, 1, "none")
    if compression == "jpeg":
        buffer = io.BytesIO()
        Image.fromarray(stored[..., 0]).save(
            buffer, "TIFF", compression="jpeg", quality=95, exif={274: orientation}
        )
        data = buffer.getvalue()
        stored = tifffile_or_pillow_jpeg(data)
    else:
        data = tiff(
            stored, bits=1 if bilevel else 8, compression=compression, orientation=orientation
        )
    color = stored[..., 0] * (255 if bilevel else 1)
    assert (read(data).pixels == turned(color, orientation)).all()


def tifffile_or_pillow_jpeg(data: bytes) -> np.ndarray:
    """The only JPEG strip of a file without tables, decoded as a JPEG file."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        start, size = page.dataoffsets[0], page.databytecounts[0]
        tables = page.jpegtables or b"\xff\xd8\xff\xd9"
    whole = tables[:-2] + data[start + 2 : start + size]
    return np.asarray(Image.open(io.BytesIO(whole)))[..., None]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("compression", ["rle", "group3", "group4"])
def test_bilevel_codecs(compression: str, photometric: int, order: str) -> None:
    stored = samples(1, 1, "none")
    stored[:, ::3] = 0
    data = tiff(stored, photometric=photometric, bits=1, compression=compression, order=order)
    check(data, *expected(stored, 1, photometric, "none"))


@pytest.mark.parametrize("bits", [2, 4, 12, 14])
@pytest.mark.parametrize("colors", [1, 3])
def test_odd_depths_fill_their_range(bits: int, colors: int) -> None:
    photometric = RGB if colors == 3 else BLACK_IS_ZERO
    stored = samples(bits, colors, "none")
    check(
        tiff(stored, photometric=photometric, bits=bits, compression="lzw"),
        *expected(stored, bits, photometric, "none"),
    )


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compression", ["none", "deflate", "lzma"])
def test_tifffile_reads_the_same_files(compression: str, bits: int, separate: bool) -> None:
    stored = samples(bits, 3, "unassociated")
    data = tiff(
        stored, photometric=RGB, bits=bits, compression=compression, separate=separate, extra=(2,)
    )
    theirs = tifffile.imread(io.BytesIO(data))
    theirs = np.moveaxis(theirs, 0, -1) if separate else theirs
    photo = read(data)
    assert photo.alpha is not None
    assert (theirs == np.dstack((photo.pixels, photo.alpha))).all()


@pytest.mark.parametrize("compression", BYTE_CODECS)
@pytest.mark.parametrize("separate", [False, True])
def test_libtiff_reads_the_same_files(compression: str, separate: bool) -> None:
    stored = samples(8, 3, "none")
    data = tiff(stored, photometric=RGB, compression=compression, separate=separate, predictor=True)
    if compression in ("none", "packbits"):  # libtiff knows no predictor there
        data = tiff(stored, photometric=RGB, compression=compression, separate=separate)
    assert (read(data).pixels == np.asarray(Image.open(io.BytesIO(data)))).all()
