"""The share of time that a training would wait for photos from indexed shards.

    python -m pix2color index my-shards/
    python tests/data/measure_shards.py my-shards/ --rate 2000 --threads 8

A consumer that does nothing takes batches at a fixed rate, one of which is prepared meanwhile, as
by the training's loader; no crop is cut. It prints the rate reached, the share of waiting, the
seconds until the first batch, and the memory. `--unindexed` reads the same shards as a stream. For
figures that can be trusted, nothing else may run on the machine; say whether the shards were in
the cache of the operating system.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from pix2color.config import DataConfig
from pix2color.data.indexed import IndexedSource, select_photos
from pix2color.data.loader import PhotoSource, StreamingSource


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--rate", type=float, default=2000, help="samples per second (2000)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2, help="data.decode_threads (2)")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--unindexed", action="store_true", help="read as a stream")
    options = parser.parse_args()
    data = DataConfig(roots=tuple(options.shards), cache="none", decode_threads=options.threads)
    start = time.perf_counter()
    source: PhotoSource
    if options.unindexed:
        source = StreamingSource(data, seed=0)
    else:
        photos = select_photos(data, splits=["train"])
        sys.stdout.write(
            f"{len(photos):,} photos known after {time.perf_counter() - start:.2f} s\n"
        )
        source = IndexedSource(photos, data, seed=0)
    source.load(0, options.batch)
    sys.stdout.write(f"first batch after {time.perf_counter() - start:.2f} s\n")
    consume(source, options.batch, options.rate, options.seconds)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kB elsewhere
    sys.stdout.write(
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.0f} MB\n"
    )


def consume(source: PhotoSource, batch: int, rate: float, seconds: float) -> None:
    """Take batches at a rate at most, and print how it went."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(source.load, batch, batch)
        start = due = time.perf_counter()
        waited, taken = 0.0, 0
        while (now := time.perf_counter()) < start + seconds:
            upcoming.result()
            waited += time.perf_counter() - now
            taken += batch
            upcoming = pool.submit(source.load, batch + taken, batch)
            due += batch / rate
            time.sleep(max(0.0, due - time.perf_counter()))
        elapsed = time.perf_counter() - start
    sys.stdout.write(f"{taken / elapsed:.0f} samples per second, waiting {waited / elapsed:.1%}\n")


if __name__ == "__main__":
    main()
