"""A training in a process of its own that gets a signal."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from pix2color.config import Config

ROOT = Path(__file__).parents[1]


def kill_once_saved(config: Config, number: int) -> int:
    """Start train.py, send a signal once it has saved a state; its exit code."""
    recipe = Path(config.output).with_suffix(".yaml")
    recipe.write_text(config.dump(), encoding="utf-8")
    # One thread, as in this process: sums are taken in the same order.
    code = (
        "import sys, torch; torch.set_num_threads(1); from pix2color.cli import train;"
        f"sys.exit(train.main(['--quiet', '--config', {str(recipe)!r}]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not list(Path(config.output, "state").glob("samples-*")):
            assert process.poll() is None and time.monotonic() < end, "it saved no state"
            time.sleep(0.02)
        process.send_signal(number)
        return process.wait(60)
    finally:
        process.kill()
        process.wait()
