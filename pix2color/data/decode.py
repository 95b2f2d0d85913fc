"""One photo file: decoded to sRGB pixels, and judged by its chroma."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageCms

from pix2color.color.lab import rgb_to_lab
from pix2color.errors import PhotoError
from pix2color.photo import read

Pixels = npt.NDArray[np.uint8]
"""H,W,3 sRGB."""

_GRAY_SIDE = 48  # pixels of the version on which chroma is measured; averages noise and grain away
_ORIENTATION = 0x0112
_PHOTOMETRIC, _YCBCR = 0x0106, 6
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, side: int | None = None) -> Pixels:
    """A photo file's first picture as sRGB.

    EXIF orientation is applied, an ICC profile is converted to sRGB, any mode becomes RGB
    (transparency over white; more than 8 bits a channel become 8).

    Args:
        data: the file's bytes, in any format Pillow reads.
        side: largest shorter side in pixels; a larger photo is reduced, none is enlarged.

    Returns:
        uint8 H,W,3, contiguous and writable.

    Raises:
        PhotoError: not a photo, truncated or otherwise broken, or of far too many pixels. The
            message is the reason alone, without a name.
    """
    if not data:
        raise PhotoError("the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            # Pillow 12 finds uncompressed YCbCr truncated.
            if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _YCBCR:
                return _to_srgb(Image.fromarray(read(data).pixels), side)
            return _to_srgb(image, side)
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        raise PhotoError("not a photo in a known format") from None
    except Exception as error:  # Pillow's readers raise anything at foreign bytes
        raise PhotoError(f"{error or type(error).__name__}") from None


def is_gray(photo: Pixels, chroma: float) -> bool:
    """Whether the 95th percentile of a photo's chroma lies below `chroma` (Lab units).

    Measured on a reduced version, so that colored noise and grain do not count as color.
    """
    factor = max(1, min(photo.shape[:2]) // _GRAY_SIDE)
    small = np.array(Image.fromarray(photo).reduce(factor))
    lab = rgb_to_lab(torch.from_numpy(small).permute(2, 0, 1))
    return bool(np.percentile(lab[1:].norm(dim=0).numpy(), 95) < chroma)


def _to_srgb(image: Image.Image, side: int | None) -> Pixels:
    if side is not None:
        # JPEG readers reduce by 2, 4 or 8 while decoding; the exact reduction follows.
        factor = 2 * side / min(image.size)
        if factor < 1:
            image.draft(None, (int(image.width * factor) + 1, int(image.height * factor) + 1))
    image.load()
    turn = _orientation(image)
    profile = image.info.get("icc_profile")
    plain = _to_supported_mode(image)
    if side is not None and min(plain.size) > side:
        scale = side / min(plain.size)
        size = (max(side, round(plain.width * scale)), max(side, round(plain.height * scale)))
        plain = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    transform = _transform(profile, plain.mode) if isinstance(profile, bytes) else None
    if transform is not None:
        plain = ImageCms.applyTransform(plain, transform) or plain
    plain = plain.convert("RGB")
    if turn in _TRANSPOSE:
        plain = plain.transpose(_TRANSPOSE[turn])
    return np.array(plain)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8; 1 where there is none or EXIF is broken."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF raises anything, and spoils nothing else
        return 1


def _to_supported_mode(image: Image.Image) -> Image.Image:
    """The picture in a mode that can be resized and color-managed: L, RGB, CMYK or LAB."""
    if image.mode in ("L", "RGB", "CMYK"):
        if "transparency" not in image.info:
            return image
    elif image.mode.startswith("I") or image.mode == "F":
        return _from_16bit(image)
    elif image.mode == "1":
        return image.convert("L")
    elif image.mode in ("YCbCr", "LAB", "HSV", "RGBX"):
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    flat = Image.new("RGB", rgba.size, "white")
    flat.paste(rgba, mask=rgba.getchannel("A"))
    return flat


def _from_16bit(image: Image.Image) -> Image.Image:
    """16-bit (0..65535) or float (0..1) gray -> 8-bit; Pillow's own conversion would clip."""
    values = np.asarray(image, dtype=np.float64)
    full = 1.0 if image.mode == "F" else 65535.0 if values.max(initial=0) > 255 else 255.0
    return Image.fromarray((np.nan_to_num(values / full).clip(0, 1) * 255).round().astype(np.uint8))


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """To sRGB; None where the profile is sRGB, or no profile of this mode: it is ignored then."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in (source.profile.profile_description or "").lower():
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
