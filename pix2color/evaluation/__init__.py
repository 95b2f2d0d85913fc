"""Honest numbers: figures with intervals of any colouriser, beside truth, gray and random."""

from pix2color.evaluation.protocol import validate

__all__ = ["validate"]
