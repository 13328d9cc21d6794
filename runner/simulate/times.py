"""Owns texts of times, which are counted from the first request: `90`, `30s`, `2m`, `60s-120s`."""

from __future__ import annotations

import math

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_from_text(text: str) -> float:
    """Read `90`, `30s`, `2m` or `1h` as seconds. Raises ValueError."""
    unit = text[-1:]
    seconds = float(text.removesuffix(unit)) * _UNITS_S[unit] if unit in _UNITS_S else float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(text)
    return seconds


def span_from_text(text: str) -> tuple[float, float]:
    """Read `60s-120s` as its begin and its end in seconds. Raises ValueError."""
    begin, _, end = text.partition("-")
    begin_s, end_s = seconds_from_text(begin), seconds_from_text(end)
    if begin_s >= end_s:
        raise ValueError(text)
    return begin_s, end_s
