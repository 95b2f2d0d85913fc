"""Photos in RAM that several processes share: one copy, gone with the last process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from shard_files import colors

from pix2color.config import DataConfig
from pix2color.data.dataset import PhotoSet, content_hash, load_photos
from pix2color.data.shared_photos import Address, SharedLoad, can_share, receive
from pix2color.errors import DataError

pytestmark = pytest.mark.skipif(not can_share(), reason="needs Linux")

CHILD = """
import json, sys
from pix2color.data.dataset import content_hash
from pix2color.data.shared_photos import Address, receive
photos = receive(Address(int(sys.argv[1]), int(sys.argv[2])))
digests = [content_hash(photo.tobytes()) for photo in photos.photos]
print(json.dumps([digests, photos.names, photos.digest]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(24):
        (tmp_path / f"{number}.png").write_bytes(colors(number))
        (tmp_path / f"torn-{number}.png").write_bytes(bytes([number]))
    return tmp_path


def load(folder: Path) -> PhotoSet:
    data = DataConfig(roots=(str(folder),), cache_size=16, max_corrupt_fraction=1, decode_threads=0)
    return load_photos(data, splits=["train"])


def many(count: int = 40) -> PhotoSet:
    """Four megabytes of photos."""
    found = load_photos(DataConfig(), splits=["train", "val", "test"])
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (160, 210, 3), dtype=np.uint8) for _ in range(count)]
    names = [str(i) for i in range(count)]
    return PhotoSet(photos, names, [content_hash(p.tobytes()) for p in photos], found.counts,
                    bundled=False, unsplit=False)  # fmt: skip


@pytest.fixture
def child() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(address: Address) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", CHILD, str(address.process), str(address.descriptor)]
    return subprocess.Popen(
        command,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def mapped(process: int) -> dict[str, int]:
    """Kilobytes of the shared photos that a process has mapped, by the kernel's names."""
    found: dict[str, int] = {}
    ours = False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            ours = "memfd:pix2color-photos" in line
        elif ours and (match := re.match(r"(\w+): +(\d+) kB", line)):
            found[match[1]] = found.get(match[1], 0) + int(match[2])
    return found


def test_another_process_gets_the_same_photos(folder: Path) -> None:
    expected = load(folder)
    shared = SharedLoad()
    own = shared.run(lambda: load(folder))
    found = receive(shared.address)
    for photos in (own, found):
        assert photos.counts == expected.counts and photos.counts.corrupt
        assert (photos.names, photos.digests) == (expected.names, expected.digests)
        assert (photos.bundled, photos.unsplit) == (expected.bundled, expected.unsplit)
        for photo, other in zip(photos.photos, expected.photos, strict=True):
            np.testing.assert_array_equal(photo, other)
    found.photos[0][:] = 0  # of this process alone
    np.testing.assert_array_equal(own.photos[0], expected.photos[0])


def test_processes_hold_one_copy_which_ends_with_them(
    child: list[subprocess.Popen[str]],
) -> None:
    photos = many()
    nbytes, expected = photos.nbytes, [content_hash(p.tobytes()) for p in photos.photos]
    shared = SharedLoad()
    waiting = start(shared.address)  # before the photos are there
    child.append(waiting)
    shared.run(lambda: photos)
    assert sum(int(photo.sum()) for photo in photos.photos)  # touch every page
    assert waiting.stdout is not None
    assert json.loads(waiting.stdout.readline()) == [expected, photos.names, photos.digest]
    theirs = mapped(waiting.pid)
    assert theirs["Rss"] * 1024 >= 0.95 * nbytes
    assert theirs["Pss"] < 0.7 * theirs["Rss"]
    assert theirs["Private_Dirty"] == 0
    assert not list(Path("/dev/shm").glob("*pix2color*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_ends_while_it_reads_is_said(number: int) -> None:
    code = (
        "import time; from pix2color.data.shared_photos import SharedLoad;"
        "s = SharedLoad(); print(s.address.descriptor, flush=True); s.run(lambda: time.sleep(60))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    address = Address(process.pid, int(process.stdout.readline()))
    timer = threading.Timer(0.3, process.send_signal, [number])
    timer.start()
    started = time.monotonic()
    with pytest.raises(DataError, match=f"process {process.pid}.* ended"):
        receive(address)
    assert time.monotonic() - started < 30
    process.communicate()


def test_the_error_of_the_reading_process_is_that_of_all(tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"no photo")
    shared = SharedLoad()
    with pytest.raises(DataError) as own:
        shared.run(lambda: load(tmp_path))
    with pytest.raises(DataError) as found:
        receive(shared.address)
    assert str(found.value) == str(own.value) and "none of the 1 files" in str(own.value)
