"""Owns how answers come to rest: journal payloads, rows, sealed parts, and what later answers replace."""
