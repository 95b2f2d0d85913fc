"""How long the page takes in Chromium, and what a first visit loads.

    python tests/web/measure_page.py --runs 5

Serves an export from this machine. Prints the bytes of a first visit and its seconds until the
network is ready; the seconds of a later visit; and for photos of 1, 12 and 24 megapixels (JPEG,
gray, with grain; the first is chosen at once, before the browser has compiled all code): from
choosing the file until the photo is shown in color, from pressing Download until the file is there
(JPEG, PNG), and the most memory of the browser's page process. Medians.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import sync_playwright
from visitor import FLAGS, PHOTOS, Host, Visitor

from pix2color.cli import main as run_command

SIZES = {
    "first 1 MP": (1155, 866),
    "1 MP": (1155, 866),
    "12 MP": (4000, 3000),
    "24 MP": (6000, 4000),
}


def photo(path: Path, size: tuple[int, int]) -> Path:
    """A gray JPEG with grain, as scans have."""
    small = Image.open(PHOTOS / "coffee.jpg").convert("L")
    pixels = np.asarray(small.resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
    pixels += np.random.default_rng(0).normal(0, 3, pixels.shape)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)
    return path


class Memory(threading.Thread):
    """The most memory that a page process of the browser takes, looked at every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            for process in psutil.Process().children(recursive=True):
                try:
                    if "--type=renderer" in process.cmdline():
                        self.most = max(self.most, process.memory_info().rss)
                except psutil.Error:
                    continue

    def end(self) -> int:
        """Stop looking; the bytes."""
        self._ended.set()
        self.join()
        return self.most


def visit(browser: Any, url: str) -> tuple[dict[str, float], Visitor]:
    """A first and a second visit: seconds until the network is ready."""
    start = time.perf_counter()
    page = Visitor(browser, url, wait=False)
    page.tab.wait_for_selector("body[data-state=ready]")
    first = time.perf_counter() - start
    page.tab.get_by_text("works without a network").wait_for()
    start = time.perf_counter()
    page.tab.reload()
    page.tab.wait_for_selector("body[data-state=ready]")
    return {"first visit, s": first, "later visit, s": time.perf_counter() - start}, page


def color(page: Visitor, path: Path) -> dict[str, float]:
    """One photo, chosen, shown, downloaded."""
    start = time.perf_counter()
    page.upload(path)
    shown = time.perf_counter()
    page.download("jpeg")
    jpeg = time.perf_counter()
    page.download("png")
    png = time.perf_counter()
    page.tab.click("#clear")
    return {"shown, s": shown - start, "JPEG, s": jpeg - shown, "PNG, s": png - jpeg}


def measure(site: Path, folder: Path, runs: int) -> dict[str, dict[str, float]]:
    """All figures, by what was measured."""
    host = Host(site)
    found: dict[str, list[dict[str, float]]] = {}
    with sync_playwright() as driver:
        where = shutil.which("chromium") or shutil.which("chromium-browser")
        for _ in range(runs):
            browser = driver.chromium.launch(executable_path=where, headless=True, args=FLAGS)
            times, page = visit(browser, host.url)
            found.setdefault("visit", []).append(times)
            for name, size in SIZES.items():
                memory = Memory()
                memory.start()
                figures = color(page, photo(folder / f"{name}.jpg", size))
                found.setdefault(name, []).append(figures | {"memory, MB": memory.end() / 1e6})
            browser.close()
    host.stop()
    figures = {
        name: {key: statistics.median(each[key] for each in rows) for key in rows[0]}
        for name, rows in found.items()
    }
    figures["visit"]["bytes"] = sum(path.stat().st_size for path in site.iterdir())
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if code := run_command(["export", "--web", str(folder / "site")]):
            return code
        figures = measure(folder / "site", folder, options.runs)
    for what, values in figures.items():
        line = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
        sys.stdout.write(f"{what:10} {line}\n")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
