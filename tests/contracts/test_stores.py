"""One contract for every kind of store: a folder, objects in memory, objects on a bad network."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flaky_store import FlakyFileSystem, flaky_store, new_url
from fsspec.registry import _registry

from pix2color.data.object_store import is_url
from pix2color.errors import StoreError
from pix2color.jobs.store import FolderStore, ObjectStore, Store, digest, open_store


def s3_store(folder: Path) -> Store:
    """On a server of this machine; needs the extra [cloud-test]."""
    from s3_server import new_s3_url

    return open_store(new_s3_url())


KINDS: dict[str, Callable[[Path], Store]] = {
    "folder": lambda folder: FolderStore(folder / "store"),
    "memory": lambda folder: open_store(new_url()),
    "s3": s3_store,
    "flaky": lambda folder: flaky_store(new_url())[0],
}


@pytest.fixture(params=list(KINDS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return KINDS[request.param](tmp_path)


def test_what_is_written_is_listed_and_read(store: Store) -> None:
    contents = {"a.jpg": b"one", "deep/er/b c.png": b"two" * 999, "deep/ü.tif": b"", ".own/x": b"4"}
    for name, data in contents.items():
        store.write(name, data)
    entries = store.list()
    assert [e.name for e in entries] == sorted(contents)
    assert {e.name: e.size for e in entries} == {n: len(d) for n, d in contents.items()}
    assert all(e.version for e in entries)
    assert {n: store.read(n) for n in contents} == contents
    assert all(store.exists(n) for n in contents)
    assert [e.name for e in store.list("deep")] == ["deep/er/b c.png", "deep/ü.tif"]


def test_what_is_not_there_is_said_with_its_whole_name(store: Store) -> None:
    assert store.list() == [] and store.list("none") == []
    assert not store.exists("none.jpg")
    with pytest.raises(StoreError, match=r"none\.jpg") as caught:
        store.read("none.jpg")
    assert store.url in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_of_names_is_no_file(store: Store) -> None:
    store.write("deep/a.jpg", b"one")
    assert not store.exists("deep")


def test_nothing_that_is_not_ours_is_written_over(store: Store) -> None:
    store.write("a.jpg", b"of somebody else")
    for replaces in ("", digest(b"what we wrote")):
        with pytest.raises(StoreError, match="exists"):
            store.write("a.jpg", b"ours", replaces=replaces)
        assert store.read("a.jpg") == b"of somebody else"


def test_the_same_content_again_is_no_error_and_what_is_ours_is_replaced(store: Store) -> None:
    store.write("a.jpg", b"ours")
    before = store.list()
    store.write("a.jpg", b"ours")
    assert store.list() == before
    store.write("a.jpg", b"ours, again", replaces=digest(b"ours"))
    assert store.read("a.jpg") == b"ours, again"
    assert store.list()[0].version != before[0].version


def test_a_size_other_than_listed_is_an_error(store: Store) -> None:
    store.write("a.jpg", b"four")
    assert store.read("a.jpg", size=4) == b"four"
    with pytest.raises(StoreError, match="4 bytes where 5"):
        store.read("a.jpg", size=5)


def test_of_several_writers_of_a_new_name_one_is_kept_whole(store: Store) -> None:
    contents = [bytes([65 + n]) * 5000 for n in range(4)]
    refused: list[StoreError] = []

    def write(data: bytes) -> None:
        try:
            store.write("a.jpg", data)
        except StoreError as error:
            refused.append(error)

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read("a.jpg") in contents and len(refused) == 3


def test_s3_without_a_bucket_or_credentials_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from s3_server import new_s3_url

    url = new_s3_url()
    with pytest.raises(StoreError, match="no such object, prefix or bucket"):
        open_store(f"{url}-other").list()
    s3fs = sys.modules["s3fs"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreError, match="sign in") as caught:
        open_store(url).list()
    s3fs.S3FileSystem.clear_instance_cache()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(3))
def test_a_bad_network_changes_no_byte(seed: int) -> None:
    """Failures before and after a call took effect, late answers, halves."""
    store, network = flaky_store(new_url(), seed=seed)
    contents = {f"{n:03}.jpg": bytes([n]) * (n + 2) for n in range(100)}
    for name, data in contents.items():
        store.write(name, data)
        assert store.read(name) == data
    assert [e.name for e in store.list()] == list(contents)
    assert min(network.went_wrong.values()) > 2


def test_a_network_that_is_down_is_an_error_and_leaves_nothing() -> None:
    url = new_url()
    store = ObjectStore(FlakyFileSystem(every=1), url.removeprefix("memory:/"), url, delay=0.0001)
    failed = 0
    for number in range(20):
        try:
            store.write(f"{number}.jpg", b"whole")
        except StoreError as error:
            assert f"{url}/{number}.jpg" in str(error) and "\n" not in str(error)
            failed += 1
    assert failed
    assert {e.size for e in open_store(url).list()} <= {5}


@pytest.mark.parametrize(
    ("url", "words"),
    [("nosuch://bucket/scans", "nosuch"), ("s3://bucket/scans", "s3fs"), ("gs://b", "gcsfs")],
)
def test_a_store_that_cannot_be_opened_names_the_extra(
    url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, package, None)
    for protocol in ("s3", "gs"):  # what an earlier test may have opened
        monkeypatch.delitem(_registry, protocol, raising=False)
    with pytest.raises(StoreError, match=words) as caught:
        open_store(url)
    assert "pix2color[cloud]" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words", "remedy"),
    [
        (FileNotFoundError("The specified bucket does not exist"), "no such object, prefix or "
         "bucket", "check the name"),
        (PermissionError("Forbidden"), "access denied", "what they may do"),
        (PermissionError("The difference between the request time and the server's time is too "
         "large."), "the request time", "set the clock"),
        (PermissionError("RequestTimeTooSkewed"), "RequestTimeTooSkewed", "set the clock"),
        (RuntimeError("Unable to locate credentials"), "locate credentials", "sign in"),
        (OSError(errno.ENAMETOOLONG, "Your key is too long"), "key is too long", "check the name"),
        (ValueError("Parameter validation failed:\nInvalid bucket name"), "Invalid bucket name",
         "check the name"),
        (ConnectionRefusedError("connect: refused"), "refused", "{resume} goes on"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, Exception) else "",
)  # fmt: skip
def test_what_a_cloud_refuses_is_one_line_with_the_remedy(
    error: Exception, words: str, remedy: str
) -> None:
    class Refusing:
        def __getattr__(self, name: str) -> Any:
            def refuse(*arguments: object, **options: object) -> None:
                raise error

            return refuse

    store = ObjectStore(Refusing(), "bucket/scans", "s3://bucket/scans", delay=0)
    for call in (store.list, lambda: store.read("a.jpg"), lambda: store.write("a.jpg", b"data")):
        with pytest.raises(StoreError) as caught:
            call()
        message, found = caught.value.message, caught.value.remedy
        assert message.startswith("s3://bucket/scans") and words in message
        assert remedy in found and "\n" not in message


def test_what_is_a_url() -> None:
    assert is_url("s3://bucket/a") and is_url("memory://a") and is_url("file:///tmp")
    assert not any(is_url(p) for p in ("photos/", "C:\\photos", "C://photos", Path("s3:/b"), ""))
