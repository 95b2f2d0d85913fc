"""Photos in RAM: decoding, splitting, and the honest count of what is left out."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from pix2color import config
from pix2color.data import dataset
from pix2color.data.dataset import ALL_SPLITS, load_photos, split_of
from pix2color.data.decode import Pixels, decode, is_gray
from pix2color.errors import DataError, PhotoError

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


def folder_of(path: Path, number: int) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for seed in range(number):
        (path / f"{seed:03}.png").write_bytes(encoded(colors(seed)))
    return path


def settings(*roots: Path, **options: object) -> config.DataConfig:
    return config.DataConfig.model_validate(
        {"root": [str(r) for r in roots], "side": 24, **options}
    )


def quarters(pixels: Pixels) -> list[tuple[int, ...]]:
    h, w = pixels.shape[:2]
    places = (
        (h // 4, w // 4),
        (h // 4, 3 * w // 4),
        (3 * h // 4, w // 4),
        (3 * h // 4, 3 * w // 4),
    )
    return [tuple(int(v) for v in pixels[y, x]) for y, x in places]


# Decoding


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


def test_broken_exif_spoils_nothing() -> None:
    data = encoded(corners(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert decode(data).shape == (48, 64, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    gray = Image.new("L", (40, 30), 128)
    if mode == "I;16":
        image = Image.fromarray(np.full((30, 40), 128 * 257, np.uint16))
    elif mode == "F":
        image = Image.fromarray(np.full((30, 40), 128 / 255, np.float32))
    else:
        image = gray.convert("RGBA").convert(mode) if mode == "PA" else gray.convert(mode)
    form = "TIFF" if mode in ("CMYK", "YCbCr", "PA", "F") else "PNG"
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


def test_transparency_lies_over_white() -> None:
    image = Image.new("RGBA", (8, 8), (*RED, 0))
    image.paste((*RED, 255), (0, 0, 4, 8))
    found = decode(encoded(image))
    assert tuple(found[4, 1]) == RED
    assert tuple(found[4, 6]) == WHITE


def test_profiles_are_converted_and_bad_ones_ignored() -> None:
    image = corners()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (lab, srgb, b"no profile at all"):  # LAB is of another mode: ignored
        np.testing.assert_array_equal(
            decode(encoded(image, icc_profile=profile)), np.asarray(image)
        )


def swapped_profile() -> bytes:
    """An sRGB profile whose red and blue primaries are exchanged, under another description."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        tag = bytes(profile[at : at + 4])
        if tag in (b"rXYZ", b"bXYZ"):
            profile[at : at + 4] = b"bXYZ" if tag == b"rXYZ" else b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


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
def test_what_is_no_photo_is_an_error(data: bytes, reason: str) -> None:
    with pytest.raises(PhotoError, match=reason):
        decode(data)


def test_decompression_bombs_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", (200, 200)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(PhotoError, match="exceeds limit"):
        decode(data, 16)


# Gray


@pytest.mark.parametrize(
    ("chroma", "gray"), [((0, 0), True), ((3, 2), True), ((6, 0), False), ((0, -20), False)]
)
def test_the_gray_rule_is_about_chroma(chroma: tuple[int, int], gray: bool) -> None:
    from skimage.color import lab2rgb

    lab = np.stack(np.broadcast_arrays(np.linspace(30, 80, 100)[:, None], *chroma), -1)
    pixels = (lab2rgb(np.repeat(lab, 90, 1)) * 255).round().astype(np.uint8)
    assert is_gray(pixels, 5.0) is gray


def test_colored_noise_is_gray_and_a_colored_corner_is_not() -> None:
    noise = np.random.default_rng(0).normal(128, 12, (480, 480, 3)).clip(0, 255).astype(np.uint8)
    assert is_gray(noise, 5.0)
    noise[:200, :200] = RED
    assert not is_gray(noise, 5.0)


# Loading


def test_bundled_photos_are_a_toy_and_say_so() -> None:
    said: list[str] = []
    loaded = load_photos(config.DataConfig(), parts=("train",), announce=said.append)
    assert loaded.bundled
    assert loaded.unsplit
    assert 1 <= len(loaded) <= 5
    assert any("toy amount" in line and "data.roots" in line for line in said)
    assert any("too few to split" in line for line in said)
    assert any("RAM" in line for line in said)
    other = load_photos(config.DataConfig(), parts=("val",))
    assert other.digest == loaded.digest


def test_parts_are_disjoint_complete_and_named(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "p", 60)
    data = settings(root, split={"train": 0.6, "val": 0.2, "test": 0.2})
    sets = {part: load_photos(data, parts=(part,)) for part in ALL_SPLITS}
    whole = load_photos(data, parts=ALL_SPLITS)
    assert all(len(one) > 3 for one in sets.values())
    assert sorted(d for s in sets.values() for d in s.digests) == whole.digests
    assert len(whole) == 60
    assert not whole.unsplit
    for part, one in sets.items():
        assert one.counts.other_splits == 60 - len(one)
        assert {split_of(digest, data.split) for digest in one.digests} == {part}
    first = whole.photos[0]
    np.testing.assert_array_equal(first, decode((tmp_path / whole.names[0]).read_bytes(), 24))
    assert whole.nbytes == sum(photo.nbytes for photo in whole.photos)


def test_names_places_and_threads_do_not_matter(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "p", 30)
    other = tmp_path / "q"
    (other / "deep").mkdir(parents=True)
    for number, path in enumerate(sorted(root.iterdir(), reverse=True)):
        (other / "deep" / f"x{number}.png").write_bytes(path.read_bytes())
    one = load_photos(settings(root, workers=0), parts=("train",))
    two = load_photos(settings(other, workers=4), parts=("train",))
    assert one.digests == two.digests
    assert one.digest == two.digest
    for a, b in zip(one.photos, two.photos, strict=True):
        np.testing.assert_array_equal(a, b)


def test_split_shares_and_edges() -> None:
    split = config.SplitConfig(train=0.7, val=0.2, test=0.1)
    hashes = [dataset.content_hash(str(i).encode()) for i in range(20_000)]
    found = [split_of(h, split) for h in hashes]
    for part, share in (("train", 0.7), ("val", 0.2), ("test", 0.1)):
        assert abs(found.count(part) / 20_000 - share) < 0.01  # type: ignore[arg-type]
    assert split_of("f" * 64, config.SplitConfig(train=1, val=0, test=0)) == "train"
    assert split_of("f" * 64, config.SplitConfig(train=0.9, val=0.1, test=0)) == "val"
    assert split_of("0" * 64, config.SplitConfig(train=0, val=0, test=1)) == "test"


def test_everything_left_out_is_counted(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "p", 30)
    (root / "again.png").write_bytes((root / "000.png").read_bytes())
    (root / "gray.png").write_bytes(encoded(colors(99).convert("L")))
    (root / "gray-again.png").write_bytes(encoded(colors(99).convert("L")))
    (root / "text.jpg").write_text("a text")
    loaded = load_photos(settings(root), parts=ALL_SPLITS)
    counts = loaded.counts
    assert (counts.found, counts.used, counts.gray, counts.duplicates) == (34, 30, 1, 2)
    assert counts.other_splits == 0
    assert counts.corrupt == (("p/text.jpg", "not a photo in a known format"),)
    kept = load_photos(settings(root), parts=ALL_SPLITS, keep_gray=True)
    assert (kept.counts.used, kept.counts.gray) == (31, 0)


def test_limit_takes_the_first_usable_by_content(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "p", 40)
    (root / "gray.png").write_bytes(encoded(colors(99).convert("L")))
    whole = load_photos(settings(root), parts=("train", "val"))
    for limit in (1, 7, len(whole), 1000):
        some = load_photos(settings(root, limit=limit), parts=("train", "val"))
        assert some.digests == whole.digests[:limit]
        assert some.counts.found == 41


def test_too_many_broken_files_stop_with_a_list(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "p", 40)
    for number in range(13):
        (root / f"torn-{number:02}.jpg").write_bytes(b"\xff\xd8 torn")
    with pytest.raises(DataError) as caught:
        load_photos(settings(root), parts=ALL_SPLITS)
    message = str(caught.value)
    assert "13 of 53 files" in message
    assert "p/torn-00.jpg (" in message
    assert "p/torn-09.jpg" in message
    assert "p/torn-10.jpg" not in message
    assert "and 3 more" in message
    assert "data.max_corrupt_fraction" in message
    loaded = load_photos(settings(root, max_broken=0.5), parts=ALL_SPLITS)
    assert (loaded.counts.used, len(loaded.counts.corrupt)) == (40, 13)


def test_no_usable_photo_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 1 files can be decoded.*torn\.jpg \(.*empty"):
        load_photos(settings(tmp_path, max_broken=1), parts=ALL_SPLITS)
    (tmp_path / "torn.jpg").write_bytes(encoded(colors(1).convert("L"), "JPEG"))
    with pytest.raises(DataError, match="no photo with colors"):
        load_photos(settings(tmp_path), parts=ALL_SPLITS)


def test_an_empty_part_falls_back_to_all_photos_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    root = folder_of(tmp_path / "p", 25)
    data = settings(root, split={"train": 1, "val": 0, "test": 0})
    loaded = load_photos(data, parts=("val",), announce=said.append)
    assert len(loaded) == 25
    assert loaded.unsplit
    assert any("no photo falls into val" in line for line in said)


@pytest.mark.parametrize("limit", [None, 5])
def test_progress_ends_at_its_total(tmp_path: Path, limit: int | None) -> None:
    root = folder_of(tmp_path / "p", 25)
    calls: list[tuple[int, int]] = []
    data = settings(root, limit=limit)
    load_photos(data, parts=ALL_SPLITS, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n + 1, limit or 25) for n in range(limit or 25)]


def test_pillow_warnings_do_not_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path / "p", 22)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(load_photos(settings(root), parts=ALL_SPLITS)) == 22
    assert not caught
