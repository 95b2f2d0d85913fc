"""Checkpoints: the release file, where to find one, pretrained encoders, and publishing."""
