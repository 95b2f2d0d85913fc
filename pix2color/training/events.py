"""What a training tells while it goes on, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Figures = Mapping[str, float]


@dataclass(frozen=True)
class TrainEvent:
    """What an observer is told while training goes on."""

    samples: int
    total: int | None
    """None where the budget is in minutes alone."""
    fraction: float
    """Of the budget, 0..1."""
    rate: float
    """Samples a second over the last interval."""
    metrics: Figures
    """Means of the losses (log) or the validation figures."""
    kind: Literal["step", "log", "validation"]


@dataclass(frozen=True)
class TrainResult:
    """How a training ended."""

    samples: int
    seconds: float
    rate: float
    skipped: int
    best: float
    best_samples: int
    metrics: Figures
    """Of the last validation."""
    release: Path | None
    finished: bool
    """False when it was stopped before its budget was spent."""
