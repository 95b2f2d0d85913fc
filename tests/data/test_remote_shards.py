"""Shards in object stores: the same samples as from a disk, through a bad network, too."""

from __future__ import annotations

import secrets
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from shard_files import colors, indexed_shards, pack

from pix2color.cli import main
from pix2color.config import DataConfig
from pix2color.data import indexed, object_store
from pix2color.data.dataset import load_photos
from pix2color.data.indexed import IndexedSource, has_indexes, select_photos
from pix2color.data.shard_cache import ShardCache
from pix2color.data.shard_index import read_index
from pix2color.data.shards import RemoteShard, list_shards
from pix2color.data.streaming import stream_photos
from pix2color.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE, DataError


class BadNetwork(MemoryFileSystem):
    """Objects in memory; many a call fails, comes late or transfers half of the bytes.

    The same call goes wrong twice in a row at most.
    """

    protocol = "bad"
    store: dict[str, Any] = {}  # noqa: RUF012
    calls: Counter[str] = Counter()  # noqa: RUF012
    broken = False

    def cat_file(self, path: str, **options: Any) -> bytes:
        call = f"{path} {options}"
        self.calls[call] += 1
        number = self.calls[call]
        kind = zlib.crc32(f"{call} {number}".encode()) % 6 if number % 3 else 5
        if self.broken or kind == 0:
            raise ConnectionResetError("connection reset by peer")
        if kind == 1:
            time.sleep(0.002)
        data: bytes = super().cat_file(path, **options)
        return data[: len(data) // 2] if kind == 2 else data


@pytest.fixture(autouse=True)
def _bad_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    fsspec.register_implementation("bad", BadNetwork, clobber=True)
    monkeypatch.setattr(object_store, "DELAY", 0.001)
    monkeypatch.setattr(BadNetwork, "broken", False)
    yield


@pytest.fixture(params=["memory", "bad", pytest.param("s3", marks=pytest.mark.slow)])
def bucket(request: pytest.FixtureRequest) -> str:
    """The URL of an empty bucket."""
    if request.param == "s3":
        from s3_server import new_s3_url

        return new_s3_url()
    return f"{request.param}:///{secrets.token_hex(6)}"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Four indexed shards of twelve photos."""
    return indexed_shards(tmp_path / "shards")


def upload(folder: Path, url: str, pattern: str = "*") -> None:
    for path in folder.glob(pattern):
        with fsspec.open(f"{url}/{path.name}", "wb", use_listings_cache=False) as file:
            file.write(path.read_bytes())


def settings(root: object, **options: object) -> DataConfig:
    values = {
        "roots": [str(root)],
        "cache_size": 16,
        "cache": "none",
        "shuffle_shards": 2,
        "read_ahead": 8,
        "split": {"train": 0.8, "val": 0.1, "test": 0.1},
    }
    return DataConfig.model_validate(values | options)


def source_of(data: DataConfig, cache: ShardCache | None = None, world: int = 1) -> IndexedSource:
    return IndexedSource(
        select_photos(data, splits=["train"]), data, seed=3, world=world, cache=cache
    )


def wait_for(true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize(("threads", "cached"), [(0, False), (2, True)])
def test_the_samples_of_a_store_are_those_of_a_disk(
    shards: Path, bucket: str, tmp_path: Path, threads: int, cached: bool
) -> None:
    upload(shards, f"{bucket}/shards")
    cache = ShardCache(tmp_path / "cache", 10**9, announce=pytest.fail) if cached else None
    expected = source_of(settings(shards))
    found = source_of(settings(f"{bucket}/shards/", decode_threads=threads), cache)
    assert found.photos.digest == expected.photos.digest
    assert found.photos.names == expected.photos.names
    for first in [*range(0, 3 * len(expected.photos), 7), 5]:
        photos, crops = expected.load(first, 7)
        own_photos, own_crops = found.load(first, 7)
        assert torch.equal(own_photos, photos) and own_crops.seeds == crops.seeds
    found.close()
    if cache:
        wait_for(lambda: len(list(cache.folder.glob("*.tar"))) == 4)


def test_two_and_four_processes_share_what_one_would_see(
    shards: Path, bucket: str, tmp_path: Path
) -> None:
    upload(shards, bucket)
    alone = source_of(settings(shards))
    for world in (2, 4):
        size = 8 // world
        ranks = [
            source_of(
                settings(bucket),
                ShardCache(tmp_path / "cache", 10**9, rank=rank, world=world),
                world,
            )
            for rank in range(world)
        ]
        for step in range(8):
            photos, crops = alone.load(step * 8, 8)
            parts = [ranks[rank].load(step * 8 + rank * size, size) for rank in range(world)]
            assert torch.equal(torch.cat([part for part, _ in parts]), photos)
            assert sum((part.seeds for _, part in parts), ()) == crops.seeds


@pytest.mark.parametrize("root", ["", "/*/train-[01].tar", "/deep/train-1.tar"])
def test_index_writes_beside_the_shards_of_a_url(
    root: str, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for shard in range(3):
        path = tmp_path / f"train-{shard}.tar"
        pack(path, [(f"{n}.png", colors(10 * shard + n)) for n in range(3)])
    upload(tmp_path, f"{bucket}/deep")
    assert main(["index", bucket + root, "--threads", "1"]) == EXIT_OK
    _, listed = list_shards([bucket + root])
    assert [len(read_index(shard)) for shard in listed] == [3] * {
        "": 3,
        "/deep/train-1.tar": 1,
    }.get(root, 2)
    assert f"{bucket}/deep/train-1.tar: 3 photos" in capsys.readouterr().err
    assert main(["index", bucket + root]) == EXIT_OK
    assert capsys.readouterr().err.count("index is current") == len(listed)


def test_shards_that_were_written_again_are_stale_until_indexed(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [(f"{n}.png", colors(n)) for n in range(3)]
    pack(tmp_path / "s.tar", photos)
    upload(tmp_path, bucket)
    assert main(["index", bucket, "--quiet"]) == EXIT_OK
    pack(tmp_path / "s.tar", photos[::-1])
    upload(tmp_path, bucket)
    with pytest.raises(DataError, match=r"the index of .*s\.tar is stale.*another (version|size)"):
        select_photos(settings(bucket), splits=["train"])
    assert main(["index", bucket, "--quiet"]) == EXIT_OK
    assert len(select_photos(settings(bucket), splits=["train"])) == 3


def test_a_broken_shard_is_named(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(tmp_path / "s.tar", [(f"{n}.png", colors(n)) for n in range(3)])
    (tmp_path / "s.tar").write_bytes((tmp_path / "s.tar").read_bytes()[:1500])
    upload(tmp_path, bucket)
    assert main(["index", bucket]) == EXIT_FAILED
    assert f"error: {bucket}/s.tar is not a whole, uncompressed" in capsys.readouterr().err
    assert not has_index(bucket)


def has_index(url: str) -> bool:
    return any(shard.has_index() for shard in list_shards([url])[1])


@pytest.mark.parametrize("damage", ["cut", "replaced", "gone"])
def test_a_shard_that_changes_under_the_run_is_named(
    shards: Path, bucket: str, tmp_path: Path, damage: str
) -> None:
    upload(shards, bucket)
    cache = ShardCache(tmp_path / "cache", 10**9)
    source = source_of(settings(bucket, decode_threads=2, read_ahead=0), cache)
    files = fsspec.core.url_to_fs(bucket, use_listings_cache=False)[0]
    for shard in shards.glob("*.tar"):
        if damage == "gone":
            files.rm_file(f"{bucket}/{shard.name}")
        elif damage == "cut":
            shard.write_bytes(shard.read_bytes()[:600])
        else:
            pack(shard, [(f"{n}.png", colors(7000 + n)) for n in range(30)])
    if damage != "gone":
        upload(shards, bucket, "*.tar")
    with pytest.raises(DataError, match=r"train-\d\.tar") as caught:
        source.load(0, 40)
    assert "\n" not in str(caught.value)
    source.close()
    assert not list(cache.folder.glob("*.tar"))  # no copy of another content


def test_copies_are_kept_within_their_limit(shards: Path, tmp_path: Path) -> None:
    url = f"memory:///{secrets.token_hex(6)}"
    upload(shards, url)
    size = max(path.stat().st_size for path in shards.glob("*.tar"))
    cache = ShardCache(tmp_path / "cache", 2 * size + 100)
    source = source_of(settings(url, shuffle_shards=1), cache)
    expected = source_of(settings(shards, shuffle_shards=1))
    seen: set[str] = set()
    for first in range(0, 4 * len(source.photos), 4):
        assert torch.equal(source.load(first, 4)[0], expected.load(first, 4)[0])
        copies = list(cache.folder.glob("*.tar"))
        assert len(copies) <= 2
        seen |= {path.name for path in copies}
        wait_for(lambda: not cache._copying)
    assert len(seen) == 4


def test_a_copy_is_read_and_a_damaged_one_replaced(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"memory:///{secrets.token_hex(6)}"
    upload(shards, url)
    cache = ShardCache(tmp_path / "cache", 10**9)
    data = settings(url, shuffle_shards=4, decode_threads=0)
    expected = source_of(data, cache).load(0, 30)[0]
    wait_for(lambda: len(list(cache.folder.glob("*.tar"))) == 4)
    again = source_of(data, cache)
    with monkeypatch.context() as patch:
        patch.setattr(RemoteShard, "read", lambda *_: pytest.fail("the store was read"))
        assert torch.equal(again.load(0, 30)[0], expected)
    for path in cache.folder.glob("*.tar"):
        path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(again.load(0, 30)[0], expected)
    assert not list(cache.folder.glob("*.tar"))


def test_a_cache_that_cannot_be_written_is_said_once(shards: Path, tmp_path: Path) -> None:
    url = f"memory:///{secrets.token_hex(6)}"
    upload(shards, url)
    (tmp_path / "file").write_text("no folder")
    said: list[str] = []
    cache = ShardCache(tmp_path / "file" / "cache", 10**9, announce=said.append)
    source = source_of(settings(url), cache)
    assert torch.equal(source.load(0, 40)[0], source_of(settings(shards)).load(0, 40)[0])
    wait_for(lambda: said and not cache._copying)
    source.load(40, 40)
    assert len(said) == 1 and "data.shard_cache" in said[0]


def test_compressed_files_are_read_ahead(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory:///{secrets.token_hex(6)}"
    upload(shards, url)
    source = source_of(settings(url, read_ahead=12, decode_threads=1))
    source.load(0, 4)
    ahead = list(source._ahead.values())
    assert len(ahead) == 20 and sum(sample.pixels is not None for sample in ahead) == 8
    wait_for(lambda: all(sample.content.done() for sample in ahead))
    monkeypatch.setattr(indexed, "_MOST_BYTES", 100)
    again = source_of(settings(url, read_ahead=12, decode_threads=1))
    again.load(0, 4)
    assert len(again._ahead) == 8  # large files: the next batch, and no more
    assert all(isinstance(sample.content.result(), bytes) for sample in ahead)


def test_a_store_that_never_answers_is_an_error_in_one_line(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"bad:///{secrets.token_hex(6)}"
    upload(shards, url)
    source = source_of(settings(url, decode_threads=2))
    monkeypatch.setattr(BadNetwork, "broken", True)
    with pytest.raises(DataError, match=r"train-\d\.tar: ConnectionResetError: connection reset"):
        source.load(0, 8)
    source.close()


def test_only_the_photos_of_the_validation_are_read(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"memory:///{secrets.token_hex(6)}"
    upload(shards, url)
    data = settings(url, split={"train": 0.5, "val": 0.5, "test": 0})
    expected = load_photos(settings(shards, split=data.split.model_dump()), splits=["val"])
    read: list[int] = []
    lock, plain = threading.Lock(), RemoteShard.read

    def counted(shard: RemoteShard, offset: int, size: int) -> bytes:
        with lock:
            read.append(size)
        return plain(shard, offset, size)

    monkeypatch.setattr(RemoteShard, "read", counted)
    photos = select_photos(data, splits=["val"]).read_first(3, data)
    assert [p.tobytes() for p in photos] == [p.tobytes() for p in expected.photos[:3]]
    assert len(read) == 3


def test_what_is_missing_is_said(shards: Path, tmp_path: Path) -> None:
    url = f"memory:///{secrets.token_hex(6)}"
    with pytest.raises(DataError, match=r"no \.tar shards in memory://"):
        has_indexes([url])
    upload(shards, url, "*.tar")
    with pytest.raises(DataError, match="4 of 4 shards have no index: memory://"):
        has_indexes([url])
    upload(shards, url)
    assert has_indexes([url])
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "a.png").write_bytes(colors(1))
    with pytest.raises(DataError, match=r"1 photos are not in shards, such as loose/a\.png"):
        has_indexes([url, str(tmp_path / "loose")])
    with pytest.raises(DataError, match=r"only a training reads URLs"):
        load_photos(settings(url), splits=["train"])
    with pytest.raises(DataError, match=r"only a training reads URLs"):
        next(stream_photos(settings(url), splits=["train"], rank=0, world=1, seed=0, epoch=0))


def test_shards_of_a_disk_and_of_a_store_are_one_set(shards: Path, tmp_path: Path) -> None:
    url = f"memory:///{secrets.token_hex(6)}/shards"
    upload(shards, url, "train-[01]*")
    data = settings(shards).model_copy(update={"roots": (str(shards), url, url)})
    photos = select_photos(data, splits=["train"])
    assert photos.counts.duplicates > 0 and len(photos) == len(
        select_photos(settings(shards), splits=["train"])
    )
    labels = [shard.label for shard in photos.files]
    assert len(set(labels)) == 6 and "shards#2/train-0.tar" in labels


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (PermissionError("Access Denied"), "check the credentials and what they may do"),
        (
            PermissionError("The difference between the request time and the server's time is too"
            " large."),
            "set the clock of this machine",
        ),
        (RuntimeError("Unable to locate credentials"), "sign in with the cloud's own tool"),
    ],
)  # fmt: skip
def test_a_bucket_that_cannot_be_written_is_said_for_every_shard(
    error: Exception,
    remedy: str,
    shards: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = f"bad:///{secrets.token_hex(6)}"
    upload(shards, url, "train-[01].tar")

    def refuse(self: BadNetwork, *_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(BadNetwork, "pipe_file", refuse)
    assert main(["index", url, "--quiet"]) == EXIT_FAILED
    *lines, last = capsys.readouterr().err.splitlines()
    assert last == "2 of 2 shards were not indexed" and len(lines) == 2
    assert all("tar.index.json: " in line and str(error) in line for line in lines)
    assert all(remedy in line for line in lines)
    assert not has_index(url)


def test_a_missing_package_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    fsspec.register_implementation(
        "far", "no_such_package.Files", clobber=True, errtxt="Install no_such_package"
    )
    assert main(["index", "far://bucket/shards"]) == EXIT_USAGE
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "Install no_such_package" in line
    assert 'pip install "pix2color[cloud]"' in line


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nosuch://bucket/shards", "Protocol not known"),
        ("s3://no-such-bucket-of-anybody/shards", "no such object, prefix or bucket"),
        ("s3://Bad_Bucket!/shards", "Invalid bucket name"),
    ],
)
@pytest.mark.slow
def test_a_url_that_cannot_be_read_is_one_line(
    url: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if url.startswith("s3"):
        from s3_server import new_s3_url

        new_s3_url()
    assert main(["index", url]) == EXIT_USAGE
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1 and reason in line and url in line


@pytest.mark.slow
def test_missing_credentials_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from s3_server import new_s3_url

    url = new_s3_url()
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    try:
        assert main(["index", url]) == EXIT_USAGE
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "sign in" in line
