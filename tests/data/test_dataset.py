"""Photos in RAM: decoding, splitting, and the honest count of what is left out."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2color import config
from pix2color.data import dataset
from pix2color.data.dataset import ALL_SPLITS, load_photos, split_of
from pix2color.data.decode import decode
from pix2color.errors import DataError


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
        {"roots": [str(r) for r in roots], "cache_size": 24, **options}
    )


def test_bundled_photos_are_announced_as_a_toy() -> None:
    lines: list[str] = []
    loaded = load_photos(config.DataConfig(), splits=("train",), announce=lines.append)
    assert loaded.bundled
    assert loaded.unsplit
    assert 1 <= len(loaded) <= 5
    assert any("toy amount" in line and "data.roots" in line for line in lines)
    assert any("too few to split" in line for line in lines)
    assert any("RAM" in line for line in lines)
    other = load_photos(config.DataConfig(), splits=("val",))
    assert other.digest == loaded.digest


def test_splits_are_disjoint_and_complete(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "p", 60)
    data = settings(root, split={"train": 0.6, "val": 0.2, "test": 0.2})
    sets = {split: load_photos(data, splits=(split,)) for split in ALL_SPLITS}
    whole = load_photos(data, splits=ALL_SPLITS)
    assert all(len(one) > 3 for one in sets.values())
    assert sorted(d for s in sets.values() for d in s.digests) == whole.digests
    assert len(whole) == 60
    assert not whole.unsplit
    for split, one in sets.items():
        assert one.counts.other_splits == 60 - len(one)
        assert {split_of(digest, data.split) for digest in one.digests} == {split}
    first = whole.photos[0]
    np.testing.assert_array_equal(first, decode((tmp_path / whole.names[0]).read_bytes(), 24))
    assert whole.nbytes == sum(photo.nbytes for photo in whole.photos)


def test_names_folders_and_threads_do_not_matter(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "p", 30)
    other = tmp_path / "q"
    (other / "deep").mkdir(parents=True)
    for number, path in enumerate(sorted(root.iterdir(), reverse=True)):
        (other / "deep" / f"x{number}.png").write_bytes(path.read_bytes())
    one = load_photos(settings(root, decode_threads=0), splits=("train",))
    two = load_photos(settings(other, decode_threads=4), splits=("train",))
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
    loaded = load_photos(settings(root), splits=ALL_SPLITS)
    counts = loaded.counts
    assert (counts.found, counts.used, counts.gray, counts.duplicates) == (34, 30, 1, 2)
    assert counts.other_splits == 0
    assert counts.corrupt == (("p/text.jpg", "not a photo of a format that can be read"),)
    kept = load_photos(settings(root), splits=ALL_SPLITS, keep_gray=True)
    assert (kept.counts.used, kept.counts.gray) == (31, 0)


def test_limit_takes_the_first_usable_by_content(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "p", 40)
    (root / "gray.png").write_bytes(encoded(colors(99).convert("L")))
    whole = load_photos(settings(root), splits=("train", "val"))
    for limit in (1, 7, len(whole), 1000):
        some = load_photos(settings(root, max_photos=limit), splits=("train", "val"))
        assert some.digests == whole.digests[:limit]
        assert some.counts.found == 41


def test_too_many_broken_files_stop_with_a_list(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "p", 40)
    for number in range(13):
        (root / f"torn-{number:02}.jpg").write_bytes(b"\xff\xd8 torn")
    with pytest.raises(DataError) as caught:
        load_photos(settings(root), splits=ALL_SPLITS)
    message = str(caught.value)
    assert "13 of 53 files" in message
    assert "p/torn-00.jpg (" in message
    assert "p/torn-09.jpg" in message
    assert "p/torn-10.jpg" not in message
    assert "and 3 more" in message
    assert "data.max_corrupt_fraction" in message
    loaded = load_photos(settings(root, max_corrupt_fraction=0.5), splits=ALL_SPLITS)
    assert (loaded.counts.used, len(loaded.counts.corrupt)) == (40, 13)


def test_no_usable_photo_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 1 files can be decoded.*torn\.jpg \(.*empty"):
        load_photos(settings(tmp_path, max_corrupt_fraction=1), splits=ALL_SPLITS)
    (tmp_path / "torn.jpg").write_bytes(encoded(colors(1).convert("L"), "JPEG"))
    with pytest.raises(DataError, match="no photo with colors"):
        load_photos(settings(tmp_path), splits=ALL_SPLITS)


def test_an_empty_split_falls_back_to_all_photos_and_announces_it(tmp_path: Path) -> None:
    lines: list[str] = []
    root = folder_of(tmp_path / "p", 25)
    data = settings(root, split={"train": 1, "val": 0, "test": 0})
    loaded = load_photos(data, splits=("val",), announce=lines.append)
    assert len(loaded) == 25
    assert loaded.unsplit
    assert any("no photo falls into val" in line for line in lines)


@pytest.mark.parametrize("limit", [None, 5])
def test_progress_ends_at_its_total(tmp_path: Path, limit: int | None) -> None:
    root = folder_of(tmp_path / "p", 25)
    calls: list[tuple[int, int]] = []
    data = settings(root, max_photos=limit)
    load_photos(data, splits=ALL_SPLITS, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n + 1, limit or 25) for n in range(limit or 25)]


def test_pillow_warnings_do_not_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path / "p", 22)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(load_photos(settings(root), splits=ALL_SPLITS)) == 22
    assert not caught
