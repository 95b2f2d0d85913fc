"""Coloring one photo: from a Photo to a Photo, on numpy; the network stands behind a Runtime."""
