"""Which code trained and measured the rows of a table: rows of different code are not mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pix2color
from pix2color._version import __version__
from pix2color.benchmark.plan import RecipeRun
from pix2color.errors import ConfigError
from pix2color.io import atomic_write

CODE = "code.json"
"""In a run folder: the code that trains it."""
_TRAINING = ("build.py", "color", "config", "data", "losses", "models", "photo", "training")
_MEASURING = ("color", "evaluation", "inference", "models", "photo", "runtime")
_UNKNOWN = "not recorded"


@cache
def training_code() -> str:
    """12 hex digits over the source files that a training's result depends on."""
    return _digest(_TRAINING)


@cache
def measuring_code() -> str:
    """The same for an evaluation."""
    return _digest(_MEASURING)


def record(folder: Path) -> None:
    """Write which code trains a run, before its first step."""
    atomic_write(folder / CODE, json.dumps({"pix2color": __version__, "code": training_code()}))


def recorded(folder: Path) -> str:
    """The code that trained the run of a folder."""
    file = folder / CODE
    if not file.is_file():
        return _UNKNOWN
    return str(json.loads(file.read_text(encoding="utf-8"))["code"])


def check(runs: Sequence[RecipeRun], out: Path, *, finished: str) -> None:
    """Refuse rows that were or would be trained by different code.

    Args:
        runs: of the plan; those that cannot be trained do not count.
        out: the report's folder.
        finished: file in the folder of a run that is trained no further.

    Raises:
        ConfigError: names the rows of each code.
    """
    rows: dict[str, list[str]] = {}
    for run in runs:
        if run.unavailable:
            continue
        folder = out / "runs" / run.name
        done = (folder / finished).is_file()
        begun = done or (folder / "state").is_dir()
        codes = [recorded(folder)] if begun else []
        for code in dict.fromkeys(codes if done else [*codes, training_code()]):
            rows.setdefault(code, []).append(run.name)
    if len(rows) < 2:
        return
    texts = [
        f"{', '.join(names)}: {code}{' (this one)' if code == training_code() else ''}"
        for code, names in rows.items()
    ]
    raise ConfigError(
        f"one table cannot compare rows that different code has trained: {'; '.join(texts)}",
        remedy=f"remove the runs of other code from {out / 'runs'}, or choose another {{out}}",
    )


def _digest(parts: Sequence[str]) -> str:
    root = Path(pix2color.__file__).parent
    digest = hashlib.sha256()
    for part in parts:
        path = root / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
