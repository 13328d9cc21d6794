"""Owns what is asked: how a row, by templates, files and what servers have taught, becomes a request."""
