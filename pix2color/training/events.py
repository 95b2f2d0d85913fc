"""Events and the final result of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Figures = Mapping[str, float]


@dataclass(frozen=True)
class TrainEvent:
    """Progress of a training, for its observer."""

    samples: int
    total: int | None
    """Samples in all; None where the budget is in minutes."""
    fraction: float
    """The fraction of the budget that is spent, 0..1."""
    rate: float
    """Samples per second over the last log interval; 0 for other events."""
    metrics: Figures
    """Means of the losses (log) or the validation figures."""
    kind: Literal["step", "log", "validation"]


@dataclass(frozen=True)
class TrainResult:
    """The result of a training."""

    samples: int
    seconds: float
    rate: float
    skipped: int
    best: float
    best_samples: int
    metrics: Figures
    """The figures of the last validation."""
    release: Path | None
    finished: bool
    """Whether the budget was spent."""
