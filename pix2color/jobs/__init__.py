"""Folders of photos: planning, workers, outcomes."""
