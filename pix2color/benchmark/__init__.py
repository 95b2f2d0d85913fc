"""Every recipe trained on the same photos for the same budget, measured and compared."""
