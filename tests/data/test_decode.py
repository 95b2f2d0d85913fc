"""Decoding for training and evaluation: the pixels that coloring sees, in sRGB and reduced."""

from __future__ import annotations

import io
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from pix2color.data.decode import Pixels, decode
from pix2color.errors import PhotoError
from pix2color.inference import preprocess
from pix2color.photo import Photo, profiles, read, write

RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 160, 40), (40, 60, 200), (255, 255, 255)


def corners(width: int = 64, height: int = 48) -> Image.Image:
    """Quarters in red, green (above), blue, white (below): every turn and flip shows."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def colors(seed: int, width: int = 40, height: int = 30) -> Image.Image:
    """A colorful picture of its own for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def quarters(pixels: Pixels) -> list[tuple[int, ...]]:
    h, w = pixels.shape[:2]
    places = (
        (h // 4, w // 4),
        (h // 4, 3 * w // 4),
        (3 * h // 4, w // 4),
        (3 * h // 4, 3 * w // 4),
    )
    return [tuple(int(v) for v in pixels[y, x]) for y, x in places]


def swapped_profile() -> bytes:
    """An sRGB profile whose red and blue primaries are exchanged, under another description."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        tag = bytes(profile[at : at + 4])
        if tag in (b"rXYZ", b"bXYZ"):
            profile[at : at + 4] = b"bXYZ" if tag == b"rXYZ" else b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def sideways(bits: int, *, alpha: bool, gray: bool) -> Photo:
    """A photo stored on its side, with a profile that changes its colors."""
    turned = np.rot90(np.asarray(colors(5, 90, 70))).copy()
    pixels = turned[..., 1] if gray else turned
    opacity: np.ndarray = np.zeros(pixels.shape[:2], np.uint8)
    opacity[::2] = 200  # half of it is transparent, half nearly opaque
    if bits == 16:
        pixels, opacity = pixels.astype(np.uint16) * 251 + 300, opacity.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = 6
    icc = profiles.srgb_profile() if gray else swapped_profile()
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    return Photo(pixels, opacity if alpha else None, icc=icc, exif=block)


@pytest.mark.parametrize("side", [None, 24])
@pytest.mark.parametrize(
    ("form", "bits", "alpha", "gray"),
    [
        ("PNG", 16, True, False),
        ("PNG", 16, True, True),
        ("PNG", 8, True, False),
        ("TIFF", 16, True, False),
        ("TIFF", 16, False, True),
        ("WEBP", 8, True, False),
        ("JPEG", 8, False, False),
        ("JPEG", 8, False, True),
    ],
)
def test_training_gets_the_pixels_that_coloring_sees(
    form: str, bits: int, alpha: bool, gray: bool, side: int | None, tmp_path: Path
) -> None:
    path = tmp_path / f"photo.{form.lower()}"
    write(replace(sideways(bits, alpha=alpha, gray=gray), format=form), path)
    photo = read(path)
    assert photo.bits == bits and (photo.alpha is not None) == alpha and photo.icc
    pixels = photo.pixels / np.iinfo(photo.pixels.dtype).max
    pixels = np.repeat(pixels[..., None], 3, axis=2) if gray else pixels[..., ::-1]  # swapped
    srgb = np.round(pixels * 255).astype(np.uint8)
    if side is not None:
        scale = side / min(srgb.shape[:2])
        size = (round(srgb.shape[1] * scale), round(srgb.shape[0] * scale))
        srgb = np.asarray(Image.fromarray(srgb).resize(size, Image.Resampling.LANCZOS))
    found = decode(path.read_bytes(), side)
    assert found.shape == srgb.shape
    off = np.abs(found.astype(int) - srgb)
    assert off.max() <= (0 if gray else 1)  # one code of color management in 8 bits
    # Both ways to the network's L agree: from the file, and from the training's sRGB.
    lightness = preprocess.gray_values(photo).astype(float) / np.iinfo(photo.pixels.dtype).max
    again = preprocess.gray_values(Photo(decode(path.read_bytes()))) / 255
    assert np.abs(lightness - again).max() <= 1.01 / 255


def test_decode_keeps_pixels_and_never_enlarges() -> None:
    image = colors(0)
    pixels = decode(encoded(image), 100)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, np.asarray(image))
    np.testing.assert_array_equal(decode(encoded(image)), np.asarray(image))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize(("width", "height"), [(1200, 800), (801, 1203), (65, 64)])
def test_decode_reduces_the_shorter_side(form: str, width: int, height: int) -> None:
    pixels = decode(encoded(corners(width, height), form), 64)
    assert min(pixels.shape[:2]) == 64
    assert abs(max(pixels.shape[:2]) - 64 * max(width, height) / min(width, height)) <= 1
    for found, expected in zip(quarters(pixels), (RED, GREEN, BLUE, WHITE), strict=True):
        np.testing.assert_allclose(found, expected, atol=6)


def test_a_reduced_jpeg_looks_like_the_reduced_original() -> None:
    image = colors(3, 1600, 1100)
    found = decode(encoded(image, "JPEG", quality=95), 100)
    expected = np.asarray(image.resize((145, 100), Image.Resampling.LANCZOS))
    assert np.abs(found.astype(int) - expected).mean() < 1.5


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3000, 2)])
def test_extreme_shapes(size: tuple[int, int]) -> None:
    assert decode(encoded(Image.new("RGB", size, RED)), 176).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(orientation: int, form: str) -> None:
    shown = np.asarray(corners())
    turn = {  # what has to be stored so that `shown` is seen (inverse of the EXIF definition)
        1: shown, 2: shown[:, ::-1], 3: shown[::-1, ::-1], 4: shown[::-1],
        5: shown.transpose(1, 0, 2), 6: np.rot90(shown, 1),
        7: shown[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(shown, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turn[orientation]))
    found = decode(encoded(stored, form, exif=exif, quality=95), 24)
    assert found.shape == (24, 32, 3)
    for one, expected in zip(quarters(found), (RED, GREEN, BLUE, WHITE), strict=True):
        np.testing.assert_allclose(one, expected, atol=12)


def test_broken_exif_is_ignored() -> None:
    data = encoded(corners(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert decode(data).shape == (48, 64, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    gray = Image.new("L", (40, 30), 128)
    if mode == "I;16":
        image = Image.fromarray(np.full((30, 40), 128 * 257, np.uint16))
    else:
        image = gray.convert("RGBA").convert(mode) if mode == "PA" else gray.convert(mode)
    form = "TIFF" if mode in ("CMYK", "YCbCr", "PA") else "PNG"
    found = decode(encoded(image, form), 20)
    assert found.shape == (20, 27, 3)
    if mode != "1":
        np.testing.assert_allclose(found, 128, atol=1)


def test_palettes_keep_their_colors_when_reduced() -> None:
    for found, expected in zip(
        quarters(decode(encoded(corners().quantize(16)), 24)),
        (RED, GREEN, BLUE, WHITE),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, atol=6)


def test_the_colors_under_transparency_are_used_as_in_coloring() -> None:
    image = Image.new("RGBA", (8, 8), (*BLUE, 0))
    image.paste((*RED, 255), (0, 0, 4, 8))
    found = decode(encoded(image))
    assert tuple(found[4, 1]) == RED
    assert tuple(found[4, 6]) == BLUE


def test_profiles_are_converted_and_bad_ones_ignored() -> None:
    image = corners()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (lab, srgb, b"no profile at all"):  # LAB is of another mode: ignored
        np.testing.assert_array_equal(
            decode(encoded(image, icc_profile=profile)), np.asarray(image)
        )


def test_a_foreign_profile_changes_the_colors() -> None:
    image = Image.new("RGB", (8, 8), RED)
    found = decode(encoded(image, icc_profile=swapped_profile()))
    np.testing.assert_allclose(found[4, 4], RED[::-1], atol=3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("side", [None, 32])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_errors(form: str, side: int | None, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), form)
    with pytest.raises(PhotoError):
        decode(data[: int(len(data) * share)], side)


def test_a_truncated_progressive_jpeg_is_an_error() -> None:
    data = encoded(colors(1, 800, 600), "JPEG", progressive=True)
    with pytest.raises(PhotoError):
        decode(data[: len(data) // 2], 64)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty"), (b"a text named .jpg", "not a photo"), (b"\xff\xd8\xff\xe0 torn", ".")],
)
def test_files_that_are_not_photos_are_errors(data: bytes, reason: str) -> None:
    with pytest.raises(PhotoError, match=reason):
        decode(data)


def test_what_coloring_refuses_is_no_training_photo_either() -> None:
    animation = encoded(colors(0), "WEBP", save_all=True, append_images=[colors(1)], duration=40)
    values = encoded(Image.fromarray(np.zeros((9, 9), np.float32)), "TIFF")
    for data, reason in ((animation, "animation of 2 frames"), (values, "floating-point")):
        for use in (decode, read):
            with pytest.raises(PhotoError, match=reason):
                use(data)


def test_decompression_bombs_are_refused_from_the_header() -> None:
    data = bytearray(encoded(Image.new("RGB", (2, 2))))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(PhotoError, match="3600 megapixels"):
        decode(bytes(data), 16)


@pytest.mark.parametrize("name", ["a.tga", "shard.tar/a.TGA#2", "a#b.tar/c.tga"])
def test_a_format_without_a_signature_is_recognized_by_the_name(name: str) -> None:
    data = encoded(corners(), "TGA")
    np.testing.assert_array_equal(decode(data, name=name), np.asarray(corners()))
    with pytest.raises(PhotoError, match="not a photo"):
        decode(data, name="a#b.tga/c")


@pytest.mark.parametrize("side", [40, 100, 176])
def test_a_jpeg_decoded_in_part_keeps_the_pixels_that_the_reduction_needs(side: int) -> None:
    data = encoded(colors(7, 1501, 1101), "JPEG", quality=95)
    photo = read(data, min_side=2 * side)
    assert 2 * side <= min(photo.height, photo.width) < 1101
    whole = read(data)
    assert min(whole.pixels.shape[:2]) == 1101
    size = decode(data, side).shape[1::-1]
    exact = np.asarray(Image.fromarray(whole.pixels).resize(size, Image.Resampling.LANCZOS))
    assert np.abs(decode(data, side).astype(int) - exact).mean() < 1
