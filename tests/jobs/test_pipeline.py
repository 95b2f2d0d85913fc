"""Runs over folders: resume, order, memory, hostile files, kill -9."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_model import fake_colorizer
from PIL import Image

from pix2color import io
from pix2color.inference.colorizer import Colorizer
from pix2color.jobs import pipeline
from pix2color.jobs.planner import Job, plan_jobs
from pix2color.photo import Limits, Photo, read, write

TESTS = Path(__file__).parents[1]


@pytest.fixture
def colorizer() -> Colorizer:
    return fake_colorizer()


def folder_of(root: Path, count: int, *, side: int = 60) -> Path:
    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    for i in range(count):
        small = rng.integers(0, 256, (6 + i % 3, 8), dtype=np.uint8)
        image = Image.fromarray(small).resize((side + i, side), Image.Resampling.BICUBIC)
        image.save(root / f"{i:02}{('.jpg', '.png', '.tif')[i % 3]}")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def color(colorizer: Colorizer, source: Path, out: Path, **options: object) -> dict[str, str]:
    workers = options.pop("workers", None)
    settings = pipeline.JobOptions(**{"decode": colorizer.decode} | options)  # type: ignore[arg-type]
    jobs = plan_jobs([source], out).jobs
    runs = pipeline.colorize_jobs(jobs, lambda: colorizer, settings, workers=workers)  # type: ignore[arg-type]
    return {o.job.source.name: o.status for o in runs}


def test_the_same_bytes_for_any_order_and_number_of_workers(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    source = folder_of(tmp_path / "in", 6)
    results = []
    for workers, threads in ((1, 1), (4, 1), (3, 2)):
        torch.set_num_threads(threads)
        out = tmp_path / f"out{workers}"
        color(colorizer, source, out, workers=workers)
        results.append(contents(out))
    torch.set_num_threads(1)
    for job in reversed(plan_jobs([source], tmp_path / "reversed").jobs):
        list(
            pipeline.colorize_jobs([job], lambda: colorizer, pipeline.JobOptions(colorizer.decode))
        )
    results.append(contents(tmp_path / "reversed"))
    assert len(results[0]) == 6 and all(r == results[0] for r in results)


def test_photos_whose_names_differ_at_the_end_alone_keep_their_own_picture(
    tmp_path: Path, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: time.sleep(0.2))  # a slow disk
    source = folder_of(tmp_path / "in", 8, side=200)
    long = "the town hall on market day " * 3
    names = ["p.jpg", "p.png", "p.tif", *(f"{long}{i}.jpg" for i in range(5))]
    for path, name in zip(sorted(source.iterdir()), names, strict=True):
        path.rename(source / name)
    statuses = color(colorizer, source, tmp_path / "together", workers=8)
    assert statuses == dict.fromkeys(names, "done")
    color(colorizer, source, tmp_path / "alone", workers=1)
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")


def test_resume_skips_what_is_done_and_redoes_what_changed(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    source, out = folder_of(tmp_path / "in", 4), tmp_path / "out"
    color(colorizer, source, out)
    before = contents(out)
    (out / "01.png").unlink()
    newer = time.time() + 10
    os.utime(source / "02.tif", (newer, newer))
    stale = out / f".03.{io._owner(2**22 + 1)}{io.PART_SUFFIX}"
    stale.write_bytes(b"half")
    statuses = color(colorizer, source, out, resume=True)
    assert statuses == {
        "00.jpg": "skipped",
        "01.png": "done",
        "02.tif": "done",
        "03.jpg": "skipped",
    }
    assert contents(out) == before


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("could not create a primitive")])
def test_out_of_memory_to_the_last_fails_the_photo_and_leaves_no_gray_one(
    error: Exception, tmp_path: Path, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(colorizer.runtime, "run", none)
    source = folder_of(tmp_path / "in", 2)
    assert set(color(colorizer, source, tmp_path / "out").values()) == {"failed"}
    assert contents(tmp_path / "out") == {}


def test_a_full_disk_fails_the_photo_and_leaves_nothing(
    tmp_path: Path, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder_of(tmp_path / "in", 2)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    statuses = color(colorizer, source, tmp_path / "out")
    assert set(statuses.values()) == {"failed"} and contents(tmp_path / "out") == {}


def hostile(seed: int, count: int, samples: list[bytes]) -> list[bytes]:
    """Files that begin like photos: real ones cut, flipped, spliced and with wild numbers."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        data = bytearray(rng.choice(samples))
        for _ in range(rng.randint(1, 6)):
            kind = rng.randrange(4)
            place = rng.randrange(min(len(data), rng.choice((32, 128, 4096))))
            if kind == 0:
                data[place] = rng.randrange(256)
            elif kind == 1:
                data[place : place + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
            elif kind == 2:
                del data[place + 1 :]
            else:
                data[place:place] = rng.randbytes(rng.randint(1, 40))
        made.append(bytes(data))
    return made


def test_hostile_files_are_all_named(tmp_path: Path, colorizer: Colorizer) -> None:
    """A tenth of the 2,000 that `count` stands for in the slow form below."""
    _hostile_run(tmp_path, colorizer, 200)


@pytest.mark.slow
def test_two_thousand_hostile_files_are_all_named(tmp_path: Path, colorizer: Colorizer) -> None:
    _hostile_run(tmp_path, colorizer, 2000)


def _hostile_run(tmp_path: Path, colorizer: Colorizer, count: int) -> None:
    import psutil

    gray = np.asarray(Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).resize((40, 30)))
    samples = []
    for name, mode in (
        ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "L"), ("PNG", "P"), ("PNG", "I;16"), ("TIFF", "L"),
        ("TIFF", "RGB"), ("WEBP", "RGB"), ("BMP", "L"), ("GIF", "L"), ("PPM", "L"),
        ("JPEG2000", "L"), ("AVIF", "RGB"),
    ):  # fmt: skip
        image = Image.fromarray(gray.astype(np.uint16) * 257 if mode == "I;16" else gray)
        path = tmp_path / "sample"
        (image if mode == "I;16" else image.convert(mode)).save(path, name)
        samples.append(path.read_bytes())
    source = tmp_path / "in"
    source.mkdir()
    for i, data in enumerate(hostile(7, count, samples)):
        (source / f"{i:04}.jpg").write_bytes(data)
    before = psutil.Process().memory_info().rss
    statuses = color(colorizer, source, tmp_path / "out")
    assert len(statuses) == count and set(statuses.values()) <= {"done", "failed"}
    assert sum(s == "failed" for s in statuses.values()) > count // 3
    assert psutil.Process().memory_info().rss - before < 300e6
    done = {name for name, status in statuses.items() if status == "done"}
    assert {p.name for p in (tmp_path / "out").rglob("*") if p.is_file()} == done


RUNNER = """
import pathlib, sys
from pix2color import Colorizer
from pix2color.jobs import pipeline
from pix2color.jobs.planner import plan_jobs
colorizer = Colorizer.from_pretrained(device="cpu")
options = pipeline.JobOptions(colorizer.resolve_decode(input_size=32), resume=True)
print("ready", flush=True)
while True:
    jobs = plan_jobs([sys.argv[1]], sys.argv[2]).jobs
    for outcome in pipeline.colorize_jobs(jobs, lambda: colorizer, options):
        pass
    for path in pathlib.Path(sys.argv[2]).rglob("*"):
        path.unlink()
"""
"""With the packaged weights: their graph needs no torch, which takes seconds to import."""


def runner(source: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUNNER, str(source), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS.parent)


def test_kill_leaves_no_partial_file_and_resume_completes(tmp_path: Path) -> None:
    _killed(tmp_path, kills=2)


@pytest.mark.exhaustive
def test_two_hundred_kills(tmp_path: Path) -> None:
    _killed(tmp_path, kills=200)


def _killed(tmp_path: Path, *, kills: int) -> None:
    """SIGKILL at random instants of a run that starts over and over; then a resumed run."""
    colorizer = Colorizer.from_pretrained(device="cpu")
    decode = colorizer.resolve_decode(input_size=32)
    source = folder_of(tmp_path / "in", 6, side=300)
    originals = contents(source)
    color(colorizer, source, tmp_path / "calm", decode=decode)
    expected = contents(tmp_path / "calm")
    out = tmp_path / "out"
    rng = random.Random(5)
    for _ in range(kills):
        process = runner(source, out)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for name, data in contents(out).items() if out.exists() else ():
            assert name.endswith(io.PART_SUFFIX) or data == expected[name]
    assert contents(source) == originals
    color(colorizer, source, out, decode=decode, resume=True)
    assert contents(out) == expected


def test_write_takes_its_place_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    write(Photo(np.zeros((4, 4), np.uint8)), target)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_job_whose_folder_is_a_file_fails_alone(tmp_path: Path, colorizer: Colorizer) -> None:
    source = folder_of(tmp_path / "in", 2)
    (tmp_path / "file").write_text("in the way")
    jobs = [
        Job(source / "00.jpg", tmp_path / "file" / "00.jpg"),
        Job(source / "01.png", tmp_path / "out" / "01.png"),
    ]
    runs = pipeline.colorize_jobs(jobs, lambda: colorizer, pipeline.JobOptions(colorizer.decode))
    assert {o.job.source.name: o.status for o in runs} == {"00.jpg": "failed", "01.png": "done"}


class Concurrency:
    """Counts the pixels that are read at a time."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def read(self, path: Path, **options: object) -> Photo:
        pixels = 80 * 100
        with self._lock:
            self.now += pixels
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self._lock:
            self.now -= pixels
        return read(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("megapixels", "most"), [(0.009, 8000), (0.017, 16_000)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_photos_at_a_time_are_bounded_by_their_pixels_not_by_their_files(
    tmp_path: Path,
    colorizer: Colorizer,
    monkeypatch: pytest.MonkeyPatch,
    megapixels: float,
    most: int,
    suffix: str,
) -> None:
    """All that run together have no more pixels than the largest photo that is allowed."""
    (tmp_path / "in").mkdir()
    for number in range(6):  # some hundred bytes each, as scans of text are
        image = Image.new("1", (100, 80 if suffix == ".png" else 40))
        more = {} if suffix == ".png" else {"save_all": True, "append_images": [image.copy()]}
        image.save(tmp_path / f"in/{number}{suffix}", **more)
    counted = Concurrency()
    monkeypatch.setattr(pipeline, "read", counted.read)
    limits = Limits(megapixels=megapixels)
    statuses = color(colorizer, tmp_path / "in", tmp_path / "out", workers=4, limits=limits)
    assert set(statuses.values()) == {"done"} and counted.most == most


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (IndexError("index 7 is out of bounds"), "IndexError: index 7 is out of bounds"),
        (RuntimeError("CUDA error: device-side assert triggered\nmore"), "device-side assert"),
        (AssertionError(), "AssertionError"),
        (RecursionError("deep"), "RecursionError: deep"),
        (torch.OutOfMemoryError("CUDA out of memory."), "out of memory"),
    ],
)
def test_whatever_one_photo_raises_is_its_outcome_and_the_others_go_on(
    tmp_path: Path,
    colorizer: Colorizer,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    words: str,
) -> None:
    def faulty(path: Path, **options: object) -> Photo:
        if path.name == "01.png":
            raise error
        return read(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "read", faulty)
    jobs = plan_jobs([folder_of(tmp_path / "in", 4)], tmp_path / "out").jobs
    options = pipeline.JobOptions(colorizer.decode)
    found = {o.job.source.name: o for o in pipeline.colorize_jobs(jobs, lambda: colorizer, options)}
    assert [found[name].status for name in sorted(found)] == ["done", "failed", "done", "done"]
    reason = found["01.png"].reason
    assert words in reason and "\n" not in reason


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_inside_a_worker_ends_the_run(
    tmp_path: Path,
    colorizer: Colorizer,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    def interrupted(path: Path, **options: object) -> Photo:
        raise error

    monkeypatch.setattr(pipeline, "read", interrupted)
    with pytest.raises(error):
        color(colorizer, folder_of(tmp_path / "in", 2), tmp_path / "out", workers=1)


def test_a_job_with_a_problem_fails_with_it(tmp_path: Path, colorizer: Colorizer) -> None:
    source = folder_of(tmp_path / "in", 1) / "00.jpg"
    job = Job(source, tmp_path / "out/00.jpg", problem="it and another would both become 00.jpg")
    options = pipeline.JobOptions(colorizer.decode)
    [outcome] = pipeline.colorize_jobs([job], lambda: colorizer, options)
    assert (outcome.status, outcome.reason) == ("failed", job.problem)
    assert not (tmp_path / "out").exists()


def test_a_pipe_that_took_a_photos_place_fails_and_does_not_hang(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    job = Job(tmp_path / "a.jpg", tmp_path / "out/a.jpg")
    options = pipeline.JobOptions(colorizer.decode)
    started = threading.Event()

    def run() -> None:
        [outcome] = pipeline.colorize_jobs([job], lambda: colorizer, options)
        assert outcome.status == "failed" and "not a regular file" in outcome.reason
        started.set()

    threading.Thread(target=run, daemon=True).start()
    assert started.wait(10)
