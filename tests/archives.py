"""Photos by the hundred for the engines, and what runs over them leave."""

from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from pix2color.jobs.store import Store, digest

ROOT = Path(__file__).parents[1]
CODECS = ROOT / "tests/jobs/codecs"
RECORD = ".pix2color/"


def photo(number: int, *, comment: str = "") -> bytes:
    """A gray JPEG of 64 pixels with soft shapes, another one per number."""
    y, x = np.mgrid[:64, :64] / 64
    waves = np.sin(7 * x + number) + np.cos(5 * y * (1 + number % 7)) + x * y
    gray = np.uint8(127 + 40 * waves)
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "JPEG", quality=85, comment=comment or str(number))
    return file.getvalue()


def fill(store: Store, count: int, marked: Mapping[int, str] | None = None) -> None:
    """Photos in folders of 100; marked ones are dangerous (`jobs/codecs/sitecustomize.py`)."""
    for number in range(count):
        word = (marked or {}).get(number, "")
        data = photo(number, comment=word and f"pix2color-test:{word};")
        store.write(f"{number // 100:02}/{number:05}.jpg", data)


def command(*arguments: object) -> list[str]:
    """infer.py with the packaged weights at their smallest input."""
    return [sys.executable, str(ROOT / "infer.py"), *map(str, arguments), "--size", "32"]


def environment() -> dict[str, str]:
    """Of processes with the dangerous decoders."""
    paths = (str(ROOT), str(CODECS), os.environ.get("PYTHONPATH", ""))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
    }


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run infer.py to its end."""
    return subprocess.run(
        command(*arguments), env=environment(), capture_output=True, text=True, timeout=560,
        check=False,
    )  # fmt: skip


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start infer.py."""
    return subprocess.Popen(
        command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def result(store: Store) -> dict[str, str]:
    """Digests of all outputs and of the commits of the record, by name; nothing else may be there.

    The plan and the lines of each run beside them name runs and seconds.
    """
    names = [entry.name for entry in store.list() if entry.size]
    varying = (f"{RECORD}runs/", f"{RECORD}manifest/")
    return {name: digest(store.read(name)) for name in names if not name.startswith(varying)}


def wait_for_outputs(store: Store, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many photos are colored; the process must not end before."""
    deadline = time.monotonic() + 240
    while sum(not e.name.startswith(".") for e in store.list()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no photos are colored"
        time.sleep(0.2)


def kill_one(process: int, word: str) -> None:
    """SIGKILL to one process below `process`, drawn from those whose command line has a word.

    Waits until there is one: where all have just been killed, others are starting.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        below = psutil.Process(process).children(recursive=True)
        for each in random.sample(below, len(below)):
            with contextlib.suppress(psutil.NoSuchProcess):  # it ends just now
                if word in " ".join(each.cmdline()):
                    each.kill()
                    return
        time.sleep(0.05)
    raise AssertionError(f"no process with {word} below {process}")
