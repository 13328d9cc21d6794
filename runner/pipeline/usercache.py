"""Owns where things are kept from run to run, for this user on this machine: all of it may be gone at any time."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path | None:
    """Return `evalrunner` below $XDG_CACHE_HOME or ~/.cache; null where there is no such place."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # nobody's home
        return None
    return cache / "evalrunner" if cache.is_absolute() else None
