"""Experiments and drawings: overfitting checks, activations, filmstrips, profiles."""
