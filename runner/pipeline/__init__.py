"""Owns the main job: dataset in, sealed Parquet out, resumable at any instant.

Nothing is imported here: who wants one floor should not have to load those above it.
"""
