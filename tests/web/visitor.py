"""The page from a visitor's side: a plain host, and what is done in a browser."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 180  # for one step on a busy machine
PHOTOS = Path(__file__).parents[2] / "photos"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP photos.example 127.0.0.1",
)  # fmt: skip
"""Of Chromium."""


class Host:
    """A plain host of a folder, as `python -m http.server`."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(_QuietHandler, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Visitor:
    """A browser tab with the page open and its network loaded."""

    def __init__(self, browser: Any, url: str, *, width: int = 1280, wait: bool = True) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900})
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(1000 * SECONDS)
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.goto(url)
        if wait:
            self.tab.wait_for_selector("body[data-state=ready]")

    def upload(self, *files: Path) -> None:
        """Choose files and wait until the work on them is over."""
        self.tab.set_input_files("#files", [str(file) for file in files])
        self.wait()

    def wait(self) -> None:
        self.tab.wait_for_selector("body[data-work=idle]:not(:has([data-state=waiting]))")

    def status(self) -> str:
        return self.tab.locator("#status").inner_text().strip()

    def states(self) -> list[str]:
        read = "thumbs => thumbs.map(thumb => thumb.dataset.state)"
        states: list[str] = self.tab.eval_on_selector_all("#thumbs button", read)
        return states

    def label(self, name: str) -> str:
        """What a screen reader says of a photo's button."""
        return self.tab.locator(f'#thumbs button[title="{name}"]').get_attribute("aria-label")

    def show(self, name: str) -> None:
        self.tab.locator(f'#thumbs button[title="{name}"]').click()
        self.wait()

    def slide(self, name: str, value: float) -> None:
        """Move a slider, and wait for the new colors."""
        set_value = (
            "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }"
        )
        self.tab.locator(f"#{name}").evaluate(set_value, value)
        self.wait()

    def download(self, kind: str = "png", button: str = "#download") -> tuple[str, bytes]:
        """Name and bytes of a download as png or jpeg."""
        self.tab.select_option("#format", f"image/{kind}")
        with self.tab.expect_download() as event:
            self.tab.locator(button).click()
        self.wait()
        return event.value.suggested_filename, Path(event.value.path()).read_bytes()


def difference(first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean difference of two pictures in codes, and all differences."""
    assert first.shape == second.shape
    apart = np.abs(first.astype(int) - second.astype(int))
    return float(apart.mean()), apart
