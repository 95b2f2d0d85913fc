"""Files -> Photo: any supported format, upright, gray or RGB, 8 or 16 bits.

Formats are told by their first bytes and decoded by Pillow's plugin of that format alone, so a
hostile file reaches no other code; the size is checked from the header before anything is decoded.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from pix2color.errors import PhotoError
from pix2color.photo import exif, formats, jpeg, profiles, xmp
from pix2color.photo.photo import Limits, Photo, Pixels

_truncation = threading.Lock()  # Pillow's switch for truncated files is global


def read(source: str | Path | bytes, *, limits: Limits | None = None) -> Photo:
    """Read a photo, upright, as gray or RGB.

    Args:
        source: a file, or its bytes.
        limits: what to refuse; the default allows 300 megapixels and no truncated file.

    Raises:
        PhotoError: missing, empty, of no known format, broken, truncated, too large, an animation.
    """
    limits = limits or Limits()
    data, suffix = _bytes(source)
    name = formats.sniff(data[:16], suffix)
    if name is None:
        raise PhotoError("not a photo of a format that can be read")
    with errors_in_plain_words():
        try:
            return _decode(data, name, limits)
        except OSError as error:
            if limits.truncated != "keep" or name == "TIFF":
                raise
            with _truncation:
                ImageFile.LOAD_TRUNCATED_IMAGES = True
                try:
                    photo = _decode(data, name, limits)
                finally:
                    ImageFile.LOAD_TRUNCATED_IMAGES = False
            note = f"truncated: coloured as far as it could be read ({error})"
            return replace(photo, notes=(*photo.notes, note))


def _bytes(source: str | Path | bytes) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        data, suffix = source, ""
    else:
        path = Path(source)
        suffix = path.suffix
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise PhotoError("there is no such file") from None
        except OSError as error:
            raise PhotoError(f"cannot be read: {error.strerror or error}") from None
    if not data:
        raise PhotoError("the file is empty")
    return data, suffix


@contextlib.contextmanager
def errors_in_plain_words() -> Iterator[None]:
    """Whatever a decoder throws at a broken file becomes a PhotoError in plain words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except PhotoError:
        raise
    except MemoryError:
        raise
    except RecursionError:
        raise PhotoError("broken: its structure is nested without end") from None
    except Exception as error:  # decoders raise every kind at hostile bytes
        text = str(error).strip().splitlines()
        raise PhotoError(
            f"broken or truncated: {text[0] if text else type(error).__name__}"
        ) from None


def _decode(data: bytes, name: str, limits: Limits) -> Photo:
    if name == "TIFF":
        from pix2color.photo import tiff

        return tiff.decode(data, limits)
    image = opened(data, name)
    check_size(image.size, 1, limits)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and name in ("GIF", "WEBP", "PNG", "AVIF"):
        raise PhotoError(f"an animation of {frames} frames; only still photos are coloured")
    pixels, alpha = pixels_of(image, name)
    return finished(image, pixels, alpha, name, _settings(image, name, data))


def opened(data: bytes, name: str) -> ImageFile.ImageFile:
    """The file in Pillow's plugin of its format; nothing is decoded yet.

    `Image.open` would try other plugins too, and compare the size with its own global limit.
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
        "BMP": BmpImagePlugin.BmpImageFile,
        "GIF": GifImagePlugin.GifImageFile,
        "PPM": PpmImagePlugin.PpmImageFile,
        "TGA": TgaImagePlugin.TgaImageFile,
        "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
        "AVIF": AvifImagePlugin.AvifImageFile,
    }[name]
    image: ImageFile.ImageFile = plugin(io.BytesIO(data))
    return image


def check_size(size: tuple[int, int], pages: int, limits: Limits) -> None:
    """Raise PhotoError for a picture above the limit, or without pixels."""
    width, height = size
    megapixels = width * height * pages / 1e6
    if width < 1 or height < 1:
        raise PhotoError("broken: its header gives no size")
    if megapixels > limits.megapixels:
        many = f" on {pages} pages" if pages > 1 else ""
        raise PhotoError(
            f"{width} x {height} pixels{many} ({megapixels:.0f} megapixels) are above the limit of "
            f"{limits.megapixels:g}; --max-megapixels {np.ceil(megapixels):.0f} lifts it"
        )


def finished(
    image: Image.Image, pixels: Pixels, alpha: Pixels | None, name: str, settings: dict[str, Any]
) -> Photo:
    """A Photo of decoded pixels: metadata added, colour in a usable space, upright."""
    info = image.info
    block = info.get("exif")
    block = block.removeprefix(b"Exif\0\0") if block else None
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp")
    if isinstance(packet, str):
        packet = packet.encode()
    turn = exif.orientation(block)
    if turn != 1:
        pixels = upright(pixels, turn)
        alpha = None if alpha is None else upright(alpha, turn)
        block = exif.edited(block, upright=True)
        packet = xmp.upright(packet) if packet else None
    icc = info.get("icc_profile") or None
    notes: tuple[str, ...] = ()
    if (pixels.ndim == 3 and pixels.shape[2] == 4) or image.mode in ("LAB", "YCbCr"):
        pixels, icc = profiles.to_srgb(pixels, image.mode, icc)
    elif icc is not None:
        pixels, icc, notes = profiles.usable(pixels, icc)
    return Photo(
        pixels=pixels,
        alpha=alpha,
        icc=icc,
        exif=block,
        xmp=packet,
        dpi=_dpi(info, turn),
        format=name,
        settings=settings,
        notes=notes,
    )


def upright(array: Pixels, turn: int) -> Pixels:
    """H,W,... as EXIF's orientation 1 to 8 says it is to be seen."""
    if turn >= 5:
        array = array.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    if turn in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def pixels_of(image: Any, name: str) -> tuple[Pixels, Pixels | None]:
    """Decode: H,W | H,W,3 | H,W,4 (CMYK), and alpha."""
    if (
        name == "PNG"
        and image.tile
        and str(image.tile[0].args).endswith(";16B")
        and image.mode != "I;16"
    ):
        return _png16(image)
    mode = image.mode
    if mode == "1":
        return np.asarray(image.convert("L")), None
    if mode in ("P", "PA") or (mode in ("L", "RGB") and "transparency" in image.info):
        return _split(np.asarray(image.convert("RGBA")))
    if mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        return np.array(image).astype(np.uint16), None
    if mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise PhotoError("32-bit pixels; save it with 16 bits a channel first")
        return values.astype(np.uint16), None
    if mode == "F":
        raise PhotoError("floating-point pixels; save it with 16 bits a channel first")
    if mode in ("L", "RGB", "CMYK", "LAB", "YCbCr"):
        return np.array(image), None
    if mode in ("LA", "RGBA"):
        return _split(np.asarray(image))
    return _split(np.asarray(image.convert("RGBA")))


def _split(array: Pixels) -> tuple[Pixels, Pixels | None]:
    """H,W,2|4 -> colour and alpha, gray where all three channels are alike."""
    colour = array[..., :-1]
    if colour.shape[2] == 1 or _alike(colour):
        colour = colour[..., 0]
    alpha = np.ascontiguousarray(array[..., -1])
    opaque = bool((alpha == np.iinfo(alpha.dtype).max).all())
    return np.ascontiguousarray(colour), None if opaque else alpha


def _alike(colour: Pixels) -> bool:
    first = colour[..., 0]
    return bool((first == colour[..., 1]).all() and (first == colour[..., 2]).all())


def _png16(image: Any) -> tuple[Pixels, Pixels | None]:
    """16 bits a channel of a PNG that Pillow reads as 8: once each for the high and low bytes."""
    tile = image.tile[0]
    fp = image.fp
    if tile.args == "LA;16B":  # four bytes a pixel: take them as they are
        image.tile = [tile._replace(args="RGBA")]
        four = np.array(image).astype(np.uint16)
        return _split(four[..., 0::2] << 8 | four[..., 1::2])
    data = getattr(fp, "getvalue", fp.read)()
    high = np.array(image).astype(np.uint16)
    again = opened(data, "PNG")
    again.tile = [again.tile[0]._replace(args=str(tile.args).replace(";16B", ";16L"))]
    both = high << 8 | np.array(again)
    if both.shape[2] == 4:
        return _split(both)
    return both, None


def _settings(image: ImageFile.ImageFile, name: str, data: bytes) -> dict[str, Any]:
    """How the source was encoded, as far as the writer can do alike."""
    info = image.info
    if name == "JPEG":
        settings: dict[str, Any] = {
            "tables": {k: tuple(v) for k, v in getattr(image, "quantization", {}).items()},
            "progressive": bool(info.get("progressive")),
            "segments": jpeg.kept_segments(getattr(image, "applist", ())),
        }
        if info.get("comment"):
            settings["comment"] = info["comment"]
        return settings
    if name == "PNG":
        skipped = ("XML:com.adobe.xmp",)
        text = {k: str(v) for k, v in getattr(image, "text", {}).items() if k not in skipped}
        return {"text": text} if text else {}
    if name == "JPEG2000":
        return {"codestream": data.startswith(b"\xff\x4f")}
    if name == "WEBP":
        return {"lossless": b"VP8L" in data[:4096]}
    return {}


def _dpi(info: dict[Any, Any], turn: int) -> tuple[float, float] | None:
    dpi = info.get("dpi")
    try:
        across, down = (float(dpi[0]), float(dpi[1])) if dpi else (0.0, 0.0)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (0.01 < across < 1e6 and 0.01 < down < 1e6):
        return None
    return (down, across) if turn >= 5 else (across, down)
