"""Owns the passes over the dataset: the first, which finds and counts, and the second, which makes requests."""
