"""Every source of photos: files of unique names that are read alike, from any thread."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pix2color.color.lab import rgb_to_lab
from pix2color.data.decode import decode
from pix2color.data.discovery import BUNDLED, FileRef, list_photos
from pix2color.errors import DataError

SIZE = (24, 36)


def photos() -> list[np.ndarray]:
    """Three colored photos, uint8 24,36,3, inside sRGB also after rounding in Lab."""
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] / SIZE[1]
    base = np.stack((0.3 + 0.3 * rows, 0.6 - 0.3 * columns, 0.4 + 0.2 * rows * columns), axis=2)
    return [np.round(255 * np.roll(base, turn, axis=2)).astype(np.uint8) for turn in range(3)]


def png(photo: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG")
    return file.getvalue()


def folder(path: Path) -> list[str]:
    for number, photo in enumerate(photos()):
        part = path / "photos" / "ab"[number % 2]
        part.mkdir(parents=True, exist_ok=True)
        (part / f"{number}.png").write_bytes(png(photo))
    return [str(path / "photos")]


def files(path: Path) -> list[str]:
    (root,) = folder(path)
    return sorted(str(file) for file in Path(root).rglob("*.png"))


def tar(path: Path) -> list[str]:
    with tarfile.open(path / "shard.tar", "w") as shard:
        for number, photo in enumerate(photos()):
            member = tarfile.TarInfo(f"{number}.png")
            data = png(photo)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return [str(path / "*.tar")]


def npy(path: Path) -> list[str]:
    rgb = torch.from_numpy(np.stack(photos())).permute(0, 3, 1, 2) / 255
    lab = rgb_to_lab(rgb).permute(0, 2, 3, 1).numpy()
    np.save(path / "l.npy", np.round(lab[..., 0] * 2.55).astype(np.uint8))
    np.save(path / "ab.npy", np.round(lab[..., 1:] + 128).astype(np.uint8))
    return [str(path / "l.npy"), str(path / "ab.npy")]


def bundled(path: Path) -> list[str]:
    return []


SOURCES: dict[str, Callable[[Path], list[str]]] = {
    "folder": folder, "files": files, "tar": tar, "npy": npy, "bundled": bundled,
}  # fmt: skip
OWN = [name for name in SOURCES if name != "bundled"]


@pytest.fixture(params=SOURCES)
def items(request: pytest.FixtureRequest, tmp_path: Path) -> list[FileRef]:
    return list_photos(SOURCES[request.param](tmp_path))


def test_names_are_unique_and_sorted(items: list[FileRef]) -> None:
    names = [item.name for item in items]
    assert names == sorted(set(names))
    assert all(name and not name.startswith("/") for name in names)


def test_the_stated_size_is_that_of_the_file(items: list[FileRef]) -> None:
    for item in items:
        header = 20 if item.path.suffix == ".npy" else 0  # its size is that of the pixels alone
        assert item.size <= len(item.read()) <= item.size + header


def test_every_item_is_a_photo(items: list[FileRef]) -> None:
    for item in items:
        pixels = decode(item.read(), 24)
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        assert min(pixels.shape[:2]) == 24


def test_threads_read_what_one_reads(items: list[FileRef]) -> None:
    alone = [item.read() for item in items]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda item: item.read(), 3 * items)) == 3 * alone


@pytest.mark.parametrize("name", SOURCES)
def test_listing_twice_is_the_same(name: str, tmp_path: Path) -> None:
    roots = SOURCES[name](tmp_path)
    assert list_photos(roots) == list_photos(roots)


@pytest.mark.parametrize("name", OWN)
def test_the_pixels_are_those_that_were_put_in(name: str, tmp_path: Path) -> None:
    found = sorted(
        decode(item.read(), 24).tolist() for item in list_photos(SOURCES[name](tmp_path))
    )
    wanted = sorted(photo.tolist() for photo in photos())
    assert len(found) == len(wanted)
    most = 6 if name == "npy" else 0  # L and ab were rounded to whole numbers
    assert np.abs(np.array(found) - np.array(wanted)).max() <= most


def test_the_bundled_photos_are_those_that_are_named() -> None:
    assert {item.name for item in list_photos([])} <= {f"skimage/{name}" for name in BUNDLED}


@pytest.mark.parametrize("name", OWN)
def test_a_source_that_is_gone_is_an_error_of_one_line(name: str, tmp_path: Path) -> None:
    roots = SOURCES[name](tmp_path)
    listed = list_photos(roots)
    for path in {item.path for item in listed}:
        path.unlink()
    for item in listed:
        with pytest.raises(OSError):
            item.read()
    with pytest.raises(DataError) as caught:
        list_photos([*roots, str(tmp_path / "missing")])
    assert "\n" not in str(caught.value)
