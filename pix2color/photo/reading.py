"""Reading photos of any supported format: upright, gray or RGB, 8 or 16 bits.

The format is identified by the first bytes, and only Pillow's plugin of that format decodes a file,
so a hostile file reaches no other code. The size is checked in the header before decoding.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageFile

from pix2color.errors import PhotoError
from pix2color.photo import exif, formats, jp2, jpeg, png, profiles, xmp
from pix2color.photo.photo import Limits, Photo, Pixels

# Pillow's warnings become errors or notes here. `warnings.catch_warnings` is not thread-safe: it
# changes the filters of the whole process.
warnings.filterwarnings("ignore", module=r"PIL\.")

_MAX_PAGES = 1000


def read(
    source: str | Path | bytes,
    *,
    limits: Limits | None = None,
    suffix: str = "",
    min_side: int | None = None,
) -> Photo:
    """Read a photo, upright, as gray or RGB.

    Args:
        source: a file, or its bytes.
        limits: what to refuse; the default allows 300 megapixels and no truncated file.
        suffix: of the name of a file given as bytes; TGA and DIB are recognized by it alone.
        min_side: a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as
            its shorter side keeps this many pixels; None reads all pixels.

    Raises:
        PhotoError: missing, empty, of no known format, broken, truncated, too large, an animation.
    """
    limits = limits or Limits()
    if isinstance(source, bytes):
        data = source
    else:
        data, suffix = _file_bytes(Path(source)), Path(source).suffix
    name = _detect(data, suffix)
    with as_photo_error():
        return _decode(data, name, limits, min_side)


def page_sizes(data: bytes, suffix: str = "") -> list[tuple[int, int]]:
    """Width and height of each page of a photo as stored, from the headers alone.

    Args:
        data: the file's bytes.
        suffix: as for `read`.

    Raises:
        PhotoError: no photo of a known format, or its header is broken.
    """
    name = _detect(data, suffix)
    with as_photo_error():
        image = open_with_plugin(data, name)
        sizes = [image.size]
        with contextlib.suppress(EOFError):
            for page in range(1, _MAX_PAGES) if name == "TIFF" else ():
                image.seek(page)
                sizes.append(image.size)
    return sizes


def _detect(data: bytes, suffix: str) -> str:
    """The name of the format; raises PhotoError where there is none."""
    if not data:
        raise PhotoError("the file is empty")
    name = formats.detect_format(data[:16], suffix)
    if name is None:
        raise PhotoError("not a photo of a format that can be read")
    return name


def _file_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PhotoError("there is no such file") from None
    except OSError as error:
        raise PhotoError(f"cannot be read: {error.strerror or error}") from None


@contextlib.contextmanager
def as_photo_error() -> Iterator[None]:
    """Turn any exception that a decoder raises at a broken file into a PhotoError."""
    try:
        yield
    except (PhotoError, MemoryError):
        raise
    except RecursionError:
        raise PhotoError("broken: its structure is nested without end") from None
    except Exception as error:  # decoders raise every kind at hostile bytes
        text = str(error).strip().splitlines()
        raise PhotoError(
            f"broken or truncated: {text[0] if text else type(error).__name__}"
        ) from None


def _decode(data: bytes, name: str, limits: Limits, min_side: int | None) -> Photo:
    if name == "TIFF":
        from pix2color.photo import tiff

        return tiff.decode(data, limits)
    image = open_with_plugin(data, name)
    check_size(image.size, 1, limits)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and name in ("GIF", "WEBP", "PNG", "AVIF"):
        raise PhotoError(f"an animation of {frames} frames; only still photos are colored")
    if min_side is not None:
        scale = min(1.0, min_side / min(image.size))
        image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))
    if png.is_deep(image):
        pixels, alpha, notes = _deep_png(image, data, limits)
    else:
        uncertain_alpha = name == "BMP" and _with_fourth_channel(image)
        notes = _load(image, limits)
        if name == "PNG":
            png.scale_key(image, data)
        pixels, alpha = decode_pixels(image)
        if uncertain_alpha and alpha is not None and not alpha.any():
            alpha = None  # the fourth byte is unused
    info, settings = _metadata(image, name, data), _settings(image, name, data)
    return build_photo(pixels, alpha, name, settings, info, mode=image.mode, notes=notes)


def _load(image: ImageFile.ImageFile, limits: Limits) -> tuple[str, ...]:
    """Decode in place; a truncated file as far as possible, with a note, if the limits allow it.

    Pillow's switch for truncated files is global. It has set the pixels before it raises, though.
    """
    try:
        image.load()
    except OSError as error:
        if limits.on_truncated != "keep" or not image.tile or image._im is None:
            raise
        image.tile = []
        return (f"truncated: colored as far as it could be read ({error})",)
    return ()


def open_with_plugin(data: bytes, name: str) -> ImageFile.ImageFile:
    """The file in Pillow's plugin of its format, not decoded yet.

    `Image.open` would try other plugins, too, and apply its own global size limit.
    """
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        Jpeg2KImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        PpmImagePlugin,
        TgaImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    plugin: Any = {
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
        "WEBP": WebPImagePlugin.WebPImageFile,
        "BMP": BmpImagePlugin.BmpImageFile if data[:2] == b"BM" else BmpImagePlugin.DibImageFile,
        "GIF": GifImagePlugin.GifImageFile,
        "PPM": PpmImagePlugin.PpmImageFile,
        "TGA": TgaImagePlugin.TgaImageFile,
        "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
        "AVIF": AvifImagePlugin.AvifImageFile,
    }[name]
    image: ImageFile.ImageFile = plugin(io.BytesIO(data))
    return image


def check_size(size: tuple[int, int], pages: int, limits: Limits) -> None:
    """Raise PhotoError for a photo above the limit, or without pixels."""
    width, height = size
    megapixels = width * height * pages / 1e6
    if width < 1 or height < 1:
        raise PhotoError("broken: its header gives no size")
    if megapixels > limits.megapixels:
        on_pages = f" on {pages} pages" if pages > 1 else ""
        raise PhotoError(
            f"{width} x {height} pixels{on_pages} ({megapixels:.0f} megapixels) are above the "
            f"limit of {limits.megapixels:g}",
            remedy=f"raise {{max_megapixels}} to {np.ceil(megapixels):.0f}",
        )


def build_photo(
    pixels: Pixels,
    alpha: Pixels | None,
    name: str,
    settings: Mapping[str, Any],
    info: Mapping[str, Any],
    *,
    mode: str = "",
    notes: tuple[str, ...] = (),
) -> Photo:
    """A Photo of decoded pixels: upright, in a usable color space, with its metadata.

    Args:
        pixels: H,W | H,W,3 | H,W,4 (CMYK) as stored.
        alpha: H,W or None.
        name: the format.
        settings: `encoder_settings`.
        info: exif, xmp (bytes), icc_profile and dpi; each may be missing.
        mode: Pillow's name of the color space; read for "LAB" and "YCbCr".
        notes: of the reading so far.
    """
    block = info.get("exif")
    block = block.removeprefix(b"Exif\0\0") if block else None
    packet = info.get("xmp")
    # AVIF stores the orientation as a property, which Pillow puts into EXIF; XMP's is ignored.
    default = xmp.orientation(packet) if packet and name != "AVIF" else 1
    turn = exif.orientation(block, default)
    if turn != 1:
        pixels = apply_orientation(pixels, turn)
        alpha = None if alpha is None else apply_orientation(alpha, turn)
        block = exif.update(block, upright=True) if block else None
        packet = xmp.reset_orientation(packet) if packet else None
    icc = info.get("icc_profile") or None
    if (pixels.ndim == 3 and pixels.shape[2] == 4) or mode in ("LAB", "YCbCr"):
        pixels, icc = profiles.to_srgb(pixels, mode, icc)
    elif icc is not None:
        pixels, icc, profile_notes = profiles.normalize_profile(pixels, icc)
        notes = (*notes, *profile_notes)
    return Photo(
        pixels=pixels,
        alpha=alpha,
        icc=icc,
        exif=block,
        xmp=packet,
        dpi=_dpi(info, turn),
        format=name,
        encoder_settings=settings,
        notes=notes,
    )


def apply_orientation(array: Pixels, turn: int) -> Pixels:
    """H,W,... turned and mirrored according to EXIF's orientation, 1 to 8."""
    if turn >= 5:
        array = array.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    if turn in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def decode_pixels(image: Any) -> tuple[Pixels, Pixels | None]:
    """A Pillow image as H,W | H,W,3 | H,W,4 (CMYK), and alpha."""
    mode = image.mode
    key = image.info.get("transparency")
    if mode == "1":
        gray = np.asarray(image.convert("L"))
        return gray, _keyed(gray, key)
    if mode in ("P", "PA"):
        return _split(np.asarray(image.convert("RGBA")))
    if mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        gray = np.array(image).astype(np.uint16)
        return gray, _keyed(gray, key)
    if mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise PhotoError("32-bit pixels; save it with 16 bits per channel first")
        return values.astype(np.uint16), None
    if mode == "F":
        raise PhotoError("floating-point pixels; save it with 16 bits per channel first")
    if mode in ("L", "RGB"):
        color = np.asarray(image)
        alpha = _keyed(color, key)
        return (_gray_if_equal(color) if alpha is not None else color), alpha
    if mode == "LAB":  # in Pillow a and b are signed
        return np.array(image) ^ np.array((0, 128, 128), np.uint8), None
    if mode in ("CMYK", "YCbCr"):
        return np.array(image), None
    if mode in ("LA", "RGBA"):
        return _split(np.asarray(image))
    return _split(np.asarray(image.convert("RGBA")))


def _keyed(color: Pixels, key: Any) -> Pixels | None:
    """Alpha of pixels of which one value or color is transparent; None if no pixel has it."""
    if key is None or isinstance(key, bytes):
        return None
    clear = color == np.asarray(key)
    clear = clear.all(axis=2) if color.ndim == 3 else clear
    opaque = np.iinfo(color.dtype).max
    return np.where(clear, 0, opaque).astype(color.dtype) if clear.any() else None


def _with_fourth_channel(image: Any) -> bool:
    """Make Pillow read the fourth byte of BMP pixels without masks: it is often alpha."""
    unnamed_byte = (
        image.info.get("compression") == 0 and image.tile and image.tile[0].args[0] == "BGRX"
    )
    if unnamed_byte:
        image.tile = [image.tile[0]._replace(args=("BGRA", *image.tile[0].args[1:]))]
        image._mode = "RGBA"
    return bool(unnamed_byte)


def _split(array: Pixels) -> tuple[Pixels, Pixels | None]:
    """H,W,2|4 -> color, gray if its channels are equal, and alpha, None if opaque everywhere."""
    color = array[..., 0] if array.shape[2] == 2 else _gray_if_equal(array[..., :-1])
    alpha = np.ascontiguousarray(array[..., -1])
    opaque = bool((alpha == np.iinfo(alpha.dtype).max).all())
    return np.ascontiguousarray(color), None if opaque else alpha


def _gray_if_equal(color: Pixels) -> Pixels:
    first = color[..., 0]
    equal = color.ndim == 3 and (first == color[..., 1]).all() and (first == color[..., 2]).all()
    return np.ascontiguousarray(first if equal else color)


def _deep_png(
    image: Any, data: bytes, limits: Limits
) -> tuple[Pixels, Pixels | None, tuple[str, ...]]:
    """16 bits per channel of a PNG that Pillow reads as 8."""
    halves: list[Pixels] = []
    notes: tuple[str, ...] = ()
    for half in png.half_images(image, lambda: open_with_plugin(data, "PNG")):
        notes = _load(half, limits)
        halves.append(np.array(half).astype(np.uint16))
    samples = png.join_halves(halves)
    if samples.shape[2] in (2, 4):
        return *_split(samples), notes
    alpha = _keyed(samples, image.info.get("transparency"))
    return (_gray_if_equal(samples) if alpha is not None else samples), alpha, notes


def _metadata(image: ImageFile.ImageFile, name: str, data: bytes) -> dict[str, Any]:
    """exif, xmp, icc_profile and dpi for `build_photo`."""
    info: dict[str, Any] = {str(key): value for key, value in image.info.items()}
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp")
    info["xmp"] = packet.encode() if isinstance(packet, str) else packet
    if name == "PNG" and not info.get("exif"):
        info["exif"] = png.raw_exif(info)
    if name == "JPEG2000":
        info |= jp2.metadata(data)
    return info


def _settings(image: ImageFile.ImageFile, name: str, data: bytes) -> dict[str, Any]:
    """How the source was encoded, as far as the writer can do the same."""
    info = image.info
    if name == "JPEG":
        settings: dict[str, Any] = {
            "tables": {k: tuple(v) for k, v in getattr(image, "quantization", {}).items()},
            "progressive": bool(info.get("progressive")),
            "segments": jpeg.preserved_segments(getattr(image, "applist", ())),
        }
        if info.get("comment"):
            settings["comment"] = info["comment"]
        return settings
    if name == "PNG":
        skipped = ("XML:com.adobe.xmp", *png.RAW_EXIF)
        unfinished = getattr(image, "png", None)  # of a truncated file
        chunks = unfinished.im_text if unfinished else getattr(image, "text", {})
        text = {k: str(v) for k, v in chunks.items() if k not in skipped}
        return {"text": text} if text else {}
    if name == "JPEG2000":
        return {"codestream": data.startswith(b"\xff\x4f")}
    if name == "WEBP":
        return {"lossless": formats.webp_is_lossless(data)}
    return {}


def _dpi(info: Mapping[str, Any], turn: int) -> tuple[float, float] | None:
    dpi = info.get("dpi")
    try:
        across, down = (float(dpi[0]), float(dpi[1])) if dpi else (0.0, 0.0)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (0.01 < across < 1e6 and 0.01 < down < 1e6):
        return None
    return (down, across) if turn >= 5 else (across, down)
