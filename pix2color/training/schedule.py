"""How much of a budget is spent, and the learning rate that follows from it."""

from __future__ import annotations

import math

from pix2color.config import BudgetConfig, OptimConfig


def spent_fraction(budget: BudgetConfig, *, samples: int, seconds: float) -> float:
    """The fraction 0..1 of the samples or of the minutes that is spent, whichever is larger."""
    by_samples = samples / budget.samples if budget.samples else 0.0
    by_time = seconds / (60 * budget.minutes) if budget.minutes else 0.0
    return min(1.0, max(by_samples, by_time))


def learning_rate(initial: float, optim: OptimConfig, *, samples: int, fraction: float) -> float:
    """The rate of a step: a linear warm-up, in samples or over a share of the budget, times half a
    cosine over the budget.

    Args:
        initial: the full rate.
        optim: warm-up, schedule and least rate.
        samples: at the end of the step.
        fraction: of the budget, spent before the step.
    """
    if optim.warmup_fraction is None:
        warmup = min(1.0, samples / max(optim.warmup_samples, 1))
    else:
        warmup = min(1.0, fraction / optim.warmup_fraction) if optim.warmup_fraction else 1.0
    decay = 1.0
    if optim.schedule == "cosine":
        cosine = 0.5 * (1 + math.cos(math.pi * fraction))
        decay = optim.min_lr_ratio + (1 - optim.min_lr_ratio) * cosine
    return initial * warmup * decay
