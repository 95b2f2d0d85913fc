"""Photos: found, decoded, split, cropped, batched."""
