"""Metrics with confidence intervals of any colorizer, beside truth, gray and random."""

from pix2color.evaluation.protocol import validate

__all__ = [
    "validate",
]
