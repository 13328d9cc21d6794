"""Owns the run folder: names of files, lock, manifest, commits and the index of what is done."""
