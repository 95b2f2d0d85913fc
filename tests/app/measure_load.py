"""How much a page bears: clients that color photos one after another through gradio_client.

    python tests/app/measure_load.py --clients 8 --seconds 60

Starts the server itself, with the packaged weights. Each client colors 1-megapixel photos, each of
its own, and looks at every result: of the photo's size and in color. Prints photos per second,
how long one took (median, 95 %), how many were lost, and the server's memory over time.
With --slider it measures what a slider's move takes instead, by one client on one photo.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import skimage.data
from app_server import run_app
from PIL import Image

SIZE = (1155, 866)  # 1.0 megapixels
WARM_UP = 2  # photos before anything is counted


def photo(path: Path, seed: int) -> Path:
    """A gray photo of a megapixel that no other client has."""
    names = ("astronaut", "coffee", "chelsea", "rocket")
    picture = Image.fromarray(getattr(skimage.data, names[seed % 4])()).convert("L").resize(SIZE)
    grain = np.random.default_rng(seed).normal(0, 3, SIZE[::-1])
    pixels = np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=90)
    return path


class Client(threading.Thread):
    """One client."""

    def __init__(self, url: str, folder: Path, number: int, end: list[float]) -> None:
        super().__init__(name=f"client {number}")
        from gradio_client import Client as Gradio

        folder.mkdir(parents=True)
        self._client = Gradio(url, verbose=False, download_files=str(folder))
        self._photos = [photo(folder / f"{n}.jpg", 10 * number + n) for n in range(3)]
        self._end = end
        self.seconds: list[float] = []
        self.lost: list[str] = []

    def colorize(self, path: Path) -> None:
        """Color one photo and look at the result."""
        from gradio_client import handle_file

        made: Any = self._client.predict(handle_file(str(path)), api_name="/colorize")
        with Image.open(made if isinstance(made, str) else made["path"]) as image:
            spread = np.ptp(np.asarray(image.resize((64, 64))).astype(int), axis=2)
            if image.size != SIZE or spread.max() < 10:
                raise ValueError(f"a result of {image.size} with little color")

    def run(self) -> None:
        turn = 0
        while time.monotonic() < self._end[0]:
            start = time.monotonic()
            try:
                self.colorize(self._photos[turn % len(self._photos)])
                self.seconds.append(time.monotonic() - start)
            except Exception as error:  # what a client may see is what is counted
                self.lost.append(f"{self.name}: {error}")
            turn += 1


def memory(process: int) -> float:
    """Resident megabytes."""
    return psutil.Process(process).memory_info().rss / 1e6


def load(clients: int, seconds: float) -> dict[str, Any]:
    """Figures of a server under load."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "server").mkdir()
        with run_app(root / "server", "--device", "cpu") as server:
            end = [0.0]
            crowd = [Client(server.url, root / f"c{n}", n, end) for n in range(clients)]
            for _ in range(WARM_UP):
                for one in crowd:
                    one.colorize(one._photos[0])
            samples = [memory(server.process)]
            start = time.monotonic()
            end[0] = start + seconds
            for one in crowd:
                one.start()
            while any(one.is_alive() for one in crowd):
                time.sleep(min(2.0, seconds / 10))
                samples.append(memory(server.process))
            passed = time.monotonic() - start
    seconds_taken = [second for one in crowd for second in one.seconds]
    lost = [why for one in crowd for why in one.lost]
    third = max(1, len(samples) // 3)
    return {
        "clients": clients,
        "photos": len(seconds_taken),
        "lost": lost,
        "photos_per_second": round(len(seconds_taken) / passed, 2),
        "median_seconds": round(statistics.median(seconds_taken), 2) if seconds_taken else None,
        "p95_seconds": round(float(np.percentile(seconds_taken, 95)), 2) if seconds_taken else None,
        "memory_mb": [round(sample) for sample in samples],
        "memory_growth_mb": round(
            statistics.mean(samples[-third:]) - statistics.mean(samples[third : 2 * third])
        ),
    }


def slider(moves: int) -> dict[str, Any]:
    """Figures of one client that moves the temperature slider on a photo of a megapixel."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "server").mkdir()
        with run_app(root / "server", "--device", "cpu") as server:
            one = Client(server.url, root / "c", 0, [0.0])
            one.colorize(one._photos[0])
            seconds_taken = []
            for move in range(moves + 1):
                start = time.monotonic()
                one._client.predict(0.4 + 0.01 * move, 1.0, api_name="/change")
                seconds_taken.append(time.monotonic() - start)
    return {
        "moves": moves,
        "median_seconds": round(statistics.median(seconds_taken[1:]), 3),
        "worst_seconds": round(max(seconds_taken[1:]), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--slider", type=int, metavar="MOVES", help="measure a slider instead")
    options = parser.parse_args()
    figures = slider(options.slider) if options.slider else load(options.clients, options.seconds)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
