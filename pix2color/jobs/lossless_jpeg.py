"""Colored JPEGs from which the scan can be recovered bit for bit.

The luminance coefficients and quantization table of a gray JPEG are copied unchanged into the
colored file, beside new Cb and Cr planes; without these it is the scan again. JPEG's luma is kept,
not L: a saturated color of the same luma looks lighter or darker (docs/inference.md).

Needs jpeglib (the `lossless-jpeg` extra), which reads and writes coefficients.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color.color import icc_matrix
from pix2color.errors import PhotoError, Pix2ColorError
from pix2color.photo import Limits, Photo, Provenance, exif, formats, jpeg, reading
from pix2color.photo.provenance import add_provenance

_INVERSE = {6: 8, 8: 6}  # EXIF orientations that are not their own inverse


def colorize(
    data: bytes,
    colorize_photo: Callable[[Photo], Photo],
    *,
    provenance: Provenance | None,
    limits: Limits,
) -> bytes:
    """A JPEG -> a colored JPEG with the same luminance coefficients.

    Args:
        data: a JPEG, gray or YCbCr (whose colors are replaced).
        colorize_photo: colors a gray Photo in sRGB.
        provenance: written into the metadata.

    Raises:
        PhotoError: not such a JPEG, broken, or with a gray profile that is not sRGB's curve.
        Pix2ColorError: jpeglib is not installed.
    """
    _library()
    with reading.as_photo_error():
        image = _luma(data, limits)
        gray = np.array(image)
        orientation = exif.orientation(_exif(dict(image.info)))
    # Outside of as_photo_error: errors of the network are not the JPEG's.
    rgb = colorize_photo(Photo(reading.apply_orientation(gray, orientation))).pixels
    with reading.as_photo_error():
        planes = _chroma(
            gray, reading.apply_orientation(rgb, _INVERSE.get(orientation, orientation))
        )
        result = _replace_luma(_coefficient_template(gray, planes, image, provenance), data)
        with Image.open(io.BytesIO(result)) as check:
            check.draft("L", check.size)
            if not np.array_equal(np.array(check), gray):
                raise PhotoError(
                    "its luminance would not come back exactly",
                    remedy="color it without {lossless_jpeg}",
                )
    return result


def restore_gray(data: bytes, *, limits: Limits | None = None) -> bytes:
    """A colored JPEG -> the gray JPEG of its luminance coefficients, metadata kept.

    Raises PhotoError for what is not a YCbCr JPEG, Pix2ColorError where jpeglib is missing.
    """
    _library()
    with reading.as_photo_error():
        image = _luma(data, limits or Limits())
        if len(getattr(image, "layer", ())) == 1:
            raise PhotoError("it has no color to remove")
        gray = Image.fromarray(np.array(image))
        file = io.BytesIO()
        # Any valid tables do: the gray file's table comes with the coefficients.
        tables = [list(image.quantization[min(image.quantization)])]
        gray.save(
            file,
            "JPEG",
            qtables=tables,
            **_save_options(image),
            **jpeg.metadata(_metadata_photo(image)),
        )
        return _replace_luma(file.getvalue(), data)


def _library() -> Any:
    try:
        import jpeglib  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise Pix2ColorError(
            'lossless JPEGs need jpeglib: pip install "pix2color[lossless-jpeg]"'
        ) from None
    return jpeglib


def _luma(data: bytes, limits: Limits) -> Any:
    """The JPEG as Pillow image whose pixels are its Y plane."""
    if formats.detect_format(data[:16]) != "JPEG":
        raise PhotoError("only a JPEG can be colored losslessly")
    image: Any = reading.open_with_plugin(data, "JPEG")
    reading.check_size(image.size, 1, limits)
    if image.mode not in ("L", "RGB"):
        raise PhotoError(f"a {image.mode} JPEG cannot be colored losslessly")
    icc = image.info.get("icc_profile")
    color_space = icc_matrix.parse_icc(icc) if icc else None
    if color_space is not None and color_space.is_gray and not color_space.is_srgb:
        raise PhotoError("its gray profile has another curve than sRGB, which color cannot keep")
    if image.mode == "RGB":
        if image.info.get("adobe_transform") == 0:
            raise PhotoError("an RGB-coded JPEG cannot be colored losslessly")
        image.draft("L", image.size)
    image.load()
    return image


def _metadata_photo(image: Any) -> Photo:
    """A Photo with the JPEG's metadata and a single pixel."""
    return Photo(
        np.zeros((1, 1), np.uint8),
        format="JPEG",
        exif=_exif(image.info),
        xmp=image.info.get("xmp"),
        encoder_settings={"segments": jpeg.preserved_segments(image.applist)},
    )


def _exif(info: dict[Any, Any]) -> bytes | None:
    block = info.get("exif")
    return block.removeprefix(b"Exif\0\0") if block else None


def _chroma(gray: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cb and Cr of the colors, reduced until RGB at the scan's luma is within 0..255.

    JFIF 1.02: R = Y + 1.402 Cr, G = Y - 0.344136 Cb - 0.714136 Cr, B = Y + 1.772 Cb.
    """
    planes = [np.empty(gray.shape, np.uint8) for _ in range(2)]
    rows = max(1, 2**18 // gray.shape[1])
    for top in range(0, len(gray), rows):
        part = slice(top, top + rows)
        r, g, b = (rgb[part, :, c].astype(np.float32) for c in range(3))
        luma_rgb = 0.299 * r + 0.587 * g + 0.114 * b
        cb, cr = (b - luma_rgb) / 1.772, (r - luma_rgb) / 1.402
        luma = gray[part].astype(np.float32)
        offsets = (1.402 * cr, -0.344136 * cb - 0.714136 * cr, 1.772 * cb)
        high = np.maximum(np.maximum(*offsets[:2]), offsets[2])
        low = np.minimum(np.minimum(*offsets[:2]), offsets[2])
        scale = np.minimum((255 - luma) / np.maximum(high, 1e-6), luma / np.maximum(-low, 1e-6))
        scale = np.minimum(scale, 1)
        for plane, chroma in zip(planes, (cb, cr), strict=True):
            plane[part] = np.rint(chroma * scale + 128).clip(0, 255).astype(np.uint8)
    return planes


def _coefficient_template(
    gray: NDArray[np.uint8],
    planes: list[NDArray[np.uint8]],
    image: Any,
    provenance: Provenance | None,
) -> bytes:
    """A JPEG of these planes, 4:4:4, with the source's tables and metadata."""
    photo = _metadata_photo(image)
    if provenance is not None:
        photo = add_provenance(photo, provenance)
    options = _save_options(image) | jpeg.metadata(photo)
    tables = [list(image.quantization[k]) for k in sorted(image.quantization)][:2]
    bands = [Image.fromarray(p) for p in (gray, *planes)]
    file = io.BytesIO()
    Image.merge("YCbCr", bands).save(file, "JPEG", qtables=tables, subsampling="4:4:4", **options)
    return file.getvalue()


def _save_options(image: Any) -> dict[str, Any]:
    """Resolution, comment and RGB profile of a JPEG, for Pillow's `save`."""
    options = {name: image.info[name] for name in ("dpi", "comment") if name in image.info}
    icc = image.info.get("icc_profile")
    if icc and icc[16:20] == b"RGB ":
        options["icc_profile"] = icc
    return options


def _replace_luma(template: bytes, source: bytes) -> bytes:
    """The template with the luminance coefficients and table of the source."""
    jpeglib = _library()
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("template.jpg", "source.jpg", "out.jpg")]
        for path, data in zip(paths, (template, source), strict=False):
            Path(path).write_bytes(data)
        result, scan = jpeglib.read_dct(paths[0]), jpeglib.read_dct(paths[1])
        rows, columns = result.Y.shape[:2]
        result.Y = np.ascontiguousarray(scan.Y[:rows, :columns])
        tables = np.array(result.qt)
        if len(tables) == 1 and result.Cb is not None:
            tables = np.repeat(tables, 2, axis=0)  # the colors use the template's table
            result.quant_tbl_no = [0, 1, 1]
        tables[0] = scan.qt[0]
        result.qt = tables
        result.write_dct(paths[2])
        coefficients = Path(paths[2]).read_bytes()
    return _copy_metadata(template, coefficients)


def _copy_metadata(template: bytes, coefficients: bytes) -> bytes:
    """The APPn and COM segments of one JPEG before the rest of another."""
    head, _ = _segments(template)
    _, rest = _segments(coefficients)
    return b"\xff\xd8" + head + rest


def _segments(data: bytes) -> tuple[bytes, bytes]:
    """APPn and COM segments, and everything else after SOI."""
    metadata, rest, start = b"", b"", 2
    while data[start] == 0xFF and data[start + 1] != 0xDA:
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if 0xE0 <= data[start + 1] <= 0xEF or data[start + 1] == 0xFE:
            metadata += data[start:end]
        else:
            rest += data[start:end]
        start = end
    return metadata, rest + data[start:]
