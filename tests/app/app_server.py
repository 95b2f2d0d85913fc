"""The web app in a process of its own, for tests and measurements."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_SECONDS = 180


@dataclass(frozen=True)
class AppServer:
    """A running server."""

    url: str
    temporary: Path
    """Its folder of temporary files."""
    process: int

    def sessions(self) -> list[Path]:
        """The sessions' folders."""
        return [*self.temporary.glob("pix2color-page-*/uploads/sessions/*")]

    def uploads(self) -> Path:
        """The folder of uploads."""
        [found] = self.temporary.glob("pix2color-page-*/uploads")
        return found.resolve()


@contextlib.contextmanager
def run_app(temporary: Path, *options: str) -> Iterator[AppServer]:
    """Run `python -m pix2color app`; at the end it is stopped and must leave nothing behind."""
    command = [sys.executable, "-m", "pix2color", "app", "--port", "0", *options]
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    with (temporary / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True, cwd=temporary
        )
        assert process.stdout is not None
        killer = threading.Timer(START_SECONDS, process.kill)
        killer.start()
        line = process.stdout.readline()
        killer.cancel()
        try:
            assert line.startswith("web app: "), (temporary / "log").read_text()
            yield AppServer(line.removeprefix("web app: ").strip(), temporary, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    assert not [*temporary.glob("pix2color-page-*")]
