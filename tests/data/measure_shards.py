"""The share of time that a training would wait for photos of indexed shards, and the memory.

    python tests/data/measure_shards.py my-shards/ --rate 2000 --threads 8
    python tests/data/measure_shards.py s3://bucket/shards/
    python tests/data/measure_shards.py --photos 8000 --side 176 --s3

A consumer that does nothing takes batches at a fixed rate, one of which is prepared meanwhile, as
by the training's loader; no crop is cut. It prints the rate reached, the share of waiting, the
process's CPU time per sample, the seconds until the first batch, and the peak memory. `--photos`
makes shards of smooth noise in a temporary folder, and `--s3` uploads the shards to an S3 server of
this machine (moto, extra [cloud-test]), which runs in a process of its own. `--unindexed` reads
shards of a disk as a stream. For figures that can be trusted, nothing else may run on the machine;
say whether the shards were in the cache of the operating system.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from pix2color.config import DataConfig
from pix2color.data.indexed import IndexedSource, select_photos
from pix2color.data.loader import PhotoSource, StreamingSource
from pix2color.data.shard_cache import ShardCache
from pix2color.data.shard_index import build_index, write_index
from pix2color.data.shards import list_shards

SERVER = (
    "import sys; from moto.server import ThreadedMotoServer;"
    "server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False);"
    "server.start(); print(*server.get_host_and_port(), flush=True); sys.stdin.read()"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", nargs="*", help="indexed shards, folders or URLs")
    parser.add_argument("--photos", type=int, default=8000, help="to make without shards (8000)")
    parser.add_argument("--side", type=int, default=176, help="of these photos, in pixels (176)")
    parser.add_argument("--rate", type=float, default=2000, help="samples per second (2000)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2, help="data.decode_threads (2)")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--warm-up", type=float, default=0, help="seconds that are not counted")
    parser.add_argument("--unindexed", action="store_true", help="read as a stream")
    parser.add_argument("--s3", action="store_true", help="upload to an S3 server of this machine")
    parser.add_argument("--cache-gb", type=float, default=20, help="data.shard_cache_gb (20)")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        roots = options.shards or [str(make_shards(folder, options.photos, options.side))]
        if options.s3:
            roots = [stack.enter_context(uploaded(roots))]
        measure(options, tuple(roots), folder / "cache")


def measure(options: argparse.Namespace, roots: tuple[str, ...], cache_folder: Path) -> None:
    """Read the shards and print how it went."""
    memory = peak_memory()
    data = DataConfig(roots=roots, cache="none", decode_threads=options.threads)
    start = time.perf_counter()
    source: PhotoSource
    if options.unindexed:
        source = StreamingSource(data, seed=0)
    else:
        photos = select_photos(data, splits=["train"])
        seconds = time.perf_counter() - start
        tell(f"{len(photos):,} photos known after {seconds:.2f} s")
        cache = ShardCache(cache_folder, int(options.cache_gb * 10**9), announce=tell)
        source = IndexedSource(photos, data, seed=0, cache=cache if options.cache_gb else None)
    source.load(0, options.batch)
    tell(f"first batch after {time.perf_counter() - start:.2f} s")
    consume(source, options.batch, options.rate, options.seconds, options.warm_up)
    source.close()
    tell(f"peak memory {peak_memory():.0f} MB, {memory:.0f} MB before the shards were listed")


def consume(
    source: PhotoSource, batch: int, rate: float, seconds: float, warm_up: float = 0
) -> None:
    """Take batches at a rate at most, and print how it went after the warm-up."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(source.load, batch, batch)
        start = due = time.perf_counter()
        counts_from = start + warm_up
        waited, taken, counted, first, cpu = 0.0, 0, 0, start, 0.0
        while (now := time.perf_counter()) < counts_from + seconds:
            if not counted:
                first, cpu = now, time.process_time()
            upcoming.result()
            taken += batch
            if now >= counts_from:
                waited += time.perf_counter() - now
                counted += batch
            upcoming = pool.submit(source.load, batch + taken, batch)
            due = max(due + batch / rate, time.perf_counter() - batch / rate)
            time.sleep(max(0.0, due - time.perf_counter()))
        elapsed, cpu = time.perf_counter() - first, time.process_time() - cpu
    tell(
        f"{counted / elapsed:.0f} samples per second, waiting {waited / elapsed:.1%},"
        f" {1000 * cpu / counted:.2f} ms of CPU time per sample"
    )


def make_shards(folder: Path, photos: int, side: int, per_shard: int = 1000) -> Path:
    """Indexed shards of JPEG files, `side` pixels high and a third wider."""
    rng = np.random.default_rng(0)
    folder = folder / "shards"
    folder.mkdir()
    for first in range(0, photos, per_shard):
        with tarfile.open(folder / f"train-{first // per_shard:03}.tar", "w") as tar:
            for number in range(first, min(first + per_shard, photos)):
                coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
                buffer = io.BytesIO()
                coarse.resize((side * 4 // 3, side), Image.Resampling.BICUBIC).save(buffer, "JPEG")
                member = tarfile.TarInfo(f"{number:06}.jpg")
                member.size = buffer.tell()
                buffer.seek(0)
                tar.addfile(member, buffer)
    for shard in list_shards([str(folder)])[1]:
        write_index(shard, build_index(shard, threads=os.cpu_count() or 1))
    size = sum(path.stat().st_size for path in folder.iterdir())
    tell(f"made {photos:,} photos of {side * 4 // 3} x {side} pixels, {size / 1e6:.0f} MB")
    return folder


def peak_memory() -> float:
    """Of this process so far, in MB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


@contextlib.contextmanager
def uploaded(roots: list[str]) -> Iterator[str]:
    """The URL of copies of shards and their indexes in an S3 server of this machine."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        host, port = server.stdout.readline().split()
        os.environ["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
        os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "testing"
        import s3fs

        store = s3fs.S3FileSystem()
        store.mkdir("measured")
        for shard in list_shards(roots)[1]:
            with shard.as_file() as path:
                store.put_file(str(path), f"measured/shards/{shard.name}")
                index = f"{path}.index.json"
                store.put_file(index, f"measured/shards/{shard.name}.index.json")
        yield "s3://measured/shards"
    finally:
        server.kill()
        server.communicate()


def tell(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
