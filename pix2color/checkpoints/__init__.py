"""Weights: file format, names, downloads, pretrained encoders, conversion and export."""
