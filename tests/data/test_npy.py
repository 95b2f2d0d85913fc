"""NumPy arrays as photos: 8-bit Lab as OpenCV writes it, one array of L and several of ab."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pix2color.color.lab import rgb_to_lab
from pix2color.config import DataConfig
from pix2color.data.dataset import load_photos
from pix2color.data.discovery import list_photos
from pix2color.data.npy import natural_sort
from pix2color.data.streaming import stream_photos
from pix2color.errors import DataError

SIDE = 24


def lab8(rgb: np.ndarray) -> np.ndarray:
    """N,H,W,3 uint8 RGB -> OpenCV's 8-bit Lab."""
    lab = rgb_to_lab(torch.from_numpy(rgb).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    lab[..., 0] *= 255 / 100
    lab[..., 1:] += 128
    return lab.round().clip(0, 255).astype(np.uint8)


@pytest.fixture
def rgb(photos: dict[str, np.ndarray]) -> np.ndarray:
    """Five crops of one photo: 5,SIDE,SIDE,3."""
    photo = np.asarray(Image.fromarray(photos["astronaut"]).resize((128, 128)))
    return np.stack([photo[i : i + SIDE, i : i + SIDE] for i in range(20, 70, 10)])


@pytest.fixture
def folder(rgb: np.ndarray, tmp_path: Path) -> Path:
    """As the Kaggle set lies on disk: l/gray_scale.npy, ab/ab/ab1.npy, ab2.npy."""
    lab = lab8(rgb)
    (tmp_path / "l").mkdir()
    (tmp_path / "ab" / "ab").mkdir(parents=True)
    np.save(tmp_path / "l" / "gray_scale.npy", lab[..., 0])
    np.save(tmp_path / "ab" / "ab" / "ab1.npy", lab[:3, ..., 1:])
    np.save(tmp_path / "ab" / "ab" / "ab2.npy", lab[3:, ..., 1:])
    return tmp_path


def test_photos_are_read_up_to_rounding(folder: Path, rgb: np.ndarray) -> None:
    items = list_photos([str(folder)])
    assert [item.name for item in items] == [
        *(f"ab1.npy/{i:06d}" for i in range(3)),
        *(f"ab2.npy/{i:06d}" for i in range(2)),
    ]
    for item, wanted in zip(items, rgb, strict=True):
        found = np.asarray(Image.open(io.BytesIO(item.read())))
        # 8-bit Lab costs 0.65 level on average and at most 20.
        error = np.abs(found.astype(float) - wanted)
        assert error.mean() < 1.5
        assert error.max() <= 20


def test_arrays_named_one_by_one_are_the_same_set(folder: Path) -> None:
    names = ("l/gray_scale.npy", "ab/ab/ab1.npy", "ab/ab/ab2.npy")
    named = list_photos([str(folder / name) for name in names])
    assert [i.read() for i in named] == [i.read() for i in list_photos([str(folder)])]


def test_training_and_streaming_read_them(folder: Path) -> None:
    data = DataConfig.model_validate(
        {"roots": str(folder), "cache_size": SIDE, "min_chroma": 0, "decode_threads": 0}
    )
    loaded = load_photos(data, splits=["train"])
    assert len(loaded) == 5
    streamed = stream_photos(data, splits=["train"], rank=0, world=1, seed=0, epoch=0)
    assert {photo.digest for photo in streamed} == set(loaded.digests)


def test_a_stray_array_beside_photos_is_passed_over(photo_folder: Path, tmp_path: Path) -> None:
    for photo in photo_folder.iterdir():
        (tmp_path / photo.name).write_bytes(photo.read_bytes())
    np.save(tmp_path / "features.npy", np.zeros(3))
    assert len(list_photos([str(tmp_path)])) == len(list(photo_folder.iterdir()))


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["ab/ab10.npy", "ab/ab9.npy", "ab/ab1.npy", "l/l.npy"]
    assert [p.name for p in natural_sort([Path(n) for n in names])][:3] == [
        "ab1.npy",
        "ab9.npy",
        "ab10.npy",
    ]


L = np.zeros((2, 8, 8), np.uint8)
AB = np.zeros((2, 8, 8, 2), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ([L], ["1 arrays of L and 0 of ab", "N,H,W,2"]),
        ([AB], ["0 arrays of L and 1 of ab"]),
        ([L, L, AB], ["2 arrays of L"]),
        ([L, AB[:1]], ["contains 2 photos, the ab arrays 1", "in their order"]),
        ([L, AB[:, :4]], ["4 x 8", "8 x 8", "do not belong together"]),
        ([L.astype(np.float32), AB], ["float32", "8-bit Lab"]),
        ([L, np.zeros((2, 8, 8, 3), np.uint8)], ["2,8,8,3"]),
        ([L[:0], AB[:0]], ["0,8,8"]),
        ([np.array(3, np.uint8)], ["a single number"]),
        ([np.array([{"a": 1}], dtype=object)], ["not a NumPy array of plain numbers"]),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, arrays: list[np.ndarray], said: list[str]) -> None:
    for number, array in enumerate(arrays):
        np.save(tmp_path / f"{number}.npy", array, allow_pickle=True)
    with pytest.raises(DataError) as caught:
        list_photos([str(tmp_path)])
    for words in said:
        assert words in str(caught.value)


def test_a_file_that_is_not_an_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.npy").write_bytes(b"not an array")
    with pytest.raises(DataError, match=r"l\.npy is not a NumPy array"):
        list_photos([str(tmp_path / "l.npy")])


def test_a_deleted_array_is_a_corrupt_photo(folder: Path) -> None:
    items = list_photos([str(folder)])
    (folder / "l" / "gray_scale.npy").unlink()
    with pytest.raises(OSError, match="gray_scale"):
        items[0].read()
